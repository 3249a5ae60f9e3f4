// Patterns match as Oniguruma matches them: where PCRE2 would read them otherwise, and over Unicode's versions.
#include "data/tokenizer/pattern.h"

#include <gmock/gmock.h>

#include "data/tokenizer/characters.h"
#include "data/tokenizer/pattern_dialect.h"
#include "data/tokenizer/unicode_versions.h"
#include "tests/data/support.h"

namespace headroom {
namespace {

using Strings = std::vector<std::string>;

// What the pattern matches in the text, in order.
Strings matches(const std::string& pattern, const std::string& text) {
  std::vector<Stretch> stretches;
  Pattern::regex(pattern, "test").stretches(text, stretches);
  Strings found;
  std::size_t covered = 0;
  for (const Stretch& stretch : stretches) {
    EXPECT_EQ(stretch.begin, covered);
    covered = stretch.end;
    if (stretch.match) found.push_back(text.substr(stretch.begin, stretch.end - stretch.begin));
  }
  EXPECT_EQ(covered, text.size());
  return found;
}

std::string refusal(const std::string& pattern) {
  try {
    to_pcre2(pattern);
  } catch (const PatternRefused& refused) {
    return refused.what();
  }
  return "taken";
}

TEST(Pattern, WhiteSpaceIsUnicodesProperty) {
  for (const char* blank : {" ", "\t", "\n", "\x0b", "\f", "\r", "\u0085", "\u00a0", "\u1680", "\u2003", "\u2028",
                            "\u202f", "\u205f", "\u3000"}) {
    EXPECT_EQ(matches(R"(\s)", blank).size(), 1u) << testing::PrintToString(blank);
    EXPECT_EQ(matches(R"([^\S])", blank).size(), 1u) << testing::PrintToString(blank);
  }
  // PCRE2's own \s has the first of these.
  for (const char* other : {"\u180e", "\u200b", "\ufeff", "\x1c", "\x1f", "\u2060"}) {
    EXPECT_EQ(matches(R"(\S)", other).size(), 1u) << testing::PrintToString(other);
    EXPECT_EQ(matches(R"(\s)", other).size(), 0u) << testing::PrintToString(other);
  }
}

TEST(Pattern, OptionsHoldInTheirGroup) {
  EXPECT_EQ(matches("(?i:'s|'t)x?", "'S 'tx 'TX"), (Strings{"'S", "'tx", "'T"}));
  EXPECT_EQ(matches("(?i:'s)", "'\u017f"), Strings{"'\u017f"});  // the long s folds to s
  EXPECT_EQ(matches("(?i)ab", "AB"), Strings{"AB"});
}

TEST(Pattern, PossessiveRepetitions) {
  EXPECT_EQ(matches("a++b|a", "aab aaa"), (Strings{"aab", "a", "a", "a"}));
  EXPECT_EQ(matches(R"([^\r\n\p{L}\p{N}]?+\p{L}++)", " a-b"), (Strings{" a", "-b"}));
  // Behind an interval a plus repeats the interval; in PCRE2 it would be possessive.
  EXPECT_EQ(matches(R"(\p{N}{1,3}+)", "12345"), Strings{"12345"});
  EXPECT_EQ(matches("(?:ab){1,2}+c", "abababc"), Strings{"abababc"});
  EXPECT_EQ(matches("a{,2}b", "aaab"), Strings{"aab"});
  EXPECT_EQ(matches("{a}", "{a}"), Strings{"{a}"});
}

TEST(Pattern, LookingAhead) {
  EXPECT_EQ(matches(R"(\s+(?!\S)|\s+)", "a   b  "), (Strings{"  ", " ", "  "}));
}

TEST(Pattern, LinesAndTheirEnds) {
  EXPECT_EQ(matches("^a", "a\na\nba"), (Strings{"a", "a"}));
  EXPECT_EQ(matches("a$", "a\na"), (Strings{"a", "a"}));
  EXPECT_EQ(matches(R"(\s+$)", "a  \n"), Strings{"  "});  // not behind the last line break
  EXPECT_EQ(matches("a.b", "a\nb a\rb"), Strings{"a\rb"});
}

TEST(Pattern, ScriptsAndCategories) {
  EXPECT_EQ(matches(R"(\p{Han}+)", "\u4e2d\u3042\u6587"), (Strings{"\u4e2d", "\u6587"}));
  EXPECT_EQ(matches(R"(\p{Han})", "\u3001"), Strings{});  // an extension of the script, in PCRE2 part of it
  EXPECT_EQ(matches(R"(\p{^L}+)", "ab12"), Strings{"12"});
  EXPECT_EQ(matches(R"(\P{L}+)", "ab12"), Strings{"12"});
  EXPECT_EQ(matches(R"([\p{Lu}\p{M}])", "aB\u0301"), (Strings{"B", "\u0301"}));
}

TEST(Pattern, EmptyMatchesGoOn) {
  EXPECT_EQ(matches("x*", "axxb"), (Strings{"", "xx", ""}));
  EXPECT_EQ(matches("(?=b)", "ab\u00e9b"), (Strings{"", ""}));
}

TEST(Pattern, YoungCharactersAreKnown) {
  // A letter, a number, a mark and a symbol of Unicode 15.0 to 16.0.
  EXPECT_EQ(matches(R"(\p{L})", "\U00011f04\U00031350\ua7cb"), (Strings{"\U00011f04", "\U00031350", "\ua7cb"}));
  EXPECT_EQ(matches(R"(\p{N}+)", "\U0001e4f1\U00016130"), Strings{"\U0001e4f1\U00016130"});
  EXPECT_EQ(matches(R"(\p{M})", "\u0897"), Strings{"\u0897"});
  EXPECT_EQ(matches(R"([^\s\p{L}\p{N}]+)", "\U0001fae8\U0001cc00"), Strings{"\U0001fae8\U0001cc00"});
  EXPECT_EQ(matches(R"(\p{Lu})", "\u1c89\u1c8a"), Strings{"\u1c89"});
  EXPECT_EQ(matches(R"(\p{Han})", "\U0002ebf0"), Strings{"\U0002ebf0"});
  // Where a pattern names characters itself, young ones are still what they are.
  EXPECT_EQ(matches("[\u0800-\u4e00]", "\u1c89\ua7cb"), Strings{"\u1c89"});
  EXPECT_EQ(matches("[\u4e00\\p{Lu}]", "\ua7cb\u1c8a"), Strings{"\ua7cb"});
  EXPECT_EQ(matches("\u4e00|\\P{L}", "\ua7cb1"), Strings{"1"});
  EXPECT_EQ(matches("\u4e00|\\p{Han}", "\U0002ebf0\u4e01"), (Strings{"\U0002ebf0", "\u4e01"}));
}

// A stand-in is of the same kind, or the text would be cut elsewhere.
TEST(Pattern, StandInsAreAlike) {
  for (const char* category : {"Lu", "Ll", "Lm", "Lo", "Mn", "Mc", "Nd", "No", "Pd", "Po", "Sm", "So"}) {
    // Naming a character switches stand-ins off: these are PCRE2's own categories, and the young ones beside them.
    const Pattern plain = Pattern::regex(std::string("[\u4e00\\p{") + category + "}]", "test");
    std::size_t young = 0;
    for (char32_t code = 0x800; code < 0x33000; ++code) {
      if (older_alike(code) == code) continue;
      std::string text;
      append_utf8(code, text);
      std::string other;
      append_utf8(older_alike(code), other);
      ASSERT_EQ(text.size(), other.size());
      std::vector<Stretch> of_text, of_other;
      plain.stretches(text, of_text);
      plain.stretches(other, of_other);
      if (other == "\u4e00") continue;
      EXPECT_EQ(of_text[0].match, of_other[0].match) << category << " " << static_cast<std::uint32_t>(code);
      young += of_text[0].match ? 1 : 0;
    }
    EXPECT_GT(young, 0u) << category;
  }
}

TEST(Pattern, WhatMeansSomethingElseIsRefused) {
  for (const char* pattern :
       {R"(\w)",   R"(\W)",    R"(\b)",        R"(\h)",         R"(\v)",    R"(\R)",   R"(\X)",
        R"(\K)",   R"(\G)",    R"(\Q)",        R"(\1)",         R"(\k<a>)", R"(\N)",   R"(\O)",
        R"(\c)",   "(?m:a)",   "(?s:a)",       "(?x:a)",        "a(?i)b",   "(?~a)",   "(?(1)a)",
        "(?<n>a)", "(?P<n>a)", "(?#c)",        "(*FAIL)",       "[a[bc]]",  "[a&&b]",  "[[:alpha:]]",
        "[]a]",    "[a",       "a**",          "a+*",           "a{2}?",    "a{1,2}*", "*a",
        "(|+)",    "a{99999}", R"(\p{Greek})", R"(\p{Alpha})",  R"(\pL)",   R"(\p{L)", R"(\x)",
        R"(\xff)", R"(\u12)",  R"(\ud800)",    R"(\x{110000})", R"([\A])",  "\\"}) {
    EXPECT_NE(refusal(pattern), "taken") << pattern;
  }
  EXPECT_EQ(refusal("\u4e00[\\P{L}]"), "a negated property in a class is not taken in a pattern that names characters");
}

TEST(Pattern, CharactersByNumber) {
  EXPECT_EQ(matches(R"([\x41-\x43\u00e9]+)", "ABCD\u00e9"), (Strings{"ABC", "\u00e9"}));
  EXPECT_EQ(matches(R"(\x{4e2d}\.\-\')", "\u4e2d.-'"), Strings{"\u4e2d.-'"});
}

TEST(Pattern, LiteralsStandForThemselves) {
  std::vector<Stretch> stretches;
  const std::string text("a.b\0[x]\u00e9$", 10);
  for (const char* literal : {".", "[x]", "\u00e9$", "b"}) {
    stretches.clear();
    Pattern::literal(literal, "test").stretches(text, stretches);
    ASSERT_EQ(std::count_if(stretches.begin(), stretches.end(), [](const Stretch& s) { return s.match; }), 1);
  }
  stretches.clear();
  Pattern::literal(std::string(1, '\0'), "test").stretches(text, stretches);
  EXPECT_EQ(stretches.size(), 3u);
}

TEST(Pattern, TimeOutOfProportionIsAnError) {
  const Pattern pattern = Pattern::regex("(a+a+)+[bc]", "file: key");
  std::vector<Stretch> stretches;
  test::expect_error([&] { pattern.stretches(std::string(5000, 'a'), stretches); }, ExitCode::bad_data,
                     {"file: key", "'(a+a+)+[bc]'", "gives up on a text of 5000 bytes"});
}

TEST(Pattern, LongTextsAreMatchedWhole) {
  EXPECT_EQ(matches(R"(\p{L}+)", std::string(1 << 20, 'a')).size(), 1u);
  EXPECT_EQ(matches(R"((?:[a-z][0-9])+)",
                    [] {
                      std::string text;
                      for (int i = 0; i < 100'000; ++i) text += "a1";
                      return text;
                    }())
                .size(),
            1u);
}

}  // namespace
}  // namespace headroom
