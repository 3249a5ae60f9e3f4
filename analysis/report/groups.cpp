#include "analysis/report/groups.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>

namespace headroom::report {
namespace {

bool same_but_for_seed(const Run& a, const Run& b) {
  const bool same_corpus =
      a.facts.corpus.empty() || b.facts.corpus.empty() || !a.last || !b.last || a.facts.corpus == b.facts.corpus;
  return a.variant == b.variant && a.settings == b.settings && same_corpus;
}

// "lr" for "optim.lr".
std::string last_part(const std::string& key) {
  const std::size_t point = key.rfind('.');
  return point == std::string::npos ? key : key.substr(point + 1);
}

// Keys in which the runs differ.
std::vector<std::string> differing_keys(const std::vector<const Run*>& runs) {
  std::map<std::string, std::set<std::string>> values;
  std::map<std::string, std::size_t> holders;
  for (const Run* run : runs) {
    for (const auto& [key, value] : run->settings) {
      values[key].insert(value);
      ++holders[key];
    }
  }
  std::vector<std::string> keys;
  for (const auto& [key, different] : values) {
    if (different.size() > 1 || holders[key] < runs.size()) keys.push_back(key);
  }
  return keys;
}

// "lr 0.002, target 0.01"; a key that shares its last part with another in full.
std::string setting_words(const Run& run, const std::vector<std::string>& keys) {
  std::vector<std::string> parts;
  for (const std::string& key : keys) {
    const auto alike =
        std::count_if(keys.begin(), keys.end(), [&](const auto& other) { return last_part(other) == last_part(key); });
    const auto found = run.settings.find(key);
    parts.push_back(fmt::format("{} {}", alike > 1 ? key : last_part(key),
                                found == run.settings.end() ? "not set" : found->second));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

void name_groups(const std::vector<Run>& runs, std::vector<Group>& groups) {
  std::map<std::string, std::vector<const Run*>> of_variant;  // each group's first run
  for (const Group& group : groups) of_variant[runs[group.runs.front()].variant].push_back(&runs[group.runs.front()]);
  std::map<std::string, int> taken;
  for (Group& group : groups) {
    const Run& first = runs[group.runs.front()];
    const std::string apart = setting_words(first, differing_keys(of_variant.at(first.variant)));
    const bool alone = of_variant.at(first.variant).size() == 1;
    group.label = !apart.empty()              ? fmt::format("{}, {}", first.variant, apart)
                  : alone || group.repeated() ? first.variant
                                              : first.name;  // a seed that the variant's group has already
    if (const int again = ++taken[group.label]; again > 1) group.label += fmt::format(" ({})", again);
  }
}

}  // namespace

bool computes(std::string_view key) {
  static constexpr std::array<std::string_view, 8> kSections = {"parallel.", "eval.",       "snapshot.", "monitor.",
                                                                "log.",      "checkpoint.", "faults.",   "data."};
  static constexpr std::array<std::string_view, 11> kKeys = {"name",
                                                             "runs_dir",
                                                             "variant",
                                                             "device",
                                                             "train.micro_batch",
                                                             "train.recompute",
                                                             "train.loss_chunk",
                                                             "train.bucket_mb",
                                                             "bad_steps.patience",
                                                             "bad_steps.then",
                                                             "bad_steps.rollbacks"};
  return std::find(kKeys.begin(), kKeys.end(), key) == kKeys.end() &&
         std::none_of(kSections.begin(), kSections.end(), [&](auto section) { return key.starts_with(section); });
}

std::vector<Group> group_by_seed(std::vector<Run>& runs) {
  std::vector<Group> groups;
  for (std::size_t run = 0; run < runs.size(); ++run) {
    const auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& other) {
      const Run& first = runs[other.runs.front()];
      return first.seed && runs[run].seed && same_but_for_seed(first, runs[run]);
    });
    if (group == groups.end()) {
      groups.push_back({{}, {run}});
      continue;
    }
    const auto twin = std::find_if(group->runs.begin(), group->runs.end(),
                                   [&](std::size_t other) { return runs[other].seed == runs[run].seed; });
    if (twin == group->runs.end()) {
      group->runs.push_back(run);
      continue;
    }
    runs[run].remarks.push_back(
        fmt::format("this is {} again, settings and seed: it is no further seed and stands alone", runs[*twin].name));
    groups.push_back({{}, {run}});
  }
  for (Group& group : groups) {
    std::stable_sort(group.runs.begin(), group.runs.end(),
                     [&](std::size_t a, std::size_t b) { return runs[a].seed < runs[b].seed; });
  }
  if (std::any_of(groups.begin(), groups.end(), [](const Group& group) { return group.repeated(); })) {
    name_groups(runs, groups);
  }
  return groups;
}

}  // namespace headroom::report
