// The report in words. Every sentence is made of the study's figures, and is left out where they do not support it.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "analysis/report/format.h"
#include "analysis/report/study.h"

namespace headroom::report {
namespace {

std::string counted(std::int64_t count, const std::string& one, const std::string& many) {
  return fmt::format("{} {}", format_count(count), count == 1 ? one : many);
}

std::string of_sequences(std::int64_t count, std::int64_t all) {
  if (all == 1) return "in the only sequence";
  return count == all ? fmt::format("in all {} sequences", all) : fmt::format("in {} of {} sequences", count, all);
}

std::string site_words(const Writer& writer) {
  switch (writer.site) {
    case Site::attention_output: return fmt::format("the attention output of layer {}", writer.layer);
    case Site::mlp_output: return fmt::format("the MLP output of layer {}", writer.layer);
    default: return "the embedding";
  }
}

std::string set_words(const SetMeasures& m) {
  return fmt::format("{} ({}, {} tokens)", m.set.name, counted(static_cast<std::int64_t>(m.set.sequences.size()), "sequence", "sequences"),
                     format_count(m.set.tokens));
}

std::string place_words(const SnapshotFile& snapshot, const Place& place) {
  return fmt::format("layer {}, channel {}, position {} (token “{}”)", place.layer, place.channel, place.token,
                     shown_piece(piece_at(snapshot, place.sequence, place.token)));
}

std::string peak_finding(const SnapshotFile& snapshot, const SetMeasures& m) {
  const double median = snapshot.sites.at(Site::block_output)
                            .median_abs.at(snapshot.sites.at(Site::block_output).at(m.peak.layer, m.peak.sequence));
  std::string text = fmt::format("The largest activation is {} at {} of {}", format_number(m.peak.value),
                                 place_words(snapshot, m.peak), set_words(m));
  if (median > 0.0) text += fmt::format(": {} times that layer's median |h| of {}", format_number(std::abs(m.peak.value) / median), format_number(median));
  return text + ".";
}

// Where the other sequences have their largest value in the peak's layer: position and channel.
std::string recurrence_finding(const SnapshotFile& snapshot, const SetMeasures& m) {
  const SiteStatistics& site = snapshot.sites.at(Site::block_output);
  const auto all = static_cast<std::int64_t>(m.set.sequences.size());
  std::map<std::int64_t, std::int64_t> positions;
  std::map<std::string, std::int64_t> pieces;
  for (const std::int64_t s : m.set.sequences) {
    const std::int64_t token = site.row(site.top_token, m.peak.layer, s)[0];
    if (token < 0) continue;
    ++positions[token];
    ++pieces[piece_at(snapshot, s, token)];
  }
  const auto most = [](const auto& counts) {
    return *std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  };
  if (positions.empty()) return {};
  const auto list = channels(snapshot, m.set, m.peak.layer);
  std::string text = fmt::format("In layer {} the largest value sits in channel {} {}", m.peak.layer, list.front().channel,
                                 of_sequences(list.front().sequences_as_largest, all));
  std::vector<std::string> others;
  for (std::size_t i = 1; i < list.size() && others.size() < 4; ++i) {
    if (list[i].sequences_in_top * 2 > all) {
      others.push_back(fmt::format("{} ({} of {})", list[i].channel, list[i].sequences_in_top, all));
    }
  }
  if (!others.empty() && all > 1) {
    text += fmt::format("; among the {} largest recur also channel{} {}", snapshot.dims.top_k, others.size() > 1 ? "s" : "",
                        fmt::join(others, ", "));
  }
  const auto [position, at_position] = most(positions);
  const auto [piece, with_piece] = most(pieces);
  text += fmt::format(". It is at position {} {}, ", position, of_sequences(at_position, all));
  if (with_piece * 2 > all || all == 1) {
    text += fmt::format("on the token “{}” {}.", shown_piece(piece), of_sequences(with_piece, all));
  } else {
    text += fmt::format("on {} different tokens.", pieces.size());
  }
  return text;
}

std::string verdict_finding(const Study& study, const SetMeasures& m, const SetMeasures* without) {
  const auto tests = fmt::format("max |h| > {} and ≥ {} × median", format_number(study.thresholds.absolute), format_number(study.thresholds.ratio));
  std::string text;
  if (m.massive_layers.empty()) {
    text = fmt::format("No layer passes both tests ({}): layer {} has the largest max, {}; layer {} the largest ratio, {}",
                       tests, m.max_layer, format_number(m.max().max), m.ratio_layer, format_number(m.ratio().ratio()));
    if (m.max().max <= study.thresholds.absolute) {
      text += fmt::format(" ({} of the absolute threshold", format_share(m.max().max / study.thresholds.absolute));
      text += fmt::format(", {} of the ratio's)", format_share(m.ratio().ratio() / study.thresholds.ratio));
    }
  } else {
    text = fmt::format("{} both tests ({}): layer{} {}, the first being layer {} with max {} and ratio {}",
                       m.massive_layers.size() == 1 ? "One layer passes" : fmt::format("{} layers pass", m.massive_layers.size()),
                       tests, m.massive_layers.size() == 1 ? "" : "s", format_ranges(m.massive_layers), m.massive_layers.front(),
                       format_number(m.layers[static_cast<std::size_t>(m.massive_layers.front())].max),
                       format_number(m.layers[static_cast<std::size_t>(m.massive_layers.front())].ratio()));
  }
  if (without && without != &m) {
    text += without->massive_layers.empty()
                ? fmt::format(". Without BOS {} layer passes; the largest max is {} in layer {}", m.massive_layers.empty() ? "also no" : "no",
                              format_number(without->max().max), without->max_layer)
                : fmt::format(". Without BOS layer{} {} pass{}", without->massive_layers.size() == 1 ? "" : "s",
                              format_ranges(without->massive_layers), without->massive_layers.size() == 1 ? "es" : "");
  }
  return text + ".";
}

std::string writer_finding(const SnapshotFile& snapshot, const Place& place) {
  const auto list = writers(snapshot, place);
  const auto exact = std::find_if(list.begin(), list.end(), [](const Writer& w) { return w.exact; });
  if (exact == list.end()) {
    if (list.empty()) return {};
    return fmt::format("No single site's kept largest values include channel {} at position {}; none adds more there than {} "
                       "(the bound of {}, the channel's maximum over all tokens).",
                       place.channel, place.token, format_number(std::abs(list.front().value)), site_words(list.front()));
  }
  std::string text = fmt::format("{} adds {} to channel {} at position {}, {} of the {} found there in layer {}",
                                 site_words(*exact), format_number(exact->value), place.channel, place.token,
                                 format_share(exact->value / place.value), format_number(place.value), place.layer);
  text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  const auto second = std::find_if(exact + 1, list.end(), [](const Writer& w) { return w.exact; });
  if (second != list.end() && std::abs(second->value) > 0.1 * std::abs(place.value)) {
    text += fmt::format("; next is {} with {}", site_words(*second), format_number(second->value));
  }
  // Sites whose bound exceeds what the named one adds could be the larger writer.
  const bool certain = std::abs(list.front().value) <= std::abs(exact->value);
  if (!certain) text += fmt::format(" ({} may add up to {}: its value there was not kept)", site_words(list.front()), format_number(std::abs(list.front().value)));
  return text + ".";
}

std::string evolution_finding(const Run& run) {
  if (!run.metrics) return {};
  const StepRecord* first = nullptr;
  const StepRecord* last = nullptr;
  for (const StepRecord& step : run.metrics->steps) {
    if (step.layer_ratio.empty()) continue;
    if (!first) first = &step;
    last = &step;
  }
  if (!first || first == last) return {};
  const auto top = [](const std::vector<double>& values) { return std::max_element(values.begin(), values.end()) - values.begin(); };
  const auto layer = top(last->layer_ratio);
  const auto before = top(first->layer_ratio);
  return fmt::format("Over steps {} to {} the largest max/median on training batches went from {} (layer {}) to {} (layer {}).",
                     format_count(first->step), format_count(last->step),
                     format_number(first->layer_ratio[static_cast<std::size_t>(before)]), before,
                     format_number(last->layer_ratio[static_cast<std::size_t>(layer)]), layer);
}

std::string sink_finding(const Study& study, const SetMeasures& m) {
  if (std::isnan(m.sinks.first)) return {};
  std::string text = fmt::format("The first key is a sink (mean attention above {}) in {} of heads", format_number(study.thresholds.sink),
                                 format_share(m.sinks.first));
  if (m.sinks.other > 0.0) text += fmt::format(", key {} in {}", m.sinks.other_key, format_share(m.sinks.other));
  if (!std::isnan(m.sinks.bias)) text += fmt::format(", the bias slot in {}", format_share(m.sinks.bias));
  return text + ".";
}

std::string evidence_finding(const Run& run) {
  std::vector<std::string> parts;
  if (run.facts.tvr && run.metrics) {
    double rescaled = 0.0;
    double last = 0.0;
    for (const TvrEvent& event : run.metrics->tvr) {
      rescaled += event.rescaled;
      last = event.rescaled;
    }
    if (run.metrics->tvr.empty()) {
      parts.push_back("TVR is on but has not run yet");
    } else {
      parts.push_back(fmt::format("TVR ran {} and rescaled {} in all, {} at its last run",
                                  run.metrics->tvr.size() == 1 ? "once" : fmt::format("{} times", run.metrics->tvr.size()),
                                  counted(static_cast<std::int64_t>(rescaled), "matrix", "matrices"),
                                  format_count(static_cast<std::int64_t>(last))));
    }
  }
  const StepRecord* last = run.metrics && !run.metrics->steps.empty() ? &run.metrics->steps.back() : nullptr;
  if (last && !last->kv_bias_mass.empty()) {
    const auto top = std::max_element(last->kv_bias_mass.begin(), last->kv_bias_mass.end());
    parts.push_back(fmt::format("the bias slot takes up to {} of a layer's attention (layer {})", format_share(*top),
                                top - last->kv_bias_mass.begin()));
  }
  if (last && !last->alpha_attention.empty()) {
    const auto [low, high] = std::minmax_element(last->alpha_attention.begin(), last->alpha_attention.end());
    parts.push_back(fmt::format("DyT's alpha before attention lies between {} and {}", format_number(*low), format_number(*high)));
  }
  if (parts.empty()) return {};
  std::string text = fmt::format("{}.", fmt::join(parts, "; "));
  text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

std::string direction(double value, double base) {
  const double factor = value / base;
  if (std::abs(factor - 1.0) < 0.02) return fmt::format("about the same ({})", format_number(value));
  const double size = factor > 1.0 ? factor : 1.0 / factor;
  const std::string amount = size >= 2.0 ? fmt::format("{} times", format_number(size, 2)) : fmt::format("{:.0f} %", std::abs(factor - 1.0) * 100.0);
  return fmt::format("{} {} ({} against {})", amount, factor > 1.0 ? "larger" : "smaller", format_number(value), format_number(base));
}

std::string comparison_finding(const Study& study, std::size_t run) {
  const std::size_t base = *study.baseline;
  std::vector<std::string> parts;
  const SetMeasures* m = study.main(run);
  const SetMeasures* b = study.main(base);
  if (m && b) {
    parts.push_back(fmt::format("max |h| is {}", direction(m->max().max, b->max().max)));
    parts.push_back(fmt::format("the largest max/median is {}", direction(m->ratio().ratio(), b->ratio().ratio())));
    parts.push_back(fmt::format("the largest crest factor is {}", direction(m->layers[m->crest_layer].crest, b->layers[b->crest_layer].crest)));
  }
  if (study.runs[run].metrics && study.runs[base].metrics) {
    const EvalPoint* mine = study.runs[run].metrics->evaluation_at(study.equal_tokens);
    const EvalPoint* theirs = study.runs[base].metrics->evaluation_at(study.equal_tokens);
    if (mine && theirs && std::isfinite(mine->perplexity) && std::isfinite(theirs->perplexity)) {
      parts.push_back(fmt::format("held-out perplexity is {}", direction(mine->perplexity, theirs->perplexity)));
      if (mine->tokens != theirs->tokens) {
        parts.push_back(fmt::format("though evaluated at {} and {} training tokens", format_amount(mine->tokens), format_amount(theirs->tokens)));
      }
    }
  }
  if (parts.empty()) return {};
  return fmt::format("Against {}: {}.", study.runs[base].label, fmt::join(parts, "; "));
}

}  // namespace

std::vector<Finding> findings(const Study& study) {
  std::vector<Finding> out;
  const auto add = [&](std::size_t run, std::string text) {
    if (!text.empty()) out.push_back({static_cast<int>(run), std::move(text)});
  };
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    if (const SetMeasures* m = study.main(run)) {
      const SnapshotFile& snapshot = *study.runs[run].snapshot();
      add(run, verdict_finding(study, *m, set_without_bos(study.sets[run])));
      if (m->peak.layer >= 0) {
        add(run, peak_finding(snapshot, *m));
        add(run, recurrence_finding(snapshot, *m));
        add(run, writer_finding(snapshot, m->peak));
      }
      add(run, sink_finding(study, *m));
    }
    add(run, evolution_finding(study.runs[run]));
    add(run, evidence_finding(study.runs[run]));
    if (study.baseline && *study.baseline != run) add(run, comparison_finding(study, run));
  }
  return out;
}

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
  const std::string seen = least == most ? format_amount(most) : fmt::format("{} to {}", format_amount(least), format_amount(most));
  if (most > 0.0 && most < kSinksForm) {
    std::string text = fmt::format("These runs saw {} training tokens, {} of the 1 B after which attention sinks were first seen to "
                                   "form on a 60 M model (arXiv 2410.10781)", seen, format_share(most / kSinksForm));
    text += most <= kNone ? ", which reports none at all within 50–100 M" : "";
    text += any_massive ? ". Layers pass both tests all the same: look at where they are before trusting the comparison with that scale."
                        : ". Read the scale-free measures and their trends; the absence of |h| > " +
                              format_number(study.thresholds.absolute) + " says nothing about a mitigation.";
    out.push_back({-1, text});
  } else if (most >= kSinksForm) {
    out.push_back({-1, fmt::format("These runs saw {} training tokens: past the 1–2 B after which attention sinks form on a 60 M model "
                                   "(arXiv 2410.10781), so that both verdicts and trends can be read.", seen)});
  }
  std::vector<std::string> short_context;
  std::vector<std::string> small_heads;
  for (const Run& run : study.runs) {
    if (run.facts.seq_len > 0 && run.facts.seq_len <= 128) short_context.push_back(fmt::format("{} ({})", run.label, run.facts.seq_len));
    if (run.facts.head_dim > 0 && run.facts.head_dim < 64) small_heads.push_back(fmt::format("{} ({})", run.label, run.facts.head_dim));
  }
  const auto list = [&](const std::vector<std::string>& names) {
    return names.size() == study.runs.size() && names.size() > 3
               ? fmt::format("all {} runs, e.g. {}", names.size(), names.front()) : fmt::format("{}", fmt::join(names, ", "));
  };
  if (!short_context.empty()) {
    out.push_back({-1, fmt::format("A context of at most 128 tokens suppresses attention sinks; it is that short in {}.", list(short_context))});
  }
  if (!small_heads.empty()) {
    out.push_back({-1, fmt::format("Heads of at least 64 channels favour sinks, heads of 8 suppress them; below 64 are {}.", list(small_heads))});
  }
  for (const Run& run : study.runs) {
    if (run.facts.tvr && run.tokens_seen() > 0.0 && run.tokens_seen() < 50e9) {
      out.push_back({-1, fmt::format("TVR trailed the baseline in quality until about 50 B of 100 B tokens in the published runs; at {} a loss "
                                     "penalty of {} is expected, not evidence against it.", format_amount(run.tokens_seen()), run.label)});
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
    out.push_back({-1, fmt::format("The runs use {} tokenizers or vocabularies: their losses and perplexities are per different tokens and "
                                   "do not compare.", std::max(tokenizers.size(), vocabularies.size()))});
  }
  if (least != most && study.runs.size() > 1) {
    out.push_back({-1, fmt::format("The runs differ in length ({} tokens); losses and perplexities are compared at {}, activations at each run's "
                                   "last snapshot.", seen, format_amount(study.equal_tokens))});
  }
  return out;
}

}  // namespace headroom::report
