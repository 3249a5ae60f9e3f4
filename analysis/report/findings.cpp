// The report in words. Every sentence is made of the study's figures, and is left out where they do not support it.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "analysis/attention_probe.h"
#include "analysis/report/comparisons.h"
#include "analysis/report/format.h"
#include "analysis/report/places.h"
#include "analysis/report/seed_findings.h"
#include "analysis/report/study.h"
#include "analysis/report/weight_kinds.h"

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
    case Site::attention_output:
      return fmt::format("the attention output of layer {}", writer.layer);
    case Site::mlp_output:
      return fmt::format("the MLP output of layer {}", writer.layer);
    default:
      return "the embedding";
  }
}

std::string set_words(const SetMeasures& m) {
  return fmt::format("{} ({}, {} tokens)", m.set.name,
                     counted(static_cast<std::int64_t>(m.set.sequences.size()), "sequence", "sequences"),
                     format_count(m.set.tokens));
}

std::string place_words(const SnapshotFile& snapshot, const Place& place) {
  return fmt::format("layer {}, channel {}, position {} (token “{}”)", place.layer, place.channel, place.token,
                     shown_piece(piece_at(snapshot, place.sequence, place.token)));
}

std::string peak_finding(const SnapshotFile& snapshot, const SetMeasures& m) {
  if (!std::isfinite(m.peak.value)) {
    return fmt::format("The first activation that is not finite is at {} of {}.", place_words(snapshot, m.peak),
                       set_words(m));
  }
  const double median = snapshot.sites.at(Site::block_output)
                            .median_abs.at(snapshot.sites.at(Site::block_output).at(m.peak.layer, m.peak.sequence));
  std::string text = fmt::format("The largest activation is {} at {} of {}", format_number(m.peak.value),
                                 place_words(snapshot, m.peak), set_words(m));
  if (median > 0.0)
    text += fmt::format(": {} times that layer's median |h| of {}", format_number(std::abs(m.peak.value) / median),
                        format_number(median));
  return text + ".";
}

// Large because everything is: the opposite of a massive activation.
std::string flat_finding(const SetMeasures& m) {
  constexpr double kFlat = 4.0;  // max/median of values of one size; normally distributed ones reach 5 and more
  const LayerMeasure& l = m.max();
  if (!(l.ratio() < kFlat)) return {};
  return fmt::format(
      "In layer {} the largest |h| is only {} times the median of {}: its values are all of one size, none of them "
      "stands out.",
      m.max_layer, format_number(l.ratio()), format_number(l.median));
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
    return *std::max_element(counts.begin(), counts.end(),
                             [](const auto& a, const auto& b) { return a.second < b.second; });
  };
  if (positions.empty()) return {};
  const auto list = channels(snapshot, m.set, m.peak.layer);
  std::string text = fmt::format("In layer {} the largest value sits in channel {} {}", m.peak.layer,
                                 list.front().channel, of_sequences(list.front().sequences_as_largest, all));
  std::vector<std::string> others;
  for (std::size_t i = 1; i < list.size() && others.size() < 4; ++i) {
    if (list[i].sequences_in_top * 2 > all) {
      others.push_back(fmt::format("{} ({} of {})", list[i].channel, list[i].sequences_in_top, all));
    }
  }
  if (!others.empty() && all > 1) {
    text += fmt::format("; among the {} largest recur also channel{} {}", snapshot.dims.top_k,
                        others.size() > 1 ? "s" : "", fmt::join(others, ", "));
  }
  const auto [position, at_position] = most(positions);
  const auto [piece, with_piece] = most(pieces);
  if (at_position * 2 > all) {
    text += fmt::format(". It is at position {} {}, ", position, of_sequences(at_position, all));
  } else {
    text += fmt::format(". Its position varies, from {} to {}; it is ", positions.begin()->first,
                        positions.rbegin()->first);
  }
  if (with_piece * 2 > all) {
    text += fmt::format("on the token “{}” {}.", shown_piece(piece), of_sequences(with_piece, all));
  } else {
    text += fmt::format("on {} different tokens.", pieces.size());
  }
  return text;
}

std::string massive_words(const SetMeasures& m, const std::string& tests) {
  const LayerMeasure& first = m.layers[static_cast<std::size_t>(m.massive_layers.front())];
  const bool one = m.massive_layers.size() == 1;
  return fmt::format("{} both tests ({}): layer{} {}, the first being layer {} with max {} and ratio {}",
                     one ? "One layer passes" : fmt::format("{} layers pass", m.massive_layers.size()), tests,
                     one ? "" : "s", format_ranges(m.massive_layers), m.massive_layers.front(),
                     format_number(first.max), format_number(first.ratio()));
}

std::string clean_words(const SetMeasures& m, const std::string& tests, const Thresholds& thresholds) {
  std::string text =
      fmt::format("No layer passes both tests ({}): layer {} has the largest max, {}; layer {} the largest ratio, {}",
                  tests, m.max_layer, format_number(m.max().max), m.ratio_layer, format_number(m.ratio().ratio()));
  if (m.max().max <= thresholds.absolute) {
    text += fmt::format(" ({} of the absolute threshold", format_share(m.max().max / thresholds.absolute));
    text += fmt::format(", {} of the ratio's)", format_share(m.ratio().ratio() / thresholds.ratio));
  }
  return text;
}

std::string unknown_words(const SetMeasures& m) {
  return fmt::format("Whether layer{} {} pass{} the tests is unknown: max or median |h| is not finite there",
                     m.unknown_layers.size() == 1 ? "" : "s", format_ranges(m.unknown_layers),
                     m.unknown_layers.size() == 1 ? "es" : "");
}

// Of the counterpart without BOS, after what was said of the main set.
std::string without_words(const SetMeasures& without, bool main_is_clean) {
  const bool one = without.massive_layers.size() == 1;
  switch (without.verdict()) {
    case Verdict::massive:
      return fmt::format("Without BOS layer{} {} pass{}", one ? "" : "s", format_ranges(without.massive_layers),
                         one ? "es" : "");
    case Verdict::clean:
      return fmt::format("Without BOS {} layer passes; the largest max is {} in layer {}",
                         main_is_clean ? "also no" : "no", format_number(without.max().max), without.max_layer);
    case Verdict::unknown:
      break;
  }
  return "Without BOS it is unknown: layers " + format_ranges(without.unknown_layers) + " are not finite";
}

std::string verdict_finding(const Study& study, const SetMeasures& m, const SetMeasures* without) {
  const auto tests = fmt::format("max |h| > {} and ≥ {} × median", format_number(study.thresholds.absolute),
                                 format_number(study.thresholds.ratio));
  std::string text = m.verdict() == Verdict::massive   ? massive_words(m, tests)
                     : m.verdict() == Verdict::unknown ? unknown_words(m)
                                                       : clean_words(m, tests, study.thresholds);
  if (m.verdict() == Verdict::massive && !m.unknown_layers.empty()) text += ". " + unknown_words(m);
  if (without && without != &m) text += ". " + without_words(*without, m.verdict() == Verdict::clean);
  return text + ".";
}

std::string writer_finding(const SnapshotFile& snapshot, const Place& place) {
  const auto list = writers(snapshot, place);
  const auto exact = std::find_if(list.begin(), list.end(), [](const Writer& w) { return w.exact; });
  if (exact == list.end()) {
    if (list.empty()) return {};
    return fmt::format(
        "No single site's kept largest values include channel {} at position {}; none adds more there than {} "
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
  if (!certain)
    text += fmt::format(" ({} may add up to {}: its value there was not kept)", site_words(list.front()),
                        format_number(std::abs(list.front().value)));
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
  const std::size_t before = largest_of(first->layer_ratio);
  const std::size_t after = largest_of(last->layer_ratio);
  const auto words = [](const StepRecord& step, std::size_t layer) {
    return std::isfinite(step.layer_ratio[layer])
               ? fmt::format("{} (layer {})", format_number(step.layer_ratio[layer]), layer)
               : fmt::format("a value that is not finite (layer {})", layer);
  };
  return fmt::format("Over steps {} to {} the largest max/median on training batches went from {} to {}.",
                     format_count(first->step), format_count(last->step), words(*first, before), words(*last, after));
}

std::string sink_finding(const Study& study, const SetMeasures& m) {
  const SinkRates& sinks = m.sinks;
  if (std::isnan(sinks.first)) return {};
  std::string text = fmt::format("The first key is a sink (mean attention above {:g}) in {} of heads",
                                 study.thresholds.sink, format_share(sinks.first));
  if (sinks.other > 0.0) text += fmt::format(", key {} in {}", sinks.other_key, format_share(sinks.other));
  if (!std::isnan(sinks.bias)) text += fmt::format(", the bias slot in {}", format_share(sinks.bias));
  const auto all = static_cast<std::int64_t>(m.set.sequences.size());
  if (sinks.tokens < kSinkTokens) {
    text += fmt::format(
        ". No sequence has the {} tokens that published rates are over: these are over at most {} and do "
        "not compare with them",
        kSinkTokens, sinks.tokens);
  } else if (sinks.sequences < all) {
    text += fmt::format(". {} shorter than {} tokens left out",
                        counted(all - sinks.sequences, "sequence is", "sequences are"), kSinkTokens);
  }
  return text + ".";
}

std::string evidence_finding(const Run& run) {
  std::vector<std::string> parts;
  if (run.facts.tvr && run.metrics) {
    double rescaled = 0.0;
    for (const TvrEvent& event : run.metrics->tvr) rescaled += event.rescaled;
    if (run.metrics->tvr.empty()) {
      parts.emplace_back("TVR is on but has not run yet");
    } else {
      const TvrEvent& latest = run.metrics->tvr.back();
      parts.push_back(
          fmt::format("TVR ran {} and rescaled {} in all, {} of {} at its last run",
                      run.metrics->tvr.size() == 1 ? "once" : fmt::format("{} times", run.metrics->tvr.size()),
                      counted(static_cast<std::int64_t>(rescaled), "matrix", "matrices"),
                      format_count(static_cast<std::int64_t>(latest.rescaled)),
                      format_count(static_cast<std::int64_t>(latest.matrices))));
      if (std::isfinite(latest.max_ratio))
        parts.back() +=
            fmt::format(", where the largest deviation was {} times its target", format_number(latest.max_ratio));
    }
  }
  const StepRecord* last = run.metrics && !run.metrics->steps.empty() ? &run.metrics->steps.back() : nullptr;
  if (last && !last->kv_bias_mass.empty()) {
    const std::size_t layer = largest_of(last->kv_bias_mass);
    parts.push_back(fmt::format("the bias slot takes up to {} of a layer's attention (layer {})",
                                format_share(last->kv_bias_mass[layer]), layer));
  }
  if (last && !last->alpha_attention.empty()) {
    const auto [low, high] = std::minmax_element(last->alpha_attention.begin(), last->alpha_attention.end());
    const std::string from = format_number(*low);
    const std::string to = format_number(*high);
    parts.push_back(from == to ? fmt::format("DyT's alpha before attention is {} in every layer", from)
                               : fmt::format("DyT's alpha before attention lies between {} and {}", from, to));
  }
  if (parts.empty()) return {};
  std::string text = fmt::format("{}.", fmt::join(parts, "; "));
  text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

// The kind of matrix whose standard deviation changed most between the first and the last snapshot, grown or shrunk.
std::string weights_finding(const Run& run) {
  if (run.history.size() < 2) return {};
  const HistoryPoint& first = run.history.front();
  const HistoryPoint& last = run.history.back();
  std::string most;
  double change = 0.0;
  for (const std::string& kind : matrix_kinds(last.weights)) {
    const double factor = mean_std(last.weights, kind) / mean_std(first.weights, kind);
    if (!(std::abs(std::log(factor)) > change)) continue;
    change = std::abs(std::log(factor));
    most = kind;
  }
  if (!(change > 0.02)) return {};
  const double before = mean_std(first.weights, most);
  const double after = mean_std(last.weights, most);
  return fmt::format("Between steps {} and {} the standard deviation of weights changed most in {}: from {} to {}, {}.",
                     format_count(first.step), format_count(last.step), most, format_number(before),
                     format_number(after), format_change(after, before));
}

std::string nonfinite_finding(const SnapshotFile& snapshot) {
  std::int64_t count = 0;
  for (const auto& [name, site] : snapshot.sites) {
    for (const std::int64_t one : site.nonfinite) count += one;
  }
  if (count == 0) return {};
  return fmt::format(
      "{} in the last snapshot {} not finite: the run has diverged, and statistics that they enter are unknown.",
      counted(count, "activation", "activations"), count == 1 ? "is" : "are");
}

}  // namespace

std::vector<Finding> findings(const Study& study, const SeedComparison& seeds) {
  std::vector<Finding> out;
  const auto add = [&](std::size_t run, std::string text) {
    if (!text.empty()) out.push_back({static_cast<int>(run), std::move(text)});
  };
  for (std::string& text : across_runs(study)) out.push_back({-1, std::move(text)});
  for (std::string& text : across_groups(study, seeds)) out.push_back({-1, std::move(text)});
  const auto shown = study.shown_runs();
  for (std::size_t group = 0; group < shown.size(); ++group) {
    const std::size_t run = shown[group];
    for (std::string& text : group_findings(study, seeds, group))
      out.push_back({static_cast<int>(run), std::move(text), true});
    if (const SetMeasures* m = study.main(run)) {
      const SnapshotFile& snapshot = *study.runs[run].snapshot();
      add(run, nonfinite_finding(snapshot));
      add(run, verdict_finding(study, *m, study.without_bos(run)));
      if (m->peak.layer >= 0) add(run, peak_finding(snapshot, *m));
      if (m->peak.layer >= 0 && std::isfinite(m->peak.value)) {
        add(run, flat_finding(*m));
        add(run, recurrence_finding(snapshot, *m));
        add(run, writer_finding(snapshot, m->peak));
      }
      add(run, sink_finding(study, *m));
    }
    add(run, evolution_finding(study.runs[run]));
    add(run, evidence_finding(study.runs[run]));
    add(run, weights_finding(study.runs[run]));
    add(run, comparison_finding(study, run));
  }
  return out;
}

}  // namespace headroom::report
