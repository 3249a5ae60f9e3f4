// A checkpoint's manifest.json.
#include "trainer/checkpoint_manifest.h"

#include "base/hash.h"
#include "tests/fuzz/target.h"

namespace headroom::fuzz {
namespace {

// What the parser takes is consistent, and says the same as it was written.
void check(const Manifest& manifest, std::string_view text) {
  HEADROOM_CHECK(to_text(manifest) == text, "the text says something else than the manifest");
  for (const Manifest::Tensor& tensor : manifest.tensors) {
    std::int64_t covered = 0;
    for (const Manifest::Piece& piece : tensor.pieces) {
      HEADROOM_CHECK(static_cast<std::size_t>(piece.file) < manifest.files.size(), "a file that is not there");
      covered += piece.place.elements();
    }
    HEADROOM_CHECK(covered == tensor.elements(), "{} is not covered", tensor.name);
  }
}

// The bytes as a whole file; and as one whose hash somebody has made right, so that what lies behind the hash is
// reached.
void drive(std::string_view bytes) {
  const std::filesystem::path path = "step-00000001/manifest.json";
  const std::size_t hash = bytes.rfind(",\n\"hash\": ");
  const std::string_view body = bytes.substr(0, hash);
  const std::string whole = fmt::format("{},\n\"hash\": \"{}\"\n}}\n", body, hex_hash(body));
  try {
    check(parse_manifest(whole, path), whole);
  } catch (const Error& error) {
    HEADROOM_CHECK(error.code() == ExitCode::bad_checkpoint, "refused with {}: {}", static_cast<int>(error.code()),
                   error.what());
  }
  check(parse_manifest(bytes, path), bytes);
}

const Registration kRegistered({"checkpoint_manifest", {ExitCode::bad_checkpoint}, drive});

}  // namespace
}  // namespace headroom::fuzz
