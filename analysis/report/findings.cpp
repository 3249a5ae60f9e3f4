// The report in words. Every sentence is made of the study's figures, and is left out where they do not support it.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

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

std::string verdict_finding(const Study& study, const SetMeasures& m, const SetMeasures* without) {
  const auto tests = fmt::format("max |h| > {} and ≥ {} × median", format_number(study.thresholds.absolute),
                                 format_number(study.thresholds.ratio));
  std::string text;
  if (m.massive_layers.empty()) {
    text =
        fmt::format("No layer passes both tests ({}): layer {} has the largest max, {}; layer {} the largest ratio, {}",
                    tests, m.max_layer, format_number(m.max().max), m.ratio_layer, format_number(m.ratio().ratio()));
    if (m.max().max <= study.thresholds.absolute) {
      text += fmt::format(" ({} of the absolute threshold", format_share(m.max().max / study.thresholds.absolute));
      text += fmt::format(", {} of the ratio's)", format_share(m.ratio().ratio() / study.thresholds.ratio));
    }
  } else {
    text = fmt::format(
        "{} both tests ({}): layer{} {}, the first being layer {} with max {} and ratio {}",
        m.massive_layers.size() == 1 ? "One layer passes" : fmt::format("{} layers pass", m.massive_layers.size()),
        tests, m.massive_layers.size() == 1 ? "" : "s", format_ranges(m.massive_layers), m.massive_layers.front(),
        format_number(m.layers[static_cast<std::size_t>(m.massive_layers.front())].max),
        format_number(m.layers[static_cast<std::size_t>(m.massive_layers.front())].ratio()));
  }
  if (without && without != &m) {
    text += without->massive_layers.empty()
                ? fmt::format(". Without BOS {} layer passes; the largest max is {} in layer {}",
                              m.massive_layers.empty() ? "also no" : "no", format_number(without->max().max),
                              without->max_layer)
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
  const auto top = [](const std::vector<double>& values) {
    return std::max_element(values.begin(), values.end()) - values.begin();
  };
  const auto layer = top(last->layer_ratio);
  const auto before = top(first->layer_ratio);
  return fmt::format(
      "Over steps {} to {} the largest max/median on training batches went from {} (layer {}) to {} (layer {}).",
      format_count(first->step), format_count(last->step),
      format_number(first->layer_ratio[static_cast<std::size_t>(before)]), before,
      format_number(last->layer_ratio[static_cast<std::size_t>(layer)]), layer);
}

std::string sink_finding(const Study& study, const SetMeasures& m) {
  if (std::isnan(m.sinks.first)) return {};
  std::string text = fmt::format("The first key is a sink (mean attention above {}) in {} of heads",
                                 fmt::format("{:g}", study.thresholds.sink), format_share(m.sinks.first));
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
      parts.emplace_back("TVR is on but has not run yet");
    } else {
      parts.push_back(
          fmt::format("TVR ran {} and rescaled {} in all, {} at its last run",
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

std::string direction(double value, double base) {
  const double factor = value / base;
  if (std::abs(factor - 1.0) < 0.02) return fmt::format("about the same ({})", format_number(value));
  const double size = factor > 1.0 ? factor : 1.0 / factor;
  const std::string amount = size >= 2.0 ? fmt::format("{} times", format_number(size, 2))
                                         : fmt::format("{:.0f} %", std::abs(factor - 1.0) * 100.0);
  return fmt::format("{} {} ({} against {})", amount, factor > 1.0 ? "larger" : "smaller", format_number(value),
                     format_number(base));
}

std::string comparison_finding(const Study& study, std::size_t run) {
  const std::size_t base = *study.baseline;
  std::vector<std::string> parts;
  const SetMeasures* m = study.main(run);
  const SetMeasures* b = study.main(base);
  if (m && b) {
    parts.push_back(fmt::format("max |h| is {}", direction(m->max().max, b->max().max)));
    parts.push_back(fmt::format("the largest max/median is {}", direction(m->ratio().ratio(), b->ratio().ratio())));
    parts.push_back(fmt::format("the largest crest factor is {}",
                                direction(m->layers[m->crest_layer].crest, b->layers[b->crest_layer].crest)));
  }
  if (study.runs[run].metrics && study.runs[base].metrics) {
    const EvalPoint* mine = study.runs[run].metrics->evaluation_at(study.equal_tokens);
    const EvalPoint* theirs = study.runs[base].metrics->evaluation_at(study.equal_tokens);
    if (mine && theirs && std::isfinite(mine->perplexity) && std::isfinite(theirs->perplexity)) {
      parts.push_back(fmt::format("held-out perplexity is {}", direction(mine->perplexity, theirs->perplexity)));
      if (mine->tokens != theirs->tokens) {
        parts.push_back(fmt::format("though evaluated at {} and {} training tokens", format_amount(mine->tokens),
                                    format_amount(theirs->tokens)));
      }
    }
  }
  if (parts.empty()) return {};
  return fmt::format("Against {}: {}.", study.runs[base].label, fmt::join(parts, "; "));
}

// The runs at both ends of a figure, where it differs.
template <class Figure>
std::string extremes(const Study& study, const std::string& what, Figure figure) {
  std::optional<std::size_t> low;
  std::optional<std::size_t> high;
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    const double value = figure(run);
    if (!std::isfinite(value)) continue;
    if (!low || value < figure(*low)) low = run;
    if (!high || value > figure(*high)) high = run;
  }
  if (!low || format_number(figure(*low)) == format_number(figure(*high))) return {};
  return fmt::format("{} from {} ({}) to {} ({}), a factor of {}.", what, format_number(figure(*low)),
                     study.runs[*low].label, format_number(figure(*high)), study.runs[*high].label,
                     format_number(figure(*high) / figure(*low)));
}

std::vector<std::string> across_runs(const Study& study) {
  std::vector<std::string> massive;
  std::vector<std::string> clean;
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    if (const SetMeasures* m = study.main(run))
      (m->massive_layers.empty() ? clean : massive).push_back(study.runs[run].label);
  }
  std::vector<std::string> out;
  if (!massive.empty() && !clean.empty()) {
    out.push_back(fmt::format("Massive layers in {} of {} runs: {}; none in {}.", massive.size(),
                              massive.size() + clean.size(), fmt::join(massive, ", "), fmt::join(clean, ", ")));
  } else if (!massive.empty()) {
    out.push_back(fmt::format("All {} runs with a snapshot have massive layers.", massive.size()));
  } else if (!clean.empty()) {
    out.push_back(fmt::format("None of the {} runs with a snapshot has a massive layer.", clean.size()));
  }
  const auto of_set = [&](auto figure) {
    return [&study, figure](std::size_t run) { return study.main(run) ? figure(*study.main(run)) : kUnknown; };
  };
  out.push_back(extremes(study, "The largest |h| ranges", of_set([](const SetMeasures& m) { return m.max().max; })));
  out.push_back(extremes(study, "The largest max/median of a layer ranges",
                         of_set([](const SetMeasures& m) { return m.ratio().ratio(); })));
  out.push_back(extremes(
      study, fmt::format("Held-out perplexity at {} training tokens ranges", format_amount(study.equal_tokens)),
      [&](std::size_t run) {
        const EvalPoint* point =
            study.runs[run].metrics ? study.runs[run].metrics->evaluation_at(study.equal_tokens) : nullptr;
        return point ? point->perplexity : kUnknown;
      }));
  return out;
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

std::vector<Finding> findings(const Study& study) {
  std::vector<Finding> out;
  const auto add = [&](std::size_t run, std::string text) {
    if (!text.empty()) out.push_back({static_cast<int>(run), std::move(text)});
  };
  if (study.runs.size() > 1) {
    for (std::string& text : across_runs(study)) {
      if (!text.empty()) out.push_back({-1, std::move(text)});
    }
  }
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    if (const SetMeasures* m = study.main(run)) {
      const SnapshotFile& snapshot = *study.runs[run].snapshot();
      add(run, nonfinite_finding(snapshot));
      add(run, verdict_finding(study, *m, set_without_bos(study.sets[run])));
      if (m->peak.layer >= 0) {
        add(run, peak_finding(snapshot, *m));
        add(run, flat_finding(*m));
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

}  // namespace headroom::report
