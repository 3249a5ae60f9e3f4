#include "campaign/runs.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "campaign/names.h"
#include "trainer/config_schema.h"
#include "trainer/config_table.h"
#include "trainer/start_up.h"

namespace headroom::campaign {
namespace {

// One combination of the axes' values.
struct Point {
  std::string suffix;  // "-lr0.002"
  std::vector<std::string> settings;
  std::string how;  // settings that do not influence what is computed, but its speed, or what is written
};

std::vector<Point> combinations(const std::vector<Axis>& axes) {
  std::vector<Point> points(1);
  for (const Axis& axis : axes) {
    std::vector<Point> longer;
    const std::string leaf = axis.key.substr(axis.key.rfind('.') + 1);
    for (const Point& point : points) {
      for (const std::string& value : axis.values) {
        longer.push_back(point);
        longer.back().suffix += fmt::format("-{}{}", leaf, name_part(value));
        longer.back().settings.push_back(fmt::format("{}={}", axis.key, value));
        if (!find_config_key(axis.key)->computes) longer.back().how += " " + longer.back().settings.back();
      }
    }
    points = std::move(longer);
  }
  return points;
}

// Whether the label for reports comes from the variant's config or keys, and not from its name here.
bool names_itself(const Variant& variant) {
  const auto is_label = [](const std::string& setting) { return setting.starts_with("variant="); };
  if (std::any_of(variant.settings.begin(), variant.settings.end(), is_label)) return true;
  return !variant.config.empty() && variant.settings.empty();
}

RunConfig config_of(const Spec& spec, const Variant& variant, const std::vector<std::string>& settings,
                    const std::string& what) {
  try {
    RunConfig config = load_config(variant.config.empty() ? spec.base : variant.config, settings);
    layout_for(config, spec.resources.ranks());  // refuses what does not divide
    make_paths_absolute(config);
    return config;
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("{}: {}: {}", variant.place, what, error.what()), error.hint());
  }
}

}  // namespace

std::vector<PlannedRun> expand(const Spec& spec, const std::filesystem::path& runs_dir) {
  std::vector<PlannedRun> runs;
  std::map<std::string, std::string> by_fingerprint;
  std::set<std::string> names;
  for (const Variant& variant : spec.variants) {
    for (const Point& point : combinations(spec.axes)) {
      const std::string group = variant.key + point.suffix;
      for (const std::uint64_t seed : spec.seeds) {
        const std::string name = fmt::format("{}-seed{}", group, seed);
        if (!is_plain_name(name)) {
          throw Error(ExitCode::bad_config, fmt::format("{}: '{}' is too long for a run's name", variant.place, name),
                      "Choose a shorter name for the variant, or an axis with shorter values.");
        }
        if (!names.insert(name).second) {
          throw Error(ExitCode::bad_config, fmt::format("{}: two runs would be called '{}'", variant.place, name),
                      "Values of an axis must differ in more than what a name cannot hold; or rename the variant.");
        }
        std::vector<std::string> settings = variant.settings;
        settings.insert(settings.end(), spec.settings.begin(), spec.settings.end());
        settings.insert(settings.end(), point.settings.begin(), point.settings.end());
        for (const std::string& own :
             {fmt::format("name=\"{}\"", name), fmt::format("seed={}", seed),
              "runs_dir=" + to_toml_literal(runs_dir.string()),
              fmt::format("parallel.threads={}", spec.resources.threads), std::string("parallel.data=0"),
              std::string("faults.signal=\"USR1\""),
              fmt::format("device=\"{}\"", spec.resources.gpus_per_node > 0 ? "cuda" : "cpu")}) {
          settings.push_back(own);
        }
        RunConfig config = config_of(spec, variant, settings, fmt::format("run {}", name));
        if (!names_itself(variant)) config.variant = variant.key;
        const auto [same, fresh] = by_fingerprint.try_emplace(fingerprint(config) + point.how, name);
        if (!fresh) {
          throw Error(ExitCode::bad_config,
                      fmt::format("{}: runs {} and {} compute the same", variant.place, same->second, name),
                      "Leave one out; a key that repeats the default changes nothing.");
        }
        runs.push_back({name, group, seed, std::move(config)});
      }
    }
  }
  return runs;
}

}  // namespace headroom::campaign
