// tables/study.json: a study as programs want it, with all that it depends on.
#include <cmath>

#include "analysis/study/report_parts.h"
#include "base/system.h"
#include "base/version.h"

namespace headroom::study {
namespace {

using Json = nlohmann::ordered_json;

// Null is unknown; infinite is a result.
Json number(double value) {
  if (std::isinf(value)) return value > 0.0 ? "inf" : "-inf";
  return std::isnan(value) ? Json() : Json(value);
}

Json to_json(const Interval& interval) {
  return {{"value", number(interval.value)}, {"low", number(interval.low)}, {"high", number(interval.high)}};
}

Json to_json(const Layer& layer, const Options& options) {
  return {{"top", layer.top},
          {"median", layer.median},
          {"ratio", number(layer.ratio())},
          {"rms", layer.rms},
          {"kurtosis", number(layer.kurtosis)},
          {"massive", layer.massive(options)},
          {"elements", layer.elements.size()},
          {"channels", channels_of(layer.elements)},
          {"attention_top", layer.attention_top},
          {"mlp_top", layer.mlp_top},
          {"sinks", {{"first", layer.first_sinks}, {"other", layer.other_sinks}, {"slot", layer.slot_sinks}}}};
}

Json to_json(const Outcome& outcome, const Sequences& sequences) {
  Json texts = Json::array();
  for (std::size_t i = 0; i < outcome.texts.size(); ++i) {
    const TextOutcome& one = outcome.texts[i];
    texts.push_back({{"text", sequences.evaluation[i].name},
                     {"tokens", one.tokens},
                     {"perplexity", to_json(one.perplexity)},
                     {"ratio", to_json(one.ratio)},
                     {"not_finite", one.not_finite},
                     {"destroyed", one.destroyed()}});
  }
  return {{"intervention", name_of(outcome.kind)},
          {"changed", outcome.change.changed},
          {"without_mean", outcome.change.without_mean},
          {"texts", std::move(texts)},
          {"mean_perplexity", number(outcome.mean_perplexity())},
          {"ratio", to_json(outcome.ratio)}};
}

Json to_json(const Condition& condition, const Sequences& sequences, const Options& options, bool adds_up) {
  Json json = {{"bos", condition.bos},
               {"sequences", {{"detection", sequences.detection.size()}, {"mean", sequences.mean.size()}}},
               {"massive_layers", condition.massive_layers(options)},
               {"first_layer", condition.target ? Json(condition.target->layer) : Json()},
               {"channels", condition.target ? Json(condition.target->channels) : Json::array()},
               {"all_channels", condition.all_channels()}};
  if (condition.target && adds_up) {
    const Writers& writers = condition.writers;
    json["written_by"] = {{"attention", writers.attention / writers.all}, {"feed_forward", writers.mlp / writers.all}};
  }
  const Outcome* const zeroed = condition.zeroed();
  json["severity"] = zeroed ? Json(name_of(severity_of(zeroed->ratio.value))) : Json();
  if (zeroed) {
    json["suppression"] = {{"elements", condition.suppression.elements},
                           {"left", condition.suppression.left},
                           {"leaked_layers", condition.suppression.leaked_layers},
                           {"other_layers", condition.suppression.other_layers}};
  }
  for (const Outcome& outcome : condition.outcomes) json["outcomes"].push_back(to_json(outcome, sequences));
  for (const Layer& layer : condition.layers) json["layers"].push_back(to_json(layer, options));
  return json;
}

}  // namespace

Json study_json(const Subject& subject, const std::vector<Condition>& conditions, const Options& options,
                const std::vector<std::string>& findings) {
  Json json = {{"headroom", version_line()},
               {"time", utc_time()},
               {"host", host_name()},
               {"title", subject.title},
               {"model", {{"name", subject.name}, {"directory", subject.source}, {"family", subject.config.family}}},
               {"tokenizer", subject.tokenizer},
               {"options",
                {{"absolute", options.absolute},
                 {"ratio", options.ratio},
                 {"sink", options.sink},
                 {"tokens", options.tokens},
                 {"detection_sequences", options.detection_sequences},
                 {"mean_sequences", options.mean_sequences},
                 {"evaluation_sequences", options.evaluation_sequences},
                 {"seed", options.seed},
                 {"resamples", options.resamples}}},
               {"seconds", subject.seconds},
               {"notes", subject.notes},
               {"findings", findings},
               {"texts", Json::array()},
               {"conditions", Json::array()}};
  for (const Subject::Text& text : subject.texts) {
    json["texts"].push_back({{"file", text.file}, {"use", text.use}, {"hash", text.hash}, {"tokens", text.tokens}});
  }
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    json["conditions"].push_back(to_json(conditions[i], subject.sequences[i], options, adds_up(subject.config)));
  }
  return json;
}

}  // namespace headroom::study
