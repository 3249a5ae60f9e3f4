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
#include "trainer/model_tokenizer.h"

namespace headroom {
namespace {

constexpr double kGigabyte = 1e9;

// Prints text as its tokens come, whole characters only. A token's text depends on those before it (whether it begins
// the text, or goes on a character), so the newest are decoded together with those of the print before.
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
  // What ends in U+FFFD may be a character's first bytes, which wait for the others.
  void print(bool all) {
    constexpr std::string_view kReplacement = "\xef\xbf\xbd";
    const std::string text = tokenizer_.decode({ids_.begin() + context_, ids_.end()});
    if (text.size() <= printed_ || (!all && text.ends_with(kReplacement))) return;
    fmt::print("{}", text.substr(printed_));
    std::fflush(stdout);
    context_ = done_;
    done_ = std::ssize(ids_);
    printed_ = tokenizer_.decode({ids_.begin() + context_, ids_.end()}).size();
  }

  const Tokenizer& tokenizer_;
  std::vector<std::int32_t> ids_;
  std::ptrdiff_t context_ = 0;  // the first id that is decoded
  std::ptrdiff_t done_ = 0;     // ids whose text is printed
  std::size_t printed_ = 0;     // bytes of the text from context_ on
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
    bos_option_ = app.add_flag("--bos,!--no-bos", bos_,
                               "Begin with the tokenizer's BOS, or without (default: as is its convention)");
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
    prompt_ids_.empty() ? go_on_from_text(model) : go_on_from_ids(model);
    fmt::print(stderr, "{}\n", told_);
    return ExitCode::done;
  }

 private:
  void go_on_from_ids(const OpenedModel& model) {
    const std::vector<decoder::Sequence> prompts = read_id_lines(prompt_ids_);
    if (prompts.size() != 1) {
      throw Error(ExitCode::bad_data, fmt::format("{} has {} sequences", prompt_ids_, prompts.size()),
                  "Put one sequence of ids into it.");
    }
    std::optional<Tokenizer> tokenizer;
    if (!tokenizer_.empty() || !model.tokenizer.empty()) tokenizer.emplace(model_tokenizer(model, tokenizer_));
    options_.ends = ends_of(model, tokenizer ? &*tokenizer : nullptr);
    fmt::print("{}\n", fmt::join(go_on(*model.decoder, prompts[0], [](std::int32_t) {}), " "));
  }

  void go_on_from_text(const OpenedModel& model) {
    const Tokenizer tokenizer = model_tokenizer(model, tokenizer_);
    const std::vector<std::int32_t> text = tokenizer.encode(prompt_);
    decoder::Sequence prompt = bos_option_->count() == 0 ? tokenizer.before()
                               : bos_                    ? decoder::Sequence{tokenizer.bos()}
                                                         : decoder::Sequence{};
    prompt.insert(prompt.end(), text.begin(), text.end());
    if (prompt.empty()) {
      throw Error(ExitCode::usage, "there is nothing to go on from", "Give a --prompt, or --bos.");
    }
    options_.choices = tokenizer.vocab_size();
    options_.ends = ends_of(model, &tokenizer);
    TextPrinter printer(tokenizer, text);
    go_on(*model.decoder, prompt, [&](std::int32_t token) { printer.add(token); });
    printer.finish();
  }

  // The tokens that end a text: what a Hugging Face directory says; of our own models BOS, which begins the next one.
  // The tokenizer may be null.
  static std::vector<std::int32_t> ends_of(const OpenedModel& model, const Tokenizer* tokenizer) {
    if (model.kind == ModelKind::huggingface) return huggingface::end_tokens(model.directory);
    if (tokenizer != nullptr && tokenizer->has_bos()) return {tokenizer->bos()};
    return {};
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
  const CLI::Option* bos_option_ = nullptr;
  bool bos_ = false;
  std::optional<double> memory_gb_;
  decoder::GenerationOptions options_;
  std::string told_;  // how long it took
};

}  // namespace

std::unique_ptr<Verb> make_generate_verb() {
  return std::make_unique<GenerateVerb>();
}

}  // namespace headroom
