// headroom generate: how a model goes on from a text, for a look at it.
#include <fmt/ranges.h>

#include <cstdio>
#include <optional>
#include <string>

#include "base/stopwatch.h"
#include "base/system.h"
#include "data/id_lines.h"
#include "data/tokenizer.h"
#include "launch/verbs.h"
#include "model/decoder/generation.h"
#include "model/huggingface/source.h"
#include "trainer/open_model.h"

namespace headroom {
namespace {

constexpr double kGigabyte = 1e9;

// Prints text as its tokens come, whole characters only.
class TextPrinter {
 public:
  TextPrinter(const Tokenizer& tokenizer, std::vector<std::int32_t> ids) : tokenizer_(tokenizer), ids_(std::move(ids)) {
    print(true);
  }

  void add(std::int32_t token) {
    ids_.push_back(token);
    print(false);
  }
  void finish() {
    print(true);
    fmt::print("\n");
  }

 private:
  // What ends in U+FFFD may be a character's first bytes.
  void print(bool all) {
    constexpr std::string_view kReplacement = "\xef\xbf\xbd";
    std::string text = tokenizer_.decode(ids_);
    while (!all && text.ends_with(kReplacement)) text.resize(text.size() - kReplacement.size());
    if (text.size() <= printed_) return;
    fmt::print("{}", text.substr(printed_));
    std::fflush(stdout);
    printed_ = text.size();
  }

  const Tokenizer& tokenizer_;
  std::vector<std::int32_t> ids_;
  std::size_t printed_ = 0;  // bytes
};

class GenerateVerb : public Verb {
 public:
  GenerateVerb() : Verb("generate", "Let a model go on from a text, for a look at it") {}

  void declare(CLI::App& app) override {
    auto& sampling = options_.sampling;
    app.add_option("model", model_, "A Hugging Face directory, a run, or one of its checkpoints")
        ->required()
        ->type_name("MODEL");
    auto* prompt = app.add_option("--prompt", prompt_, "The text to go on from")->type_name("TEXT");
    app.add_option("--prompt-ids", prompt_ids_, "Token ids instead, in one line of a file; ids are printed, no text")
        ->excludes(prompt)
        ->type_name("FILE");
    app.add_option("--max-tokens", options_.max_tokens, "The most tokens to add")
        ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 24))
        ->capture_default_str();
    app.add_option("--temperature", sampling.temperature, "What logits are divided by; 0 takes the likeliest token")
        ->check(CLI::Range(0.0, 1e6))
        ->capture_default_str();
    app.add_option("--top-k", sampling.top_k, "Choose among the likeliest so many; 0: among all")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    app.add_option("--top-p", sampling.top_p, "Of those, among the fewest whose probabilities reach this")
        ->check(CLI::Range(1e-9, 1.0))
        ->capture_default_str();
    app.add_option("--seed", sampling.seed, "The same seed gives the same text")->capture_default_str();
    app.add_flag("--bos,!--no-bos", bos_, "Begin with the tokenizer's BOS, or without (default: as is its convention)");
    app.add_option("--tokenizer", tokenizer_, "A file or directory (default: the model's)");
    app.add_option("--memory", memory_gb_,
                   "10^9 bytes for weights that are kept between tokens; those that find no "
                   "room are read again for each (default: half of what is free)")
        ->check(CLI::NonNegativeNumber);
    app.footer(
        "Prints the prompt and what follows, as it comes. Ends at --max-tokens, at a token that ends a text, or at "
        "the\n"
        "last of learned positions. Computed on the CPU in f32, with cached keys and values.");
  }

  ExitCode run() override {
    OpenedModel model = open_model(model_);
    decoder::Decoder& decoder = *model.decoder;
    decoder.keep_weights(memory_gb_ ? static_cast<std::int64_t>(*memory_gb_ * kGigabyte)
                                    : available_memory_bytes() / 2);
    prompt_ids_.empty() ? go_on_from_text(model) : go_on_from_ids(decoder);
    fmt::print(stderr, "{}\n", told_);
    return ExitCode::done;
  }

 private:
  void go_on_from_ids(decoder::Decoder& decoder) {
    const std::vector<decoder::Sequence> prompts = read_id_lines(prompt_ids_);
    if (prompts.size() != 1) {
      throw Error(ExitCode::bad_data, fmt::format("{} has {} sequences", prompt_ids_, prompts.size()),
                  "Put one sequence of ids into it.");
    }
    fmt::print("{}\n", fmt::join(go_on(decoder, prompts[0], [](std::int32_t) {}), " "));
  }

  void go_on_from_text(const OpenedModel& model) {
    const std::filesystem::path path = tokenizer_.empty() ? model.tokenizer : std::filesystem::path(tokenizer_);
    if (path.empty()) {
      throw Error(ExitCode::usage, fmt::format("the tokenizer of '{}' is not known", model_),
                  "Name it with --tokenizer, or give ids with --prompt-ids.");
    }
    const Tokenizer tokenizer = Tokenizer::load(path);
    const std::vector<std::int32_t> text = tokenizer.encode(prompt_);
    decoder::Sequence prompt = !bos_   ? tokenizer.before()
                               : *bos_ ? decoder::Sequence{tokenizer.bos()}
                                       : decoder::Sequence{};
    prompt.insert(prompt.end(), text.begin(), text.end());
    if (prompt.empty()) {
      throw Error(ExitCode::usage, "there is nothing to go on from", "Give a --prompt, or --bos.");
    }
    options_.choices = tokenizer.vocab_size();
    if (model.kind == ModelKind::huggingface) {
      options_.ends = huggingface::end_tokens(model.directory);
    } else if (tokenizer.has_bos()) {
      options_.ends = {tokenizer.bos()};  // the next document
    }
    TextPrinter printer(tokenizer, text);
    go_on(*model.decoder, prompt, [&](std::int32_t token) { printer.add(token); });
    printer.finish();
  }

  template <class Each>
  std::vector<std::int32_t> go_on(decoder::Decoder& decoder, const decoder::Sequence& prompt, const Each& each) {
    const decoder::Config& config = decoder.config();
    const auto given = static_cast<std::int64_t>(prompt.size());
    if (given + options_.max_tokens > config.max_positions) {
      fmt::print(stderr, "warning: the model was made for {} tokens; {}\n", config.max_positions,
                 config.learned_positions ? "the text ends there" : "what comes behind them means little");
    }
    const Stopwatch watch;
    const std::vector<std::int32_t> tokens = decoder::generate(decoder, prompt, options_, each);
    const double seconds = watch.seconds();
    told_ = fmt::format("{} tokens after {} in {:.1f} s, {:.1f} a second", tokens.size(), given, seconds,
                        static_cast<double>(tokens.size()) / seconds);
    return tokens;
  }

  std::string model_;
  std::string prompt_;
  std::string prompt_ids_;
  std::string tokenizer_;
  std::optional<bool> bos_;
  std::optional<double> memory_gb_;
  decoder::GenerationOptions options_;
  std::string told_;  // how long it took
};

}  // namespace

std::unique_ptr<Verb> make_generate_verb() {
  return std::make_unique<GenerateVerb>();
}

}  // namespace headroom
