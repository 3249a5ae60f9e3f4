// Where attention goes: maps of the probe sentences, and masses by key class.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "analysis/report/figure_parts.h"
#include "analysis/report/format.h"

namespace headroom::report {
namespace {

constexpr std::int64_t kMostTiles = 144;     // maps of one run and sentence
constexpr std::int64_t kMostHeads = 16;      // of a layer
constexpr std::int64_t kMostMapTokens = 32;  // of a map
constexpr const char* kBiasSlot = "bias slot";

// One sentence's maps in one run's last snapshot, and which part of them is drawn.
struct Maps {
  const SnapshotFile& snapshot;
  std::int64_t sequence;
  std::int64_t length;
  std::vector<float> raw;   // [L, H, n, n]
  std::vector<float> bias;  // [L, H, n]; empty without a bias slot
  std::vector<std::int64_t> layers, heads, tokens;
};

Maps maps_of(const Study& study, std::size_t run, const SetMeasures& m) {
  const SnapshotReader& reader = *study.runs[run].last;
  const SnapshotFile& snapshot = reader.contents();
  const std::int64_t sequence = m.set.sequences.front();
  const std::int64_t length = snapshot.probe.length_of(sequence);
  // The layers that the findings speak of are always among those shown.
  std::vector<std::int64_t> must = {m.peak.layer, study.main(run)->peak.layer};
  for (const SetMeasures* set : {&m, study.main(run)}) {
    if (!set->massive_layers.empty()) must.push_back(set->massive_layers.front());
  }
  const auto heads = shown_of(snapshot.dims.heads, kMostHeads, {});
  const std::int64_t most_layers = std::max<std::int64_t>(4, kMostTiles / static_cast<std::int64_t>(heads.size()));
  return {snapshot,
          sequence,
          length,
          reader.raw_attention(sequence),
          reader.raw_attention_bias(sequence),
          spread_of(snapshot.dims.layers, most_layers, must),
          heads,
          shown_of(length, kMostMapTokens, {m.peak.token})};
}

// The queries above the diagonal see nothing: empty cells. What queries give to the bias slot stands apart, right of an
// empty column, so that it is not taken for the first key.
Panel map_panel(const Maps& maps, std::int64_t layer, std::int64_t head) {
  Panel panel;
  panel.kind = PanelKind::heat;
  panel.title = fmt::format("layer {} head {}", layer, head);
  panel.x = {.label = "key", .categories = token_names(maps.snapshot, maps.sequence, maps.tokens)};
  panel.y = {.label = "query", .categories = panel.x.categories};
  if (!maps.bias.empty()) panel.x.categories.insert(panel.x.categories.end(), {"", kBiasSlot});
  const auto rounded = [](float value) { return std::round(static_cast<double>(value) * 1000.0) / 1000.0; };
  const std::int64_t block = layer * maps.snapshot.dims.heads + head;
  for (const std::int64_t q : maps.tokens) {
    for (const std::int64_t k : maps.tokens) {
      const std::int64_t at = (block * maps.length + q) * maps.length + k;
      panel.cells.push_back(k > q ? kUnknown : rounded(maps.raw[static_cast<std::size_t>(at)]));
    }
    if (maps.bias.empty()) continue;
    panel.cells.push_back(kUnknown);
    panel.cells.push_back(rounded(maps.bias[static_cast<std::size_t>(block * maps.length + q)]));
  }
  panel.scale = {"attention", false, 0.0, 1.0, Palette::viridis};
  return panel;
}

View maps_view(const Maps& maps) {
  View view{.columns = static_cast<int>(maps.heads.size()), .tiles = true};
  for (const std::int64_t layer : maps.layers) {
    for (const std::int64_t head : maps.heads) view.panels.push_back(map_panel(maps, layer, head));
  }
  std::vector<std::string> notes;
  for (std::string words : {left_out_words("Layers", maps.layers, maps.snapshot.dims.layers),
                            left_out_words("Heads", maps.heads, maps.snapshot.dims.heads),
                            left_out_words("Tokens", maps.tokens, maps.length)}) {
    if (!words.empty()) notes.push_back(std::move(words));
  }
  if (!maps.bias.empty()) notes.emplace_back("The last column, set apart, is the attention to the bias slot");
  view.note = fmt::format("{}", fmt::join(notes, ". "));
  return view;
}

Figure maps_figure(const Study& study, const std::vector<SharedSet>& sentences) {
  Figure figure{.id = "maps",
                .title = "Attention maps",
                .caption =
                    "One small map a layer (row) and head (column): queries downwards, keys to the right. A bright "
                    "first column is an attention sink on the first token. Click a map to enlarge it."};
  figure.selectors = {{"run", {}, 0}, selector_of("sentence", sentences)};
  for (const std::size_t run : study.shown_runs()) {
    if (!study.runs[run].last || study.runs[run].last->raw_sequences().empty()) continue;
    figure.selectors[0].options.push_back(study.runs[run].label);
    for (const SharedSet& sentence : sentences) {
      const SetMeasures* m = find_set(study, run, sentence);
      View view = m ? maps_view(maps_of(study, run, *m)) : View{};
      view.svg = fmt::format("attention-{}-{}", file_stem(study.runs[run].label), sentence.stem);
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
                    "key, to the bias slot, and to all other keys; the three sum to 1."};
  const auto sets = shared_sets(study);
  figure.selectors = {selector_of("sequences", sets)};
  for (const SharedSet& set : sets) {
    View view{.svg = "attention-mass-" + set.stem};
    const std::pair<const char*, std::vector<float> AttentionStatistics::*> classes[] = {
        {"first key", &AttentionStatistics::mass_first},
        {kBiasSlot, &AttentionStatistics::mass_bias},
        {"other keys", &AttentionStatistics::mass_rest}};
    for (const auto& [words, mass] : classes) {
      Panel panel;
      panel.title = words;
      panel.x = {.label = "layer", .whole = true};
      panel.y = {.label = "attention mass"};
      for (std::size_t run = 0; run < study.runs.size(); ++run) {
        const SetMeasures* m = find_set(study, run, set);
        if (!m || (mass == &AttentionStatistics::mass_bias && !study.runs[run].facts.has_bias_slot())) continue;
        const SnapshotFile& snapshot = *study.runs[run].snapshot();
        const AttentionStatistics& attention = snapshot.attention;
        Series line{.name = study.runs[run].label,
                    .color = static_cast<int>(run),
                    .x = indices(static_cast<std::size_t>(snapshot.dims.layers))};
        for (std::int64_t layer = 0; layer < snapshot.dims.layers; ++layer) {
          double sum = 0.0;
          for (std::int64_t head = 0; head < attention.heads; ++head)
            sum += set_mean(attention.*mass, attention, layer, head, m->set);
          line.y.push_back(sum / static_cast<double>(attention.heads));
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

Section attention_section(const Study& study) {
  Section section{.id = "attention", .title = "Attention"};
  if (shared_sets(study).empty()) {
    section.intro = "No run has a snapshot, so there is no attention to show.";
    return section;
  }
  const auto sentences = shared_sentences(study);
  if (!sentences.empty()) add_figure(section, maps_figure(study, sentences));
  add_figure(section, mass_figure(study));
  return section;
}

}  // namespace headroom::report
