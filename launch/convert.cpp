// headroom convert: a model of ours in the form that other programs read.
#include <algorithm>
#include <map>
#include <string>

#include "base/progress.h"
#include "launch/verbs.h"
#include "model/huggingface/export.h"
#include "trainer/open_model.h"

namespace headroom {
namespace {

using huggingface::StoredType;

class ConvertVerb : public Verb {
 public:
  ConvertVerb() : Verb("convert", "Write a checkpoint as a Hugging Face directory") {}

  void declare(CLI::App& app) override {
    app.add_option("checkpoint", model_, "A run, for its newest checkpoint, or one of its checkpoints")
        ->required()
        ->type_name("CHECKPOINT");
    app.add_option("--to", form_, "The form to write: hf")->required()->check(CLI::IsMember({"hf", "headroom"}));
    app.add_option("directory", directory_, "The directory to make")->required()->type_name("DIR");
    app.add_option("--dtype", type_, "Number format of the weights; f32 is exact")
        ->check(CLI::IsMember({"f32", "bf16", "f16"}))
        ->capture_default_str();
    app.add_option("--shard-gb", shard_gb_, "The most of a file, in 10^9 bytes; what is larger is split by tensors")
        ->check(CLI::Range(1e-6, 1e6))
        ->capture_default_str();
    app.add_option("--tokenizer", tokenizer_,
                   "The model's tokenizer, a file or directory (default: what the run was trained with)");
    app.footer(
        "A model that LLaMA, Qwen3 or GPT-2 can express becomes a directory of theirs. With KV bias, Dynamic Tanh, a\n"
        "learned scale of the embedding or another combination of switches it comes with its own code, which\n"
        "transformers loads by AutoModelForCausalLM.from_pretrained(DIR, trust_remote_code=True). Every verb that\n"
        "takes a MODEL reads either. A checkpoint of any layout does. docs/export.md has the details.");
  }

  ExitCode run() override {
    if (form_ == "headroom") {
      throw Error(ExitCode::usage, "a Hugging Face directory is not made a checkpoint: it has no optimizer's state",
                  "Every verb that takes a MODEL reads the directory as it is.");
    }
    const OpenedModel model = open_model(model_);
    const decoder::Config& config = model.decoder->config();
    if (model.kind == ModelKind::huggingface) {
      throw Error(ExitCode::usage, fmt::format("'{}' is a Hugging Face directory already", model_),
                  "Name a run or one of its checkpoints.");
    }
    const std::map<std::string, StoredType> types = {
        {"f32", StoredType::f32}, {"bf16", StoredType::bf16}, {"f16", StoredType::f16}};
    huggingface::ExportOptions options;
    options.type = types.at(type_);
    options.shard_bytes = static_cast<std::int64_t>(shard_gb_ * 1e9);
    options.tokenizer = tokenizer_.empty() ? model.tokenizer : std::filesystem::path(tokenizer_);
    Progress progress("layers", static_cast<std::uint64_t>(config.n_layers));
    const huggingface::ExportResult result =
        huggingface::export_model(config, model.decoder->weights(), options, directory_,
                                  [&](std::int64_t layers) { progress.set(static_cast<std::uint64_t>(layers)); });
    progress.finish();
    if (options.tokenizer.empty()) {
      fmt::print(stderr, "warning: the run's tokenizer is not known; name it with --tokenizer\n");
    }
    fmt::print("{} as {}, {:.1f} MB\n", model.name,
               result.form.own_code() ? fmt::format("headroom with its own code ({})", result.form.reason)
                                      : result.form.model_type,
               static_cast<double>(result.bytes) * 1e-6);
    fmt::print("{}\n", directory_);
    return ExitCode::done;
  }

 private:
  std::string model_;
  std::string form_;
  std::string directory_;
  std::string type_ = "f32";
  std::string tokenizer_;
  double shard_gb_ = 5.0;
};

}  // namespace

std::unique_ptr<Verb> make_convert_verb() {
  return std::make_unique<ConvertVerb>();
}

}  // namespace headroom
