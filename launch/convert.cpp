// headroom convert: a model of ours in the form that other programs read, and theirs as one of ours.
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/progress.h"
#include "launch/verbs.h"
#include "model/huggingface/export.h"
#include "trainer/checkpoint_reader.h"
#include "trainer/import_model.h"
#include "trainer/model_tokenizer.h"

namespace headroom {
namespace {

using huggingface::StoredType;

class ConvertVerb : public Verb {
 public:
  ConvertVerb() : Verb("convert", "Write a run's model as a Hugging Face directory, or one of those as a run") {}

  void declare(CLI::App& app) override {
    app.add_option("model", model_,
                   "A run, for its newest checkpoint, one of its checkpoints, or a Hugging Face directory")
        ->required()
        ->type_name("MODEL");
    app.add_option("--to", form_, "The form to write: hf, of a run; headroom, of a Hugging Face directory")
        ->required()
        ->check(CLI::IsMember({"hf", "headroom"}));
    app.add_option("directory", directory_, "The directory to make")->required()->type_name("DIR");
    type_option_ = app.add_option("--dtype", type_, "With --to hf: number format of the weights; f32 is exact")
                       ->check(CLI::IsMember({"f32", "bf16", "f16"}))
                       ->capture_default_str();
    shard_option_ =
        app.add_option("--shard-gb", shard_gb_,
                       "With --to hf: the most of a file, in 10^9 bytes; what is larger is split by tensors")
            ->check(CLI::Range(1e-6, 1e6))
            ->capture_default_str();
    app.add_option(
        "--tokenizer", tokenizer_,
        "The model's tokenizer, a file or directory (default: what the run was trained with, or what lies in "
        "the Hugging Face directory)");
    app.add_flag("--no-tokenizer", no_tokenizer_, "Write none")->excludes("--tokenizer");
    app.footer(
        "To hf: a model that LLaMA, Qwen3 or GPT-2 can express becomes a directory of theirs. With KV bias, Dynamic\n"
        "Tanh, a learned scale of the embedding or another combination of switches it comes with its own code, which\n"
        "transformers loads by AutoModelForCausalLM.from_pretrained(DIR, trust_remote_code=True).\n"
        "To headroom: a model whose switches ours have (LLaMA 2, Mistral, Qwen2, Qwen3, GPT-2, OPT, and what --to hf\n"
        "wrote) becomes a run that has not taken a step; it goes on from there at any layout of ranks:\n"
        "    headroom train DIR/config.toml --resume --set data.corpus=CORPUS --set optim.lr=1e-5\n"
        "Weights are exact both ways. A checkpoint of any layout will do. docs/export.md has the details.");
  }

  ExitCode run() override { return form_ == "hf" ? to_huggingface() : to_run(); }

 private:
  ExitCode to_huggingface() const {
    const OpenedModel model = open_model(model_);
    if (model.kind == ModelKind::huggingface) {
      throw Error(ExitCode::usage, fmt::format("'{}' is a Hugging Face directory already", model_),
                  "Name a run or one of its checkpoints.");
    }
    const std::map<std::string, StoredType> types = {
        {"f32", StoredType::f32}, {"bf16", StoredType::bf16}, {"f16", StoredType::f16}};
    huggingface::ExportOptions options;
    options.type = types.at(type_);
    options.shard_bytes = static_cast<std::int64_t>(shard_gb_ * 1e9);
    options.tokenizer = tokenizer_of(model);
    refuse_damage(model);
    Layers layers(model);
    const huggingface::ExportResult result = huggingface::export_model(
        model.decoder->config(), model.decoder->weights(), options, directory_, layers.written());
    layers.finish();
    if (result.tokenizer_changes_text) {
      fmt::print(stderr,
                 "warning: the tokenizer changes text before it cuts it (as NFKC does); transformers reads it without "
                 "that and gives other ids for such text\n");
    }
    const std::string form = result.form.own_code() ? fmt::format("headroom with its own code ({})", result.form.reason)
                                                    : result.form.model_type;
    return done(fmt::format("{} as {}, {:.1f} MB", model.name, form, static_cast<double>(result.bytes) * 1e-6),
                !options.tokenizer.empty());
  }

  ExitCode to_run() const {
    for (const CLI::Option* option : {type_option_, shard_option_}) {
      if (option->count() > 0) {
        throw Error(ExitCode::usage, fmt::format("{} goes with --to hf", option->get_name()),
                    "A run's weights are float32, in one file a rank.");
      }
    }
    const OpenedModel model = open_model(model_);
    if (model.kind == ModelKind::own) {
      throw Error(ExitCode::usage, fmt::format("'{}' is a run of ours already", model_),
                  "Its checkpoints load at any layout of ranks as they are.");
    }
    const std::filesystem::path tokenizer = tokenizer_of(model);
    warn_of_windows(model.decoder->config());
    Layers layers(model);
    const std::int64_t bytes =
        import_model(model.decoder->config(), model.decoder->weights(), tokenizer, directory_, layers.written());
    layers.finish();
    return done(fmt::format("{} as a run at step 0, {:.1f} MB", model.name, static_cast<double>(bytes) * 1e-6),
                !tokenizer.empty());
  }

  // Empty where none is to be written, or none is known of a model that need not have one.
  std::filesystem::path tokenizer_of(const OpenedModel& model) const {
    if (no_tokenizer_) return {};
    if (!tokenizer_.empty()) {
      model_tokenizer(model, tokenizer_);  // another one than the model was trained with is refused
      return tokenizer_;
    }
    if (model.tokenizer.empty() && !model.tokenizer_fingerprint.empty()) {
      throw Error(ExitCode::usage,
                  fmt::format("the tokenizer that '{}' was trained with ({}) is not where its config.toml says", model_,
                              model.tokenizer_fingerprint),
                  "Name it with --tokenizer, or leave it out with --no-tokenizer.");
    }
    return model.tokenizer;
  }

  // Not only of the weights, which are checked when they are read.
  static void refuse_damage(const OpenedModel& model) {
    const std::vector<std::string> damage = damage_in(model.directory, read_manifest(model.directory));
    if (damage.empty()) return;
    throw Error(ExitCode::bad_checkpoint, fmt::format("{}", fmt::join(damage, "\n")),
                "Convert the checkpoint before it.");
  }

  static void warn_of_windows(const decoder::Config& config) {
    std::int64_t narrowest = config.max_positions;
    for (const decoder::LayerKind& layer : config.layers) {
      if (layer.window > 0) narrowest = std::min(narrowest, layer.window);
    }
    if (narrowest == config.max_positions) return;
    fmt::print(stderr,
               "warning: the model has a sliding window of {} tokens in a context of {}; the run has no windows and a "
               "context of {}, within which it computes the same\n",
               narrowest, config.max_positions, narrowest);
  }

  ExitCode done(const std::string& what, bool tokenizer) const {
    if (!tokenizer && !no_tokenizer_) {
      fmt::print(stderr, "warning: the model's tokenizer is not known; name it with --tokenizer\n");
    }
    fmt::print("{}\n{}\n", what, directory_);
    return ExitCode::done;
  }

  // The bar of layers that are written.
  class Layers {
   public:
    explicit Layers(const OpenedModel& model)
        : progress_("layers", static_cast<std::uint64_t>(model.decoder->config().n_layers)) {}

    std::function<void(std::int64_t layers)> written() {
      return [this](std::int64_t layers) { progress_.set(static_cast<std::uint64_t>(layers)); };
    }
    void finish() { progress_.finish(); }

   private:
    Progress progress_;
  };

  std::string model_;
  std::string form_;
  std::string directory_;
  std::string type_ = "f32";
  std::string tokenizer_;
  bool no_tokenizer_ = false;
  double shard_gb_ = 5.0;
  const CLI::Option* type_option_ = nullptr;
  const CLI::Option* shard_option_ = nullptr;
};

}  // namespace

std::unique_ptr<Verb> make_convert_verb() {
  return std::make_unique<ConvertVerb>();
}

}  // namespace headroom
