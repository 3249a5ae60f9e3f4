#include "trainer/run_tokenizer.h"

#include "base/error.h"

namespace headroom {

std::optional<Tokenizer> run_tokenizer(const RunConfig& config, const Corpus& corpus) {
  const std::filesystem::path& file = config.data.tokenizer.empty() ? corpus.tokenizer_file : config.data.tokenizer;
  if (file.empty()) return std::nullopt;
  Tokenizer tokenizer = Tokenizer::load(file);
  const std::string& expected = corpus.train.tokenizer_fingerprint();
  if (!expected.empty() && tokenizer.fingerprint() != expected) {
    throw Error(ExitCode::bad_data,
                fmt::format("{} has fingerprint {}, the corpus {} was made with {}", file.string(),
                            tokenizer.fingerprint(), corpus.train.path().string(), expected),
                "Leave data.tokenizer unset to use the corpus' own tokenizer.");
  }
  return tokenizer;
}

}  // namespace headroom
