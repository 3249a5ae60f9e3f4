// Tables of single sequences and single activations: the probe sentences, and the massive elements.
#include <fmt/format.h>

#include <algorithm>

#include "analysis/report/format.h"
#include "analysis/report/places.h"
#include "analysis/report/table_parts.h"

namespace headroom::report {

// The prompt of the published table is among the default probe sentences, so its figures compare with that table's.
Table sentences_table(const Study& study) {
  Table table{"sentences", "Probe sentences", {}, {}};
  const auto largest = [](const char* what) {
    return fmt::format("largest over the layers of {} of the sentence", what);
  };
  table.columns = {{"sentence", "Sentence", "the probe sentence's text", false}, {"run", "Run", "variant", false}};
  for (const auto& [key, title] : {std::pair{"bos", "with BOS"}, std::pair{"no_bos", "without"}}) {
    const auto name = [key = key](const char* figure) { return fmt::format("{}_{}", figure, key); };
    table.columns.push_back({name("max"), fmt::format("Max |h|, {}", title), largest("max|h|")});
    table.columns.push_back({name("max") + "_layer", "", "its layer, from 0"});
    table.columns.push_back({name("median"), fmt::format("Median, {}", title), largest("median|h|")});
    table.columns.push_back({name("median") + "_layer", "", "its layer, from 0"});
    table.columns.push_back({name("ratio"), fmt::format("Ratio, {}", title), largest("max|h| / median|h|")});
    table.columns.push_back({name("ratio") + "_layer", "", "its layer, from 0"});
  }
  std::vector<std::string> texts;
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    for (const SetMeasures& m : study.sets(run)) {
      if (m.set.sentence && std::find(texts.begin(), texts.end(), m.set.text) == texts.end())
        texts.push_back(m.set.text);
    }
  }
  for (const std::string& text : texts) {
    for (std::size_t run = 0; run < study.runs.size(); ++run) {
      Row row = {text_cell(text), run_cell(study, run, false)};
      bool any = false;
      for (const bool bos : {true, false}) {
        const SetMeasures* m = nullptr;
        for (const SetMeasures& one : study.sets(run)) {
          if (one.set.sentence && one.set.text == text && one.set.bos == bos) m = &one;
        }
        any = any || m;
        if (!m) {
          row.insert(row.end(), 6, missing());
          continue;
        }
        row.push_back(figure_cell(m->max().max, layer_note(m->max_layer)));
        row.push_back(count_cell(static_cast<std::int64_t>(m->max_layer)));
        row.push_back(figure_cell(m->median().median, layer_note(m->median_layer)));
        row.push_back(count_cell(static_cast<std::int64_t>(m->median_layer)));
        row.push_back(figure_cell(m->ratio().ratio(), layer_note(m->ratio_layer)));
        row.push_back(count_cell(static_cast<std::int64_t>(m->ratio_layer)));
      }
      if (any) table.rows.push_back(std::move(row));
    }
  }
  return table;
}

// Of the main set and its counterpart without BOS of every run.
Table massive_elements_table(const Study& study) {
  Table table{"massive_elements", "Massive activations by place", {}, {}};
  table.columns = {{"run", "Run", "variant", false},
                   {"set", "Sequences", "looked at", false},
                   {"layer", "Layer", "from 0"},
                   {"channel", "Channel", "from 0"},
                   {"position", "Position", "token position, from 0"},
                   {"sequences", "In sequences",
                    fmt::format("sequences in which |h| there exceeds {} and {} times the layer's median",
                                format_number(study.thresholds.absolute), format_number(study.thresholds.ratio))},
                   {"of", "", "sequences of the set"},
                   {"largest", "Largest |h|", "over those sequences"},
                   {"at_least", "",
                    "whether a sequence's kept values of this layer are all massive, so that there may "
                    "be more places than are listed",
                    false}};
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    const SetMeasures* main = study.main(run);
    const SetMeasures* without = study.without_bos(run);
    for (const SetMeasures* m : {main, without == main ? nullptr : without}) {
      if (!m) continue;
      const SnapshotFile& snapshot = *study.runs[run].snapshot();
      for (const MassiveElement& e : massive_elements(snapshot, m->set, study.thresholds)) {
        const bool more = may_have_more(snapshot, m->set, e.layer, study.thresholds);
        const auto of = static_cast<std::int64_t>(m->set.sequences.size());
        table.rows.push_back(
            {run_cell(study, run, false), text_cell(m->set.name), count_cell(e.layer), count_cell(e.channel),
             count_cell(e.position),
             Cell::of(e.sequences, fmt::format("{}{} of {}", more ? "at least " : "", e.sequences, of)), count_cell(of),
             number_cell(e.largest), Cell::of(more, "")});
      }
    }
  }
  return table;
}

}  // namespace headroom::report
