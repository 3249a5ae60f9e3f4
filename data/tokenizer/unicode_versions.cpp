#include "data/tokenizer/unicode_versions.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>

namespace headroom {
namespace {

struct Range {
  char32_t first;
  char32_t last;
};

template <typename Ranges>
auto find_range(const Ranges& ranges, char32_t character) {
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), character,
                                      [](char32_t c, const auto& range) { return c < range.first; });
  if (after == ranges.begin() || character > std::prev(after)->last) return ranges.end();
  return std::prev(after);
}

enum class Kind : std::uint8_t { lu, ll, lm, lo, mn, mc, nd, no, pd, po, sm, so, han, hiragana, katakana };

struct Addition {
  char32_t first;
  char32_t last;
  Kind kind;
};

// Letters, marks, numbers, punctuation and symbols of Unicode 15.0, 15.1 and 16.0 (DerivedAge, DerivedGeneralCategory;
// letters of three scripts apart, which published patterns name).
constexpr auto kAdditions = std::to_array<Addition>({
    {0x897, 0x897, Kind::mn},           {0xCF3, 0xCF3, Kind::mc},      {0xECE, 0xECE, Kind::mn},
    {0x1B4E, 0x1B4F, Kind::po},         {0x1B7F, 0x1B7F, Kind::po},    {0x1C89, 0x1C89, Kind::lu},
    {0x1C8A, 0x1C8A, Kind::ll},         {0x2427, 0x2429, Kind::so},    {0x2FFC, 0x2FFF, Kind::so},
    {0x31E4, 0x31E5, Kind::so},         {0x31EF, 0x31EF, Kind::so},    {0xA7CB, 0xA7CC, Kind::lu},
    {0xA7CD, 0xA7CD, Kind::ll},         {0xA7DA, 0xA7DA, Kind::lu},    {0xA7DB, 0xA7DB, Kind::ll},
    {0xA7DC, 0xA7DC, Kind::lu},         {0x105C0, 0x105F3, Kind::lo},  {0x10D40, 0x10D49, Kind::nd},
    {0x10D4A, 0x10D4D, Kind::lo},       {0x10D4E, 0x10D4E, Kind::lm},  {0x10D4F, 0x10D4F, Kind::lo},
    {0x10D50, 0x10D65, Kind::lu},       {0x10D69, 0x10D6D, Kind::mn},  {0x10D6E, 0x10D6E, Kind::pd},
    {0x10D6F, 0x10D6F, Kind::lm},       {0x10D70, 0x10D85, Kind::ll},  {0x10D8E, 0x10D8F, Kind::sm},
    {0x10EC2, 0x10EC4, Kind::lo},       {0x10EFC, 0x10EFF, Kind::mn},  {0x1123F, 0x11240, Kind::lo},
    {0x11241, 0x11241, Kind::mn},       {0x11380, 0x11389, Kind::lo},  {0x1138B, 0x1138B, Kind::lo},
    {0x1138E, 0x1138E, Kind::lo},       {0x11390, 0x113B5, Kind::lo},  {0x113B7, 0x113B7, Kind::lo},
    {0x113B8, 0x113BA, Kind::mc},       {0x113BB, 0x113C0, Kind::mn},  {0x113C2, 0x113C2, Kind::mc},
    {0x113C5, 0x113C5, Kind::mc},       {0x113C7, 0x113CA, Kind::mc},  {0x113CC, 0x113CD, Kind::mc},
    {0x113CE, 0x113CE, Kind::mn},       {0x113CF, 0x113CF, Kind::mc},  {0x113D0, 0x113D0, Kind::mn},
    {0x113D1, 0x113D1, Kind::lo},       {0x113D2, 0x113D2, Kind::mn},  {0x113D3, 0x113D3, Kind::lo},
    {0x113D4, 0x113D5, Kind::po},       {0x113D7, 0x113D8, Kind::po},  {0x113E1, 0x113E2, Kind::mn},
    {0x116D0, 0x116E3, Kind::nd},       {0x11B00, 0x11B09, Kind::po},  {0x11BC0, 0x11BE0, Kind::lo},
    {0x11BE1, 0x11BE1, Kind::po},       {0x11BF0, 0x11BF9, Kind::nd},  {0x11F00, 0x11F01, Kind::mn},
    {0x11F02, 0x11F02, Kind::lo},       {0x11F03, 0x11F03, Kind::mc},  {0x11F04, 0x11F10, Kind::lo},
    {0x11F12, 0x11F33, Kind::lo},       {0x11F34, 0x11F35, Kind::mc},  {0x11F36, 0x11F3A, Kind::mn},
    {0x11F3E, 0x11F3F, Kind::mc},       {0x11F40, 0x11F40, Kind::mn},  {0x11F41, 0x11F41, Kind::mc},
    {0x11F42, 0x11F42, Kind::mn},       {0x11F43, 0x11F4F, Kind::po},  {0x11F50, 0x11F59, Kind::nd},
    {0x11F5A, 0x11F5A, Kind::mn},       {0x1342F, 0x1342F, Kind::lo},  {0x13440, 0x13440, Kind::mn},
    {0x13441, 0x13446, Kind::lo},       {0x13447, 0x13455, Kind::mn},  {0x13460, 0x143FA, Kind::lo},
    {0x16100, 0x1611D, Kind::lo},       {0x1611E, 0x16129, Kind::mn},  {0x1612A, 0x1612C, Kind::mc},
    {0x1612D, 0x1612F, Kind::mn},       {0x16130, 0x16139, Kind::nd},  {0x16D40, 0x16D42, Kind::lm},
    {0x16D43, 0x16D6A, Kind::lo},       {0x16D6B, 0x16D6C, Kind::lm},  {0x16D6D, 0x16D6F, Kind::po},
    {0x16D70, 0x16D79, Kind::nd},       {0x18CFF, 0x18CFF, Kind::lo},  {0x1B132, 0x1B132, Kind::hiragana},
    {0x1B155, 0x1B155, Kind::katakana}, {0x1CC00, 0x1CCEF, Kind::so},  {0x1CCF0, 0x1CCF9, Kind::nd},
    {0x1CD00, 0x1CEB3, Kind::so},       {0x1D2C0, 0x1D2D3, Kind::no},  {0x1DF25, 0x1DF2A, Kind::ll},
    {0x1E030, 0x1E06D, Kind::lm},       {0x1E08F, 0x1E08F, Kind::mn},  {0x1E4D0, 0x1E4EA, Kind::lo},
    {0x1E4EB, 0x1E4EB, Kind::lm},       {0x1E4EC, 0x1E4EF, Kind::mn},  {0x1E4F0, 0x1E4F9, Kind::nd},
    {0x1E5D0, 0x1E5ED, Kind::lo},       {0x1E5EE, 0x1E5EF, Kind::mn},  {0x1E5F0, 0x1E5F0, Kind::lo},
    {0x1E5F1, 0x1E5FA, Kind::nd},       {0x1E5FF, 0x1E5FF, Kind::po},  {0x1F6DC, 0x1F6DC, Kind::so},
    {0x1F774, 0x1F776, Kind::so},       {0x1F77B, 0x1F77F, Kind::so},  {0x1F7D9, 0x1F7D9, Kind::so},
    {0x1F8B2, 0x1F8BB, Kind::so},       {0x1F8C0, 0x1F8C1, Kind::so},  {0x1FA75, 0x1FA77, Kind::so},
    {0x1FA87, 0x1FA89, Kind::so},       {0x1FA8F, 0x1FA8F, Kind::so},  {0x1FAAD, 0x1FAAF, Kind::so},
    {0x1FABB, 0x1FABF, Kind::so},       {0x1FAC6, 0x1FAC6, Kind::so},  {0x1FACE, 0x1FACF, Kind::so},
    {0x1FADA, 0x1FADC, Kind::so},       {0x1FADF, 0x1FADF, Kind::so},  {0x1FAE8, 0x1FAE9, Kind::so},
    {0x1FAF7, 0x1FAF8, Kind::so},       {0x1FBCB, 0x1FBEF, Kind::so},  {0x2B739, 0x2B739, Kind::han},
    {0x2EBF0, 0x2EE5D, Kind::han},      {0x31350, 0x323AF, Kind::han},
});

// The general category; the script's name where the kind is one of a script's letters.
std::string_view name_of(Kind kind) {
  static constexpr std::array<std::string_view, 15> kNames{"Lu", "Ll", "Lm", "Lo", "Mn",  "Mc",       "Nd",      "No",
                                                           "Pd", "Po", "Sm", "So", "Han", "Hiragana", "Katakana"};
  return kNames[static_cast<std::size_t>(kind)];
}

// An older character of the same kind, in three and in four bytes of UTF-8.
char32_t stand_in(Kind kind, bool four_bytes) {
  switch (kind) {
    case Kind::lu:
      return four_bytes ? 0x10400 : 0x1E00;
    case Kind::ll:
      return four_bytes ? 0x10428 : 0x1E01;
    case Kind::lm:
      return four_bytes ? 0x16F93 : 0x1D2C;
    case Kind::lo:
      return four_bytes ? 0x10280 : 0x0904;
    case Kind::mn:
      return four_bytes ? 0x101FD : 0x0900;
    case Kind::mc:
      return four_bytes ? 0x11000 : 0x0903;
    case Kind::nd:
      return four_bytes ? 0x104A0 : 0x0966;
    case Kind::no:
      return four_bytes ? 0x10107 : 0x09F4;
    case Kind::pd:
      return four_bytes ? 0x10EAD : 0x2010;
    case Kind::po:
      return four_bytes ? 0x10100 : 0x0964;
    case Kind::sm:
      return four_bytes ? 0x1D6C1 : 0x2044;
    case Kind::so:
      return four_bytes ? 0x10137 : 0x0BF3;
    case Kind::han:
      return four_bytes ? 0x20000 : 0x4E00;
    case Kind::hiragana:
      return four_bytes ? 0x1B001 : 0x3042;
    case Kind::katakana:
      return four_bytes ? 0x1B000 : 0x30A2;
  }
  return 0;
}

// Digits and numbers of Unicode 15.1 to 17.0.
constexpr auto kNumbers = std::to_array<Range>({
    {0x10D40, 0x10D49},
    {0x116D0, 0x116E3},
    {0x11BF0, 0x11BF9},
    {0x11DE0, 0x11DE9},
    {0x16130, 0x16139},
    {0x16D70, 0x16D79},
    {0x16FF4, 0x16FF6},
    {0x1CCF0, 0x1CCF9},
    {0x1E5F1, 0x1E5FA},
});

// Punctuation of Unicode 8.0 to 15.0, and what became punctuation since.
constexpr auto kYoungPunctuation = std::to_array<Range>({
    {0x61D, 0x61D},     {0x9FD, 0x9FD},     {0xA76, 0xA76},     {0xC77, 0xC77},     {0xC84, 0xC84},
    {0x1B7D, 0x1B7E},   {0x2E43, 0x2E4F},   {0x2E52, 0x2E5D},   {0x10EAD, 0x10EAD}, {0x10F55, 0x10F59},
    {0x10F86, 0x10F89}, {0x1144B, 0x1144F}, {0x1145A, 0x1145B}, {0x1145D, 0x1145D}, {0x11660, 0x1166C},
    {0x116B9, 0x116B9}, {0x1183B, 0x1183B}, {0x11944, 0x11946}, {0x119E2, 0x119E2}, {0x11A3F, 0x11A46},
    {0x11A9A, 0x11A9C}, {0x11A9E, 0x11AA2}, {0x11B00, 0x11B09}, {0x11C41, 0x11C45}, {0x11C70, 0x11C71},
    {0x11EF7, 0x11EF8}, {0x11F43, 0x11F4F}, {0x11FFF, 0x11FFF}, {0x12FF1, 0x12FF2}, {0x16E97, 0x16E9A},
    {0x16FE2, 0x16FE2}, {0x1E95E, 0x1E95F},
});

// Characters of Unicode 10.0 to 15.0 with a combining class or a decomposition, or that compose.
constexpr auto kYoungForNormalization = std::to_array<Range>({
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},     {0xC3C, 0xC3C},
    {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},   {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},
    {0x32FF, 0x32FF},   {0xA7F2, 0xA7F4},   {0xA82C, 0xA82C},   {0xAB69, 0xAB69},   {0x10781, 0x10785},
    {0x10787, 0x107B0}, {0x107B2, 0x107BA}, {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF},
    {0x10F46, 0x10F50}, {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E},
    {0x11839, 0x1183A}, {0x11930, 0x11930}, {0x11935, 0x11935}, {0x11938, 0x11938}, {0x1193D, 0x1193E},
    {0x11943, 0x11943}, {0x119E0, 0x119E0}, {0x11A34, 0x11A34}, {0x11A47, 0x11A47}, {0x11A99, 0x11A99},
    {0x11D42, 0x11D42}, {0x11D44, 0x11D45}, {0x11D97, 0x11D97}, {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1},
    {0x1E030, 0x1E06D}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF},
    {0x1E4EC, 0x1E4EF}, {0x1F16C, 0x1F16C}, {0x1FBF0, 0x1FBF9},
});

}  // namespace

char32_t older_alike(char32_t character) {
  if (character < kAdditions.front().first) return character;
  const auto* found = find_range(kAdditions, character);
  return found == kAdditions.end() ? character : stand_in(found->kind, character >= 0x10000);
}

std::string young_members(std::string_view property) {
  std::string members;
  for (const Addition& addition : kAdditions) {
    const bool of_a_script = addition.kind >= Kind::han;
    const std::string_view category = of_a_script ? "Lo" : name_of(addition.kind);
    if (category.starts_with(property) || (of_a_script && name_of(addition.kind) == property)) {
      members += fmt::format("\\x{{{:x}}}-\\x{{{:x}}}", static_cast<std::uint32_t>(addition.first),
                             static_cast<std::uint32_t>(addition.last));
    }
  }
  return members;
}

bool is_young_number(char32_t character) {
  return find_range(kNumbers, character) != kNumbers.end();
}

bool is_young_punctuation(char32_t character) {
  return find_range(kYoungPunctuation, character) != kYoungPunctuation.end();
}

bool is_young_for_normalization(char32_t character) {
  return find_range(kYoungForNormalization, character) != kYoungForNormalization.end();
}

}  // namespace headroom
