#include "trainer/model_tokenizer.h"

#include <fmt/format.h>

#include "base/error.h"

namespace headroom {

Tokenizer model_tokenizer(const OpenedModel& model, const std::filesystem::path& named) {
  const std::filesystem::path& path = named.empty() ? model.tokenizer : named;
  if (path.empty()) {
    throw Error(
        ExitCode::usage,
        model.kind == ModelKind::huggingface
            ? fmt::format("{} holds no tokenizer: no tokenizer.json, no tokenizer.model, and no vocab.json with "
                          "merges.txt",
                          model.directory.string())
            : fmt::format("{} does not say which tokenizer it was trained with", model.directory.string()),
        "Name it with --tokenizer.");
  }
  Tokenizer tokenizer = Tokenizer::load(path);
  if (!model.tokenizer_fingerprint.empty() && tokenizer.fingerprint() != model.tokenizer_fingerprint) {
    throw Error(ExitCode::bad_data,
                fmt::format("the tokenizer {} is {}, the model was trained with {}", path.string(),
                            tokenizer.fingerprint(), model.tokenizer_fingerprint),
                "Name that one with --tokenizer.");
  }
  return tokenizer;
}

}  // namespace headroom
