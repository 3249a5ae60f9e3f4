// A tokenizer.json and what may lie beside it, parted as text_parts parts them: the file itself, tokenizer_config.json,
// and a text to encode. Where the first part begins with "vocab" and a line break, what follows is a vocab.json and the
// second part its merges.txt.
#include <filesystem>

#include "data/tokenizer.h"
#include "data/utf8.h"
#include "tests/fuzz/target.h"
#include "tests/scratch.h"

namespace headroom::fuzz {
namespace {

// Long enough to reach the heap that long pieces are merged by, with what patterns and normalizers look for.
constexpr std::string_view kText =
    "It's  the 1st text:\n\n\tcaf\u00e9 cafe\u0301 \u4e2d\u6587 \u0663 \U0001f468\u200d\U0001f469 <s> <|endoftext|> "
    "aaaaaaaaaaaa"
    "abababababababababababababababababababababababababababababababababababab \u2581x\xFF\x00 end ";

std::filesystem::path place(const test::Scratch& scratch, const std::vector<std::string>& parts) {
  constexpr std::string_view kVocab = "vocab\n";
  std::filesystem::remove_all(scratch / "d");
  if (parts[0].starts_with(kVocab)) {
    scratch.file("d/vocab.json", parts[0].substr(kVocab.size()));
    scratch.file("d/merges.txt", parts[1]);
  } else {
    scratch.file("d/tokenizer.json", parts[0]);
    if (!parts[1].empty()) scratch.file("d/tokenizer_config.json", parts[1]);
  }
  return scratch / "d";
}

// Every id is a piece; texts come back as UTF-8; the same text gives the same ids.
void check(const Tokenizer& tokenizer, const std::string& text) {
  const std::vector<std::int32_t> ids = tokenizer.encode(text);
  HEADROOM_CHECK(tokenizer.encode(text) == ids, "other ids the second time");
  for (const std::int32_t id : ids) {
    HEADROOM_CHECK(id >= 0 && id < tokenizer.vocab_size(), "id {} of {}", id, tokenizer.vocab_size());
    const std::string piece = tokenizer.piece(id);
    HEADROOM_CHECK(valid_utf8_prefix(piece) == piece.size(), "the piece of {} is no UTF-8", id);
  }
  const std::string decoded = tokenizer.decode(ids);
  HEADROOM_CHECK(valid_utf8_prefix(decoded) == decoded.size(), "decoding gives no UTF-8");
  const std::size_t around = tokenizer.before().size() + tokenizer.after().size();
  HEADROOM_CHECK(tokenizer.encode_with_special(text).size() == ids.size() + around, "special ids are missing");
  tokenizer.encode_continuation(text);
}

void drive(std::string_view bytes) {
  static const test::Scratch scratch;
  const std::vector<std::string> parts = text_parts(bytes, 3);
  const Tokenizer tokenizer = Tokenizer::load(place(scratch, parts));
  HEADROOM_CHECK(tokenizer.fingerprint() == Tokenizer::load(scratch / "d").fingerprint(), "another fingerprint");
  check(tokenizer, std::string(kText));
  check(tokenizer, parts[2]);
  check(tokenizer, std::string());
}

const Registration kRegistered({"tokenizer_json", {ExitCode::bad_data}, drive});

}  // namespace
}  // namespace headroom::fuzz
