// The probe sentences, whose raw hidden states and attention maps the snapshots keep.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "analysis/report/figure_parts.h"
#include "analysis/report/format.h"
#include "data/utf8.h"

namespace headroom::report {
namespace {

constexpr std::int64_t kMostTokens = 48;     // of a sentence, in figures with tokens on an axis
constexpr std::size_t kMostChannels = 28;    // of a token x channel map
constexpr std::int64_t kMostTiles = 144;     // attention maps of one run and sentence
constexpr std::int64_t kMostMapTokens = 32;  // of an attention map

struct Sentence {
  std::string name;  // as the selector shows it: the text, with or without BOS
  bool bos;
  std::string text;
};

// The sentences that any run has raw states of; runs are matched by text and BOS.
std::vector<Sentence> sentences_of(const Study& study) {
  std::vector<Sentence> out;
  for (const Run& run : study.runs) {
    if (!run.last) continue;
    const ProbeRecord& probe = run.snapshot()->probe;
    for (const std::int64_t s : run.last->raw_sequences()) {
      const auto i = static_cast<std::size_t>(s);
      const std::string text =
          probe.text[i].size() > 60 ? probe.text[i].substr(0, utf8_boundary(probe.text[i], 57)) + "…" : probe.text[i];
      const std::string name = fmt::format("“{}” {}", text, probe.bos[i] ? "with BOS" : "without BOS");
      const auto same = [&](const Sentence& other) {
        return other.bos == (probe.bos[i] != 0) && other.text == probe.text[i];
      };
      if (std::none_of(out.begin(), out.end(), same)) out.push_back({name, probe.bos[i] != 0, probe.text[i]});
    }
  }
  return out;
}

std::optional<std::int64_t> find_sentence(const Run& run, const Sentence& sentence) {
  if (!run.last) return std::nullopt;
  const ProbeRecord& probe = run.snapshot()->probe;
  for (const std::int64_t s : run.last->raw_sequences()) {
    const auto i = static_cast<std::size_t>(s);
    if ((probe.bos[i] != 0) == sentence.bos && probe.text[i] == sentence.text) return s;
  }
  return std::nullopt;
}

std::vector<std::string> sentence_names(const std::vector<Sentence>& sentences) {
  std::vector<std::string> names;
  for (const Sentence& sentence : sentences) names.push_back(sentence.name);
  return names;
}

std::vector<std::string> token_names(const SnapshotFile& snapshot, std::int64_t sequence, std::int64_t count) {
  std::vector<std::string> names;
  for (std::int64_t t = 0; t < count; ++t) names.push_back(token_name(snapshot, sequence, t));
  return names;
}

std::int64_t length_of(const SnapshotFile& snapshot, std::int64_t sequence) {
  return snapshot.probe.lengths.at(static_cast<std::size_t>(sequence));
}

Figure tokens_figure(const Study& study, const std::vector<Sentence>& sentences) {
  Figure figure{.id = "tokens",
                .title = "Largest |h| of each token, by layer",
                .caption =
                    "One row a token. Rows that stand out are the tokens that carry massive activations: usually the "
                    "first one, or a "
                    "delimiter when there is no BOS."};
  figure.selectors = {{"sentence", sentence_names(sentences)}};
  for (const Sentence& sentence : sentences) {
    View view{.svg = fmt::format("tokens-{}", figure.views.size())};
    for (std::size_t run = 0; run < study.runs.size(); ++run) {
      const auto s = find_sentence(study.runs[run], sentence);
      if (!s) continue;
      const SnapshotFile& snapshot = *study.runs[run].snapshot();
      const SiteStatistics& site = snapshot.sites.at(Site::block_output);
      const std::int64_t tokens = std::min(length_of(snapshot, *s), kMostTokens);
      Panel panel = run_panel(study, run, PanelKind::heat);
      panel.x = {.label = "layer", .categories = index_names(static_cast<std::size_t>(site.layers))};
      panel.y = {.label = "", .categories = token_names(snapshot, *s, tokens)};
      for (std::int64_t t = 0; t < tokens; ++t) {
        for (std::int64_t layer = 0; layer < site.layers; ++layer) {
          panel.cells.push_back(site.row(site.token_max, layer, *s)[static_cast<std::size_t>(t)]);
        }
      }
      view.panels.push_back(std::move(panel));
    }
    share_scale(view.panels, "max |h|", true, Palette::magma);
    view.columns = columns_for(view.panels.size());
    figure.views.push_back(std::move(view));
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

Panel channel_panel(const Study& study, std::size_t run, std::int64_t sequence, std::int64_t layer,
                    const std::vector<float>& raw) {
  const SnapshotFile& snapshot = *study.runs[run].snapshot();
  const std::int64_t length = length_of(snapshot, sequence);
  const std::int64_t hidden = snapshot.dims.hidden;
  const std::int64_t shown = std::min(length, kMostTokens);
  const float* states = raw.data() + layer * length * hidden;
  Panel panel = run_panel(study, run, PanelKind::heat);
  panel.title = fmt::format("{} · layer {}", study.runs[run].label, layer);
  panel.x.label = "channel";
  panel.y.categories = token_names(snapshot, sequence, shown);
  const auto loudest = loudest_channels(states, length, hidden);
  for (const std::int64_t channel : loudest) panel.x.categories.push_back(fmt::format("{}", channel));
  for (std::int64_t t = 0; t < shown; ++t) {
    for (const std::int64_t channel : loudest) panel.cells.push_back(std::abs(states[t * hidden + channel]));
  }
  return panel;
}

Figure channels_figure(const Study& study, const std::vector<Sentence>& sentences) {
  Figure figure{
      .id = "token-channel",
      .title = "|h| by token and channel",
      .caption = fmt::format(
          "The {} channels with the largest values of the layer, in rising order, for every token of the sentence. A "
          "massive activation is a single bright cell: one token, one channel.",
          kMostChannels)};
  std::vector<std::string> names;
  std::vector<std::size_t> runs;
  std::size_t layers = 0;
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    if (!study.runs[run].last || study.runs[run].last->raw_sequences().empty()) continue;
    names.push_back(study.runs[run].label);
    runs.push_back(run);
    layers = std::max(layers, static_cast<std::size_t>(study.runs[run].snapshot()->dims.layers));
  }
  if (runs.empty()) return figure;
  // The reader begins at the layer of the first run's largest activation.
  const SetMeasures* m = study.main(runs.front());
  const std::int64_t peak_layer = m ? std::max<std::int64_t>(0, m->peak.layer) : 0;
  figure.selectors = {{"run", names},
                      {"sentence", sentence_names(sentences)},
                      {"layer", index_names(layers), static_cast<std::size_t>(peak_layer)}};
  for (const std::size_t run : runs) {
    const std::size_t begin = figure.views.size();
    for (std::size_t which = 0; which < sentences.size(); ++which) {
      const auto s = find_sentence(study.runs[run], sentences[which]);
      const std::vector<float> raw = s ? study.runs[run].last->raw_block_output(*s) : std::vector<float>{};
      for (std::size_t layer = 0; layer < layers; ++layer) {
        View view;
        if (s && layer < static_cast<std::size_t>(study.runs[run].snapshot()->dims.layers)) {
          view.panels.push_back(channel_panel(study, run, *s, static_cast<std::int64_t>(layer), raw));
          const SetMeasures* own_set = study.main(run);
          if (own_set && static_cast<std::int64_t>(layer) == std::max<std::int64_t>(0, own_set->peak.layer)) {
            view.svg =
                fmt::format("token-channel-{}-sentence-{}-layer-{}", file_stem(study.runs[run].label), which, layer);
          }
        }
        figure.views.push_back(std::move(view));
      }
    }
    std::vector<View> own(std::make_move_iterator(figure.views.begin() + static_cast<std::ptrdiff_t>(begin)),
                          std::make_move_iterator(figure.views.end()));
    share_scale(own, "|h|", true, Palette::magma, 4.0);
    std::move(own.begin(), own.end(), figure.views.begin() + static_cast<std::ptrdiff_t>(begin));
  }
  return figure;
}

// The queries above the diagonal see nothing: empty cells.
Panel map_panel(std::int64_t layer, std::int64_t head, const float* map, std::int64_t length,
                const SnapshotFile& snapshot, std::int64_t sequence) {
  const std::int64_t shown = std::min(length, kMostMapTokens);
  Panel panel;
  panel.kind = PanelKind::heat;
  panel.title = fmt::format("layer {} head {}", layer, head);
  panel.x = {.label = "key", .categories = token_names(snapshot, sequence, shown)};
  panel.y = {.label = "query", .categories = panel.x.categories};
  for (std::int64_t q = 0; q < shown; ++q) {
    for (std::int64_t k = 0; k < shown; ++k) {
      panel.cells.push_back(k > q ? kUnknown : std::round(static_cast<double>(map[q * length + k]) * 1000.0) / 1000.0);
    }
  }
  panel.scale = {"attention", false, 0.0, 1.0, Palette::viridis};
  return panel;
}

Figure maps_figure(const Study& study, const std::vector<Sentence>& sentences) {
  Figure figure{.id = "maps",
                .title = "Attention maps",
                .caption =
                    "One small map a layer (row) and head (column): queries downwards, keys to the right. A bright "
                    "first column is an attention "
                    "sink on the first token. Click a map to enlarge it."};
  std::vector<std::size_t> runs;
  std::vector<std::string> names;
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    if (!study.runs[run].last || study.runs[run].last->raw_sequences().empty()) continue;
    runs.push_back(run);
    names.push_back(study.runs[run].label);
  }
  figure.selectors = {{"run", names}, {"sentence", sentence_names(sentences)}};
  for (const std::size_t run : runs) {
    const SnapshotFile& snapshot = *study.runs[run].snapshot();
    const std::int64_t layers = snapshot.dims.layers;
    const std::int64_t heads = std::min<std::int64_t>(snapshot.dims.heads, 16);
    const std::int64_t stride = std::max<std::int64_t>(1, (layers * heads + kMostTiles - 1) / kMostTiles);
    for (std::size_t which = 0; which < sentences.size(); ++which) {
      View view{.columns = static_cast<int>(heads),
                .tiles = true,
                .svg = fmt::format("attention-{}-sentence-{}", file_stem(study.runs[run].label), which)};
      if (const auto s = find_sentence(study.runs[run], sentences[which])) {
        const std::int64_t length = length_of(snapshot, *s);
        const std::vector<float> raw = study.runs[run].last->raw_attention(*s);
        for (std::int64_t layer = 0; layer < layers; layer += stride) {
          for (std::int64_t head = 0; head < heads; ++head) {
            const float* map = raw.data() + (layer * snapshot.dims.heads + head) * length * length;
            view.panels.push_back(map_panel(layer, head, map, length, snapshot, *s));
          }
        }
      }
      figure.views.push_back(std::move(view));
    }
  }
  return figure;
}

Figure mass_figure(const Study& study) {
  Figure figure{.id = "mass",
                .title = "Where attention goes, by layer",
                .caption =
                    "Mean over sequences and heads of the attention that queries after the first give to the first "
                    "key, to the bias slot, and to "
                    "all other keys; the three sum to 1."};
  const auto names = set_names(study);
  figure.selectors = {{"sequences", names}};
  for (const std::string& name : names) {
    View view{.columns = 3, .svg = "attention-mass-" + file_stem(name)};
    const std::pair<const char*, std::vector<float> AttentionStatistics::*> classes[] = {
        {"first key", &AttentionStatistics::mass_first},
        {"bias slot", &AttentionStatistics::mass_bias},
        {"other keys", &AttentionStatistics::mass_rest}};
    for (const auto& [words, mass] : classes) {
      Panel panel;
      panel.title = words;
      panel.x = {.label = "layer", .whole = true};
      panel.y = {.label = "attention mass"};
      for (std::size_t run = 0; run < study.runs.size(); ++run) {
        const SetMeasures* m = find_set(study, run, name);
        if (!m || (mass == &AttentionStatistics::mass_bias && !study.has_bias_slot(run))) continue;
        const SnapshotFile& snapshot = *study.runs[run].snapshot();
        const AttentionStatistics& attention = snapshot.attention;
        Series line{.name = study.runs[run].label,
                    .color = static_cast<int>(run),
                    .x = indices(static_cast<std::size_t>(snapshot.dims.layers))};
        for (std::int64_t layer = 0; layer < snapshot.dims.layers; ++layer) {
          double sum = 0.0;
          for (const std::int64_t s : m->set.sequences) {
            for (std::int64_t head = 0; head < attention.heads; ++head)
              sum += (attention.*mass).at(attention.at(layer, s, head));
          }
          line.y.push_back(sum /
                           static_cast<double>(m->set.sequences.size() * static_cast<std::size_t>(attention.heads)));
        }
        panel.series.push_back(std::move(line));
      }
      if (!panel.series.empty()) view.panels.push_back(std::move(panel));
    }
    view.columns = columns_for(view.panels.size());
    figure.views.push_back(std::move(view));
  }
  return figure;
}

}  // namespace

Section probe_section(const Study& study) {
  Section section{.id = "probe", .title = "Probe sentence"};
  const auto sentences = sentences_of(study);
  if (sentences.empty()) {
    section.intro = "No snapshot holds raw states of a probe sentence.";
    return section;
  }
  add_figure(section, tokens_figure(study, sentences));
  add_figure(section, channels_figure(study, sentences));
  return section;
}

Section attention_section(const Study& study) {
  Section section{.id = "attention", .title = "Attention"};
  const auto sentences = sentences_of(study);
  if (set_names(study).empty()) {
    section.intro = "No run has a snapshot, so there is no attention to show.";
    return section;
  }
  if (!sentences.empty()) add_figure(section, maps_figure(study, sentences));
  add_figure(section, mass_figure(study));
  return section;
}

}  // namespace headroom::report
