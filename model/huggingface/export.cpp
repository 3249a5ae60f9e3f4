#include "model/huggingface/export.h"

#include <fmt/format.h>

#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/new_directory.h"
#include "data/tokenizer.h"
#include "model/huggingface/export_code.h"
#include "model/huggingface/export_tensors.h"
#include "model/huggingface/safetensors_writer.h"

namespace headroom::huggingface {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// A SentencePiece model says nothing to transformers of how it is used. Ids are those of our own tokenizer where the
// model leaves text as it is, as all of `headroom tokenize` do.
Json tokenizer_config(const Tokenizer& tokenizer, std::int64_t positions) {
  // Whether the model itself puts a word boundary before a text.
  const std::vector<std::int32_t> ids = tokenizer.encode("a");
  const bool prefix = !ids.empty() && tokenizer.piece(ids.front()).starts_with("\u2581");
  Json json = {{"tokenizer_class", "LlamaTokenizer"},
               {"add_bos_token", !tokenizer.before().empty()},
               {"add_eos_token", !tokenizer.after().empty()},
               {"add_prefix_space", prefix},
               {"legacy", false},
               {"clean_up_tokenization_spaces", false},
               {"model_max_length", positions}};
  if (tokenizer.has_bos()) json["bos_token"] = tokenizer.piece(tokenizer.bos());
  // The other two have these names in every SentencePiece model that does not rename them.
  for (const auto& [key, piece] : {std::pair("eos_token", "</s>"), std::pair("unk_token", "<unk>")}) {
    for (std::int32_t id = 0; id < std::min(tokenizer.vocab_size(), 3); ++id) {
      if (tokenizer.piece(id) == piece) json[key] = piece;
    }
  }
  return json;
}

// Whether a SentencePiece model takes other characters for these, or two blanks for one.
bool changes_text(const Tokenizer& tokenizer) {
  const auto same = [&](const char* a, const char* b) { return tokenizer.encode(a) == tokenizer.encode(b); };
  return same("a\uff21", "aA") || same("a\uff21", "aa") || same("a  a", "a a");
}

// Gives the name of its main file.
std::string copy_tokenizer(const Tokenizer& tokenizer, const decoder::Config& config, const fs::path& directory) {
  const std::string main = tokenizer.copy_to(directory);
  fs::remove(directory / "config.json");  // of a model's directory: said by tokenizer_config.json, or not at all
  if (main == "tokenizer.model" && !fs::exists(directory / "tokenizer_config.json")) {
    write_file_atomically(directory / "tokenizer_config.json",
                          tokenizer_config(tokenizer, config.max_positions).dump(2) + "\n");
  }
  return main;
}

}  // namespace

ExportResult export_model(const decoder::Config& config, decoder::WeightSource& weights, const ExportOptions& options,
                          const fs::path& directory, const std::function<void(std::int64_t layers)>& progress) {
  ExportResult result{export_form(config)};
  const ExportForm& form = result.form;
  NewDirectory place(directory);
  std::optional<std::int32_t> bos;
  if (!options.tokenizer.empty()) {
    const Tokenizer tokenizer = Tokenizer::load(options.tokenizer);
    if (tokenizer.vocab_size() > config.vocab_size) {
      throw Error(ExitCode::bad_data,
                  fmt::format("{} has {} tokens, the model {}", options.tokenizer.string(), tokenizer.vocab_size(),
                              config.vocab_size),
                  "Tokenizer and model do not belong together.");
    }
    if (tokenizer.has_bos()) bos = tokenizer.bos();
    const std::string main = copy_tokenizer(tokenizer, config, place.path());
    result.tokenizer_changes_text = main == "tokenizer.model" && changes_text(tokenizer);
  }
  write_file_atomically(place.path() / "config.json", export_config(form, options.type, bos).dump(2) + "\n");
  if (form.own_code()) {
    write_file_atomically(place.path() / "configuration_headroom.py", configuration_code());
    write_file_atomically(place.path() / "modeling_headroom.py", modeling_code());
  }
  const TensorNames names = find_family(form.model_type)->names(form.config);
  const std::vector<ExportedTensor> tensors = exported_tensors(form.config, names, weights);
  std::vector<TensorShape> shapes;
  for (const ExportedTensor& tensor : tensors) shapes.push_back(tensor.shape);
  CheckpointWriter writer(place.path(), options.type, shapes, options.shard_bytes);
  std::int64_t layer = 0;
  for (const ExportedTensor& tensor : tensors) {
    if (tensor.layer > layer) progress(layer = tensor.layer);
    tensor.numbers([&](std::span<const float> numbers) { writer.write(numbers); });
  }
  writer.close();
  progress(config.n_layers);
  result.bytes = writer.bytes();
  place.publish();
  return result;
}

}  // namespace headroom::huggingface
