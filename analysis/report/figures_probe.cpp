// The probe sentences, whose raw hidden states the snapshots keep.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "analysis/report/figure_parts.h"
#include "analysis/report/format.h"

namespace headroom::report {
namespace {

constexpr std::int64_t kMostTokens = 48;   // of a sentence
constexpr std::size_t kMostChannels = 28;  // of a token x channel map

// The first tokens of a sentence, and always the one with its largest activation.
std::vector<std::int64_t> shown_tokens(const SnapshotFile& snapshot, const SetMeasures& m) {
  return shown_of(snapshot.probe.length_of(m.set.sequences.front()), kMostTokens, {m.peak.token});
}

struct TokenMeasure {
  const char* name;
  const char* stem;
  std::vector<float> SiteStatistics::*over;  // token_max divided by this; null: not divided
};
constexpr TokenMeasure kTokenMeasures[] = {{"max |h|", "max", nullptr},
                                           {"max / median of the token", "ratio", &SiteStatistics::token_median},
                                           {"crest factor of the token", "crest", &SiteStatistics::token_rms}};

Panel tokens_panel(const Study& study, std::size_t run, const SetMeasures& m, const TokenMeasure& measure) {
  const SnapshotFile& snapshot = *study.runs[run].snapshot();
  const SiteStatistics& site = snapshot.sites.at(Site::block_output);
  const std::int64_t sequence = m.set.sequences.front();
  const auto tokens = shown_tokens(snapshot, m);
  Panel panel = run_panel(study, run, PanelKind::heat);
  const std::string left_out = left_out_words("tokens", tokens, snapshot.probe.length_of(sequence));
  if (!left_out.empty()) panel.title += " · " + left_out;
  panel.x = {.label = "layer", .categories = index_names(static_cast<std::size_t>(site.layers))};
  panel.y = {.label = "token", .categories = token_names(snapshot, sequence, tokens)};
  for (const std::int64_t token : tokens) {
    const auto t = static_cast<std::size_t>(token);
    for (std::int64_t layer = 0; layer < site.layers; ++layer) {
      const double largest = site.row(site.token_max, layer, sequence)[t];
      panel.cells.push_back(measure.over ? largest / site.row(site.*measure.over, layer, sequence)[t] : largest);
    }
  }
  return panel;
}

Figure tokens_figure(const Study& study, const std::vector<SharedSet>& sentences) {
  Figure figure{.id = "tokens",
                .title = "Largest |h| of each token, by layer",
                .caption =
                    "One row a token of the block outputs. A row that stands out is a token that carries the large "
                    "values; the two scale-free measures are of the token's own channels."};
  figure.selectors = {selector_of("sentence", sentences), {"measure", {}, 0}};
  for (const TokenMeasure& measure : kTokenMeasures) figure.selectors[1].options.emplace_back(measure.name);
  for (const SharedSet& sentence : sentences) {
    for (const TokenMeasure& measure : kTokenMeasures) {
      View view{.svg = fmt::format("tokens-{}-{}", measure.stem, sentence.stem)};
      for (const std::size_t run : study.shown_runs()) {
        const SetMeasures* m = find_set(study, run, sentence);
        if (m) view.panels.push_back(tokens_panel(study, run, *m, measure));
      }
      share_scale(view.panels, measure.name, true, Palette::magma);
      view.columns = columns_for(view.panels.size());
      figure.views.push_back(std::move(view));
    }
  }
  return figure;
}

// Channels by falling largest |h| over all tokens; at most kMostChannels, in rising order.
std::vector<std::int64_t> loudest_channels(const float* states, std::int64_t tokens, std::int64_t hidden) {
  std::vector<float> largest(static_cast<std::size_t>(hidden), 0.0f);
  for (std::int64_t i = 0; i < tokens * hidden; ++i) {
    float& value = largest[static_cast<std::size_t>(i % hidden)];
    value = std::max(value, std::abs(states[i]));
  }
  std::vector<std::int64_t> order(largest.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return largest[static_cast<std::size_t>(a)] > largest[static_cast<std::size_t>(b)];
  });
  order.resize(std::min(order.size(), kMostChannels));
  std::sort(order.begin(), order.end());
  return order;
}

View channels_view(const Study& study, std::size_t run, const SetMeasures& m, std::int64_t layer,
                   const std::vector<float>& raw) {
  const SnapshotFile& snapshot = *study.runs[run].snapshot();
  const std::int64_t sequence = m.set.sequences.front();
  const std::int64_t length = snapshot.probe.length_of(sequence);
  const std::int64_t hidden = snapshot.dims.hidden;
  const auto tokens = shown_tokens(snapshot, m);
  const float* states = raw.data() + layer * length * hidden;
  const auto loudest = loudest_channels(states, length, hidden);
  Panel panel = run_panel(study, run, PanelKind::heat);
  panel.title = fmt::format("{} · layer {}", study.runs[run].label, layer);
  panel.x.label = "channel";
  panel.y = {.label = "token", .categories = token_names(snapshot, sequence, tokens)};
  for (const std::int64_t channel : loudest) panel.x.categories.push_back(fmt::format("{}", channel));
  for (const std::int64_t t : tokens) {
    for (const std::int64_t channel : loudest) panel.cells.push_back(std::abs(states[t * hidden + channel]));
  }
  View view;
  view.note = left_out_words("Tokens", tokens, length);
  if (static_cast<std::int64_t>(loudest.size()) < hidden) {
    view.note += fmt::format("{}The {} channels with the layer's largest values of {} are shown",
                             view.note.empty() ? "" : ". ", loudest.size(), hidden);
  }
  view.panels.push_back(std::move(panel));
  return view;
}

// The layer that the reader begins at: of the run's largest activation.
std::int64_t peak_layer(const Study& study, std::size_t run) {
  const SetMeasures* m = study.main(run);
  return m ? std::max<std::int64_t>(0, m->peak.layer) : 0;
}

Figure channels_figure(const Study& study, const std::vector<SharedSet>& sentences) {
  Figure figure{.id = "token-channel",
                .title = "|h| by token and channel",
                .caption =
                    "Block outputs. A bright cell is one element; a bright column is one channel in many tokens, a "
                    "bright row one token in many channels."};
  std::vector<std::size_t> runs;
  std::size_t layers = 0;
  figure.selectors = {{"run", {}, 0}, selector_of("sentence", sentences), {"layer", {}, 0}};
  for (const std::size_t run : study.shown_runs()) {
    if (!study.runs[run].last || study.runs[run].last->raw_sequences().empty()) continue;
    figure.selectors[0].options.push_back(study.runs[run].label);
    runs.push_back(run);
    layers = std::max(layers, static_cast<std::size_t>(study.runs[run].snapshot()->dims.layers));
  }
  figure.selectors[2].options = index_names(layers);
  if (!runs.empty()) figure.selectors[2].initial = static_cast<std::size_t>(peak_layer(study, runs.front()));
  for (const std::size_t run : runs) {
    std::vector<View> own;
    for (const SharedSet& sentence : sentences) {
      const SetMeasures* m = find_set(study, run, sentence);
      const std::vector<float> raw =
          m ? study.runs[run].last->raw_block_output(m->set.sequences.front()) : std::vector<float>{};
      for (std::size_t layer = 0; layer < layers; ++layer) {
        View view;
        const auto at = static_cast<std::int64_t>(layer);
        if (m && at < study.runs[run].snapshot()->dims.layers) {
          view = channels_view(study, run, *m, at, raw);
          if (at == peak_layer(study, run)) {
            view.svg =
                fmt::format("token-channel-{}-{}-layer-{}", file_stem(study.runs[run].label), sentence.stem, layer);
          }
        }
        own.push_back(std::move(view));
      }
    }
    share_scale(own, "|h|", true, Palette::magma, 4.0);
    std::move(own.begin(), own.end(), std::back_inserter(figure.views));
  }
  return figure;
}

}  // namespace

Section probe_section(const Study& study) {
  Section section{.id = "probe", .title = "Probe sentence"};
  const auto sentences = shared_sentences(study);
  if (sentences.empty()) {
    section.intro = "No snapshot holds raw states of a probe sentence.";
    return section;
  }
  add_figure(section, tokens_figure(study, sentences));
  add_figure(section, channels_figure(study, sentences));
  return section;
}

}  // namespace headroom::report
