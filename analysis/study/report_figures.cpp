#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <set>

#include "analysis/report/format.h"
#include "analysis/study/report_parts.h"

namespace headroom::study {
namespace {

using report::Figure;
using report::Panel;
using report::PanelKind;
using report::Section;
using report::Series;
using report::Stroke;
using report::View;

Panel layer_panel(const std::vector<Condition>& conditions, const std::string& title, const std::string& label,
                  bool log, double (*figure)(const Layer&)) {
  Panel panel{.title = title, .kind = PanelKind::lines};
  panel.x = {.label = "layer", .whole = true};
  panel.y = {.label = label, .log = log};
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    Series line{.name = words_of(conditions[i]), .color = static_cast<int>(i)};
    for (std::size_t layer = 0; layer < conditions[i].layers.size(); ++layer) {
      line.x.push_back(static_cast<double>(layer));
      line.y.push_back(figure(conditions[i].layers[layer]));
    }
    panel.series.push_back(std::move(line));
  }
  return panel;
}

Figure top_values_figure(const std::vector<Condition>& conditions, const Options& options) {
  Figure figure{.id = "layers",
                .title = "Largest, second, third and median |h| by layer",
                .caption =
                    "Block outputs, each figure averaged over the detection sequences. Where the first stands far "
                    "above the second it is a single activation, not a broad growth."};
  View view{.svg = "layers"};
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    Panel panel{.title = words_of(conditions[i]), .color = static_cast<int>(i), .kind = PanelKind::lines};
    panel.x = {.label = "layer", .whole = true};
    panel.y = {.label = "|h|, mean over sequences", .log = true};
    const auto add = [&](const char* name, Stroke stroke, double opacity, auto value) {
      Series line{.name = name, .color = static_cast<int>(i), .stroke = stroke, .opacity = opacity};
      for (std::size_t layer = 0; layer < conditions[i].layers.size(); ++layer) {
        line.x.push_back(static_cast<double>(layer));
        line.y.push_back(value(conditions[i].layers[layer]));
      }
      panel.series.push_back(std::move(line));
    };
    add("largest", Stroke::solid, 1.0, [](const Layer& l) { return l.top[0]; });
    add("2nd", Stroke::dashed, 0.85, [](const Layer& l) { return l.top[1]; });
    add("3rd", Stroke::dotted, 0.85, [](const Layer& l) { return l.top[2]; });
    add("median", Stroke::dash_dotted, 0.6, [](const Layer& l) { return l.median; });
    panel.rules.push_back({options.absolute, fmt::format("threshold {}", report::format_number(options.absolute))});
    view.panels.push_back(std::move(panel));
  }
  view.columns = static_cast<int>(view.panels.size());
  figure.views.push_back(std::move(view));
  return figure;
}

Figure scale_free_figure(const std::vector<Condition>& conditions, const Options& options) {
  Figure figure{.id = "ratios",
                .title = "Scale-free measures by layer",
                .caption =
                    "These do not move when all weights are rescaled. Kurtosis runs from 1 (all channels alike) to "
                    "the hidden size (one channel has it all)."};
  View view{.columns = 2, .shared = false, .svg = "ratios"};
  view.panels.push_back(
      layer_panel(conditions, "max / median", "max|h| / median|h|", true, [](const Layer& l) { return l.ratio(); }));
  view.panels.back().rules.push_back(
      {options.ratio, fmt::format("threshold {}", report::format_number(options.ratio))});
  view.panels.push_back(
      layer_panel(conditions, "kurtosis over channels", "kurtosis", true, [](const Layer& l) { return l.kurtosis; }));
  figure.views.push_back(std::move(view));
  return figure;
}

// Who writes: the largest that each half of a layer adds to the stream.
Figure writers_figure(const std::vector<Condition>& conditions) {
  Figure figure{
      .id = "writers",
      .title = "Who writes: the largest that attention and feed-forward add, by layer",
      .caption =
          "Averaged over the detection sequences. A single tall point writes the massive activation; a second "
          "one late in the model takes it away again."};
  View view{.columns = 2, .svg = "writers"};
  view.panels.push_back(layer_panel(conditions, "attention", "max |attention output|", true,
                                    [](const Layer& l) { return l.attention_top; }));
  view.panels.push_back(layer_panel(conditions, "feed-forward", "max |feed-forward output|", true,
                                    [](const Layer& l) { return l.mlp_top; }));
  figure.views.push_back(std::move(view));
  return figure;
}

Figure sinks_figure(const Subject& subject, const std::vector<Condition>& conditions, const Options& options) {
  Figure figure{
      .id = "sinks",
      .title = "Attention sinks by layer",
      .caption = fmt::format("Share of heads whose queries give a key more than {} on average, over the first {} "
                             "tokens of the detection sequences. Keys with fewer than {} queries are not counted.",
                             fmt::format("{:g}", options.sink), std::min<std::int64_t>(kSinkTokens, options.tokens),
                             kFewestQueries)};
  View view{.columns = 2, .svg = "sinks"};
  view.panels.push_back(
      layer_panel(conditions, "the first key", "share of heads", false, [](const Layer& l) { return l.first_sinks; }));
  view.panels.push_back(
      layer_panel(conditions, "some other key", "share of heads", false, [](const Layer& l) { return l.other_sinks; }));
  if (subject.config.kv_bias != decoder::KvBias::none) {
    view.columns = 3;
    view.panels.push_back(layer_panel(conditions, "the KV bias' slot", "share of heads", false,
                                      [](const Layer& l) { return l.slot_sinks; }));
  }
  figure.views.push_back(std::move(view));
  return figure;
}

// The layer intervened on, its neighbours, and an even spread of the others.
std::vector<std::size_t> shown_layers(const Condition& condition) {
  constexpr std::size_t kMost = 6;
  const std::size_t count = condition.layers.size();
  std::set<std::size_t> layers;
  if (condition.target) {
    const auto target = static_cast<std::size_t>(condition.target->layer);
    layers.insert(target);
    if (target + 1 < count) layers.insert(target + 1);
  }
  const std::size_t shown = std::min(kMost, count);
  for (std::size_t i = 0; layers.size() < shown; ++i) layers.insert(i * count / shown);  // these alone are as many
  return {layers.begin(), layers.end()};
}

Figure maps_figure(const Subject& subject, const std::vector<Condition>& conditions, const Tokenizer& tokenizer) {
  Figure figure{.id = "maps",
                .title = "Attention maps",
                .caption =
                    "The first detection sequence's first tokens: what each query (row) gives to each key "
                    "(column), averaged over heads. A column that is bright from top to bottom is a sink."};
  report::Selector selector{.name = "sequences"};
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    const auto& ids = subject.sequences[i].detection.front();
    const auto tokens = static_cast<std::size_t>(std::min<std::int64_t>(kSinkTokens, std::ssize(ids)));
    std::vector<std::string> names;
    for (std::size_t token = 0; token < tokens; ++token) {
      names.push_back(fmt::format("{} “{}”", token, report::shown_piece(tokenizer.piece(ids[token]))));
    }
    View view{.columns = 3, .note = "Some layers are left out."};
    const std::vector<std::size_t> shown = shown_layers(conditions[i]);
    if (shown.size() == conditions[i].layers.size()) view.note.clear();
    view.svg = conditions[i].bos ? "maps-bos" : "maps-no-bos";
    for (const std::size_t layer : shown) {
      Panel panel{.title = fmt::format("layer {}", layer), .color = static_cast<int>(i), .kind = PanelKind::heat};
      panel.x = {.label = "key", .categories = names};
      panel.y = {.label = "query", .categories = names};
      for (std::size_t query = 0; query < tokens; ++query) {
        for (std::size_t key = 0; key < tokens; ++key) {
          const float value =
              conditions[i].layers[layer].attention[query * static_cast<std::size_t>(kSinkTokens) + key];
          panel.cells.push_back(key <= query ? static_cast<double>(value) : std::numeric_limits<double>::quiet_NaN());
        }
      }
      panel.scale = {.label = "attention", .log = true, .low = 1e-3, .high = 1.0, .palette = report::Palette::magma};
      view.panels.push_back(std::move(panel));
    }
    selector.options.push_back(words_of(conditions[i]));
    figure.views.push_back(std::move(view));
  }
  if (figure.views.size() > 1) figure.selectors = {selector};
  return figure;
}

}  // namespace

Section magnitude_section(const Subject& subject, const std::vector<Condition>& conditions, const Options& options) {
  Section section{
      "magnitude", "Magnitudes", "", {top_values_figure(conditions, options), scale_free_figure(conditions, options)}};
  if (adds_up(subject.config)) section.figures.push_back(writers_figure(conditions));
  return section;
}

Section attention_section(const Subject& subject, const std::vector<Condition>& conditions, const Options& options,
                          const Tokenizer& tokenizer) {
  return {"attention",
          "Attention",
          "",
          {sinks_figure(subject, conditions, options), maps_figure(subject, conditions, tokenizer)}};
}

Section intervention_section(const Subject& subject, const std::vector<Condition>& conditions) {
  constexpr double kLogFrom = 3.0;  // the span from which a linear axis shows the largest only
  Section section{"interventions", "Interventions", "", {}};
  Figure figure{.id = "interventions", .title = "Perplexity after an intervention"};
  View view{.columns = 2, .shared = false, .svg = "interventions"};
  bool intervals = false;
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    const Condition& condition = conditions[i];
    if (condition.zeroed() == nullptr) continue;
    Panel panel{.title = fmt::format("{} · layer {}", words_of(condition), condition.target->layer),
                .color = static_cast<int>(i),
                .kind = PanelKind::intervals};
    panel.y.label = "perplexity / reference";
    Series points{.name = words_of(condition), .color = static_cast<int>(i), .in_legend = false};
    double least = 1.0;
    double most = 1.0;
    for (const Outcome& outcome : condition.outcomes) {
      if (outcome.kind == Kind::none) continue;
      for (std::size_t text = 0; text < outcome.texts.size(); ++text) {
        const Interval& ratio = outcome.texts[text].ratio;
        const std::string& name = subject.sequences[i].evaluation[text].name;
        points.x.push_back(static_cast<double>(panel.x.categories.size()));
        panel.x.categories.push_back(
            outcome.texts.size() == 1
                ? name_of(outcome.kind)
                : fmt::format("{} · {}", name_of(outcome.kind), std::filesystem::path(name).filename().string()));
        points.y.push_back(ratio.value);
        points.low.push_back(ratio.low);
        points.high.push_back(ratio.high);
        points.notes.push_back(name);
        intervals |= std::isfinite(ratio.low);
        if (std::isinf(ratio.value)) panel.x.categories.back() += " (∞)";
        for (const double value : {ratio.value, ratio.low, ratio.high}) {
          if (!std::isfinite(value)) continue;
          least = std::min(least, value);
          most = std::max(most, value);
        }
      }
    }
    panel.y.log = most > kLogFrom * least;
    panel.series.push_back(std::move(points));
    panel.band = report::Band{1.0, 1.0, "unchanged"};
    view.panels.push_back(std::move(panel));
  }
  if (view.panels.empty()) {
    const bool none = std::none_of(conditions.begin(), conditions.end(), [](const Condition& c) { return c.target; });
    section.intro = none ? "No layer has a massive element: there is nothing to intervene on."
                         : "No held-out sequence has a massive element where they come first: nothing was changed.";
    return section;
  }
  figure.caption = fmt::format("As a multiple of the unchanged model's (the line at 1){}.",
                               intervals ? ", with 95 % intervals by bootstrap over sequences" : "");
  figure.views.push_back(std::move(view));
  section.figures.push_back(std::move(figure));
  return section;
}

}  // namespace headroom::study
