#include "analysis/report/verdicts.h"

#include <fmt/format.h>

#include <algorithm>

#include "analysis/report/format.h"

namespace headroom::report {
namespace {

// The main set and its counterpart without BOS, where that is another.
std::vector<const SetMeasures*> judged_sets(const Study& study, std::size_t run) {
  std::vector<const SetMeasures*> sets;
  for (const SetMeasures* m : {study.main(run), study.without_bos(run)}) {
    if (m && (sets.empty() || sets.front() != m)) sets.push_back(m);
  }
  return sets;
}

Mitigated mitigated_in(const Study& study, std::size_t run, const SetMeasures& m) {
  if (m.verdict() == Verdict::massive) return Mitigated::no;
  if (m.verdict() == Verdict::unknown) return Mitigated::unknown;
  if (!study.baseline_group) return Mitigated::none_seen;
  const auto& baselines = study.groups[*study.baseline_group].runs;
  const bool baseline_massive = std::all_of(baselines.begin(), baselines.end(), [&](std::size_t base) {
    const SetMeasures* other = base == run ? nullptr : find_set(study.sets(base), m.set.key);
    return other && other->verdict() == Verdict::massive;
  });
  return baseline_massive ? Mitigated::yes : Mitigated::none_seen;
}

std::string layers(const char* what, const std::vector<std::int64_t>& list) {
  return fmt::format("{} layer{} {}", what, list.size() > 1 ? "s" : "", format_ranges(list));
}

}  // namespace

std::optional<Mitigated> mitigated(const Study& study, std::size_t run) {
  const auto sets = judged_sets(study, run);
  if (sets.empty()) return std::nullopt;
  std::vector<Mitigated> parts;
  for (const SetMeasures* m : sets) parts.push_back(mitigated_in(study, run, *m));
  const auto has = [&](Mitigated verdict) { return std::find(parts.begin(), parts.end(), verdict) != parts.end(); };
  if (has(Mitigated::no) && has(Mitigated::yes)) {
    const std::size_t clean = parts.front() == Mitigated::yes ? 0 : 1;
    return sets[clean]->set.bos ? Mitigated::only_with_bos : Mitigated::only_without_bos;
  }
  for (const Mitigated verdict : {Mitigated::no, Mitigated::unknown, Mitigated::yes}) {
    if (has(verdict)) return verdict;
  }
  return Mitigated::none_seen;
}

std::string key_of(Mitigated verdict) {
  std::string words = words_of(verdict);
  std::replace(words.begin(), words.end(), ' ', '_');
  for (char& c : words) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return words;
}

std::string words_of(Mitigated verdict) {
  switch (verdict) {
    case Mitigated::yes:
      return "yes";
    case Mitigated::no:
      return "no";
    case Mitigated::only_with_bos:
      return "only with BOS";
    case Mitigated::only_without_bos:
      return "only without BOS";
    case Mitigated::none_seen:
      return "none seen";
    case Mitigated::unknown:
      break;
  }
  return "unknown";
}

std::optional<bool> any_massive(const Study& study, std::size_t run) {
  const auto sets = judged_sets(study, run);
  const auto any = [&](Verdict verdict) {
    return std::any_of(sets.begin(), sets.end(), [&](const SetMeasures* m) { return m->verdict() == verdict; });
  };
  if (any(Verdict::massive)) return true;
  if (sets.empty() || any(Verdict::unknown)) return std::nullopt;
  return false;
}

std::string layers_note(const Study& study, std::size_t run) {
  std::vector<std::string> parts;
  const auto sets = judged_sets(study, run);
  for (const SetMeasures* m : sets) {
    const std::string where = m->set.bos || sets.size() == 1 ? "" : "no BOS: ";
    if (!m->massive_layers.empty()) parts.push_back(where + layers("massive", m->massive_layers));
    if (!m->unknown_layers.empty()) parts.push_back(where + layers("not finite:", m->unknown_layers));
  }
  if (!parts.empty()) return fmt::format("{}", fmt::join(parts, "; "));
  return sets.empty() ? std::string{} : fmt::format("0 of {} layers massive", sets.front()->layers.size());
}

}  // namespace headroom::report
