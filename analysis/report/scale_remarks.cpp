// What runs of this size can and cannot show (reference: arXiv 2410.10781 on when attention sinks form, arXiv
// 2503.17500 on TVR's quality), worked out from the runs' own numbers.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "analysis/report/format.h"
#include "analysis/report/study.h"

namespace headroom::report {

std::vector<Finding> scale_remarks(const Study& study) {
  std::vector<Finding> out;
  double least = 0.0;
  double most = 0.0;
  bool any_massive = false;
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    const double tokens = study.runs[run].tokens_seen();
    least = run == 0 ? tokens : std::min(least, tokens);
    most = std::max(most, tokens);
    if (const SetMeasures* m = study.main(run)) any_massive = any_massive || !m->massive_layers.empty();
  }
  // 1-2 B tokens: arXiv 2410.10781, on a 60 M-parameter model.
  constexpr double kSinksForm = 1e9;
  constexpr double kNone = 1e8;
  const std::string seen =
      least == most ? format_amount(most) : fmt::format("{} to {}", format_amount(least), format_amount(most));
  if (most > 0.0 && most < kSinksForm) {
    std::string text = fmt::format(
        "These runs saw {} training tokens, {} of the 1 B after which attention sinks were first seen to "
        "form on a 60 M model (arXiv 2410.10781)",
        seen, format_share(most / kSinksForm));
    text += most <= kNone ? ", which reports none at all within 50–100 M" : "";
    text += any_massive ? ". Layers pass both tests all the same: look at where they are before trusting the "
                          "comparison with that scale."
                        : ". Read the scale-free measures and their trends; the absence of |h| > " +
                              format_number(study.thresholds.absolute) + " says nothing about a mitigation.";
    out.push_back({-1, text});
  } else if (most >= kSinksForm) {
    out.push_back(
        {-1, fmt::format(
                 "These runs saw {} training tokens: past the 1–2 B after which attention sinks form on a 60 M model "
                 "(arXiv 2410.10781), so that both verdicts and trends can be read.",
                 seen)});
  }
  std::vector<std::string> short_context;
  std::vector<std::string> small_heads;
  for (const Run& run : study.runs) {
    if (run.facts.seq_len > 0 && run.facts.seq_len <= 128)
      short_context.push_back(fmt::format("{} ({})", run.label, run.facts.seq_len));
    if (run.facts.head_dim > 0 && run.facts.head_dim < 64)
      small_heads.push_back(fmt::format("{} ({})", run.label, run.facts.head_dim));
  }
  const auto list = [&](const std::vector<std::string>& names) {
    return names.size() == study.runs.size() && names.size() > 3
               ? fmt::format("all {} runs, e.g. {}", names.size(), names.front())
               : fmt::format("{}", fmt::join(names, ", "));
  };
  if (!short_context.empty()) {
    out.push_back(
        {-1, fmt::format("A context of at most 128 tokens suppresses attention sinks; it is that short in {}.",
                         list(short_context))});
  }
  if (!small_heads.empty()) {
    out.push_back(
        {-1, fmt::format("Heads of at least 64 channels favour sinks, heads of 8 suppress them; below 64 are {}.",
                         list(small_heads))});
  }
  for (const Run& run : study.runs) {
    if (run.facts.tvr && run.tokens_seen() > 0.0 && run.tokens_seen() < 50e9) {
      out.push_back({-1, fmt::format("TVR trailed the baseline in quality until about 50 B of 100 B tokens in the "
                                     "published runs; at {} a loss "
                                     "penalty of {} is expected, not evidence against it.",
                                     format_amount(run.tokens_seen()), run.label)});
      break;
    }
  }
  std::map<std::string, std::int64_t> tokenizers;
  std::map<std::int64_t, std::int64_t> vocabularies;
  for (const Run& run : study.runs) {
    if (!run.facts.tokenizer.empty()) ++tokenizers[run.facts.tokenizer];
    if (run.facts.vocab_size > 0) ++vocabularies[run.facts.vocab_size];
  }
  if (tokenizers.size() > 1 || vocabularies.size() > 1) {
    out.push_back(
        {-1,
         fmt::format(
             "The runs use {} tokenizers or vocabularies: their losses and perplexities are per different tokens and "
             "do not compare.",
             std::max(tokenizers.size(), vocabularies.size()))});
  }
  if (least != most && study.runs.size() > 1) {
    out.push_back({-1, fmt::format("The runs differ in length ({} tokens); losses and perplexities are compared at {}, "
                                   "activations at each run's "
                                   "last snapshot.",
                                   seen, format_amount(study.equal_tokens))});
  }
  return out;
}

}  // namespace headroom::report
