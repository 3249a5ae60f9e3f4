#include "analysis/report/page.h"

#include <fmt/format.h>

#include <algorithm>

#include "analysis/report/format.h"
#include "analysis/report/page_frame.h"
#include "analysis/report/table_parts.h"
#include "analysis/report/verdicts.h"
#include "base/version.h"

namespace headroom::report {
namespace {

nlohmann::json data_json(const Study& study, const std::vector<Section>& sections) {
  nlohmann::json data = {{"runs", nlohmann::json::array()},
                         {"figures", nlohmann::json::array()},
                         {"palettes", {{"magma", stops(Palette::magma)}, {"viridis", stops(Palette::viridis)}}}};
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    data["runs"].push_back({{"name", study.runs[run].label}, {"color", study.colors[run]}});
  }
  if (study.has_seeds()) {  // switched on and off together
    for (const Group& group : study.groups) data["groups"].push_back({{"name", group.label}, {"runs", group.runs}});
  }
  for (const Section& section : sections) {
    for (const Figure& figure : section.figures) data["figures"].push_back(to_json(figure));
  }
  return data;
}

std::string fact(const std::string& name, const std::string& value) {
  return value.empty() ? std::string{}
                       : fmt::format("<div><dt>{}</dt><dd>{}</dd></div>", escape_markup(name), escape_markup(value));
}

// The values a figure takes over the runs: "6", or "6 / 12" where they differ; zero and empty are unknown.
template <class Figure>
std::string over_runs(const Study& study, Figure figure) {
  std::vector<std::string> values;
  for (const Run& run : study.runs) {
    const std::string value = figure(run);
    if (!value.empty() && std::find(values.begin(), values.end(), value) == values.end()) values.push_back(value);
  }
  return fmt::format("{}", fmt::join(values, " / "));
}

std::vector<std::string> group_labels(const Study& study) {
  std::vector<std::string> labels;
  for (const Group& group : study.groups) labels.push_back(group.label);
  return labels;
}

std::string count_or_empty(std::int64_t value) {
  return value > 0 ? format_count(value) : std::string{};
}

// "50, 100, 150", or "50, 100, ... 5,000 (40)" for many.
std::string snapshot_steps(const Run& run) {
  constexpr std::size_t kMost = 6;
  std::vector<std::string> steps;
  for (const HistoryPoint& point : run.history) steps.push_back(format_count(point.step));
  if (steps.size() <= kMost) return fmt::format("{}", fmt::join(steps, ", "));
  return fmt::format("{}, {}, … {} ({})", steps[0], steps[1], steps.back(), steps.size());
}

std::string coverage(const Study& study) {
  std::string out = "<dl class=\"facts\">";
  out += fact("runs", format_count(static_cast<std::int64_t>(study.runs.size())));
  if (study.has_seeds()) out += fact("variants", format_count(static_cast<std::int64_t>(study.groups.size())));
  out += fact("training tokens", over_runs(study, [](const Run& r) {
                return r.tokens_seen() > 0 ? format_amount(r.tokens_seen()) : std::string{};
              }));
  out += fact("parameters", over_runs(study, [](const Run& r) {
                return r.facts.parameters > 0 ? format_amount(r.facts.parameters) : std::string{};
              }));
  out += fact("layers", over_runs(study, [](const Run& r) { return count_or_empty(r.facts.n_layers); }));
  out += fact("hidden size", over_runs(study, [](const Run& r) { return count_or_empty(r.facts.hidden_size); }));
  out += fact("heads", over_runs(study, [](const Run& r) { return count_or_empty(r.facts.n_heads); }));
  out += fact("context", over_runs(study, [](const Run& r) { return count_or_empty(r.facts.seq_len); }));
  out += fact("vocabulary", over_runs(study, [](const Run& r) { return count_or_empty(r.facts.vocab_size); }));
  out += fact("number format", over_runs(study, [](const Run& r) { return r.facts.dtype; }));
  const auto calibration = [&](bool bos) {
    return over_runs(study, [bos](const Run& r) {
      for (const SetMeasures& m : r.sets()) {
        if (m.set.sentence || m.set.bos != bos) continue;
        return fmt::format("{} sequences, {} tokens", m.set.sequences.size(), format_count(m.set.tokens));
      }
      return std::string{};
    });
  };
  out += fact("calibration with BOS", calibration(true));
  out += fact("calibration without BOS", calibration(false));
  out += fact("probe sentences", over_runs(study, [](const Run& r) {
                return count_or_empty(std::count_if(r.sets().begin(), r.sets().end(),
                                                    [](const SetMeasures& m) { return m.set.sentence; }));
              }));
  out += fact("largest values kept", over_runs(study, [](const Run& r) {
                return r.last ? format_count(r.snapshot()->dims.top_k) : std::string{};
              }));
  out += fact("snapshots of steps", over_runs(study, [](const Run& r) { return snapshot_steps(r); }));
  out += fact("thresholds", fmt::format("max > {}, max ≥ {} × median", format_number(study.thresholds.absolute),
                                        format_number(study.thresholds.ratio)));
  out += fact("attention sink", over_runs(study, [&](const Run& r) {
                const SetMeasures* m = main_set(r.sets());
                return m ? fmt::format("mass > {:g}, first {} tokens, {} sequences", study.thresholds.sink,
                                       m->sinks.tokens, m->sinks.sequences)
                         : std::string{};
              }));
  return out + "</dl>\n";
}

std::string summary_note(const Study& study) {
  std::string out;
  const std::string over = main_words(study);
  bool none_massive = !over.empty();
  for (std::size_t run = 0; run < study.runs.size(); ++run)
    none_massive = none_massive && (!study.main(run) || any_massive(study, run) == false);
  if (!over.empty()) {
    out +=
        fmt::format("Activations: block outputs of the last snapshot, averaged over “{}”; layers count from 0. ", over);
  }
  if (study.evaluated_tokens) {
    out += fmt::format("Perplexity at {} training tokens. ", format_amount(*study.evaluated_tokens));
  }
  if (study.baseline) out += fmt::format("Changes are relative to {}. ", study.runs[*study.baseline].label);
  if (none_massive) {
    out +=
        "No run has a layer that passes both tests, so the verdict cannot tell a mitigation from a run too small to "
        "need one: compare the ratios and the scale-free measures.";
  }
  return out;
}

std::string list_html(const std::vector<std::string>& texts) {
  std::string items;
  for (const std::string& text : texts) items += fmt::format("<li>{}</li>", escape_markup(text));
  return items.empty() ? items : fmt::format("<div class=\"card\"><ul class=\"scale\">{}</ul></div>\n", items);
}

std::vector<std::string> texts_of(const std::vector<Finding>& findings, int run) {
  std::vector<std::string> texts;
  for (const Finding& finding : findings) {
    if (finding.run == run) texts.push_back(finding.text);
  }
  return texts;
}

std::string items_html(const std::vector<std::string>& texts) {
  std::string items;
  for (const std::string& text : texts) items += fmt::format("<li>{}</li>", escape_markup(text));
  return items.empty() ? items : fmt::format("<ul>{}</ul>", items);
}

// A card a run; with seeds one a group: what is of all of its seeds, then what is of the one shown.
std::string findings_html(const Study& study, const std::vector<Finding>& all) {
  std::string out = "<div class=\"findings\">\n";
  for (const std::size_t run : study.shown_runs()) {
    std::vector<std::string> of_group;
    std::vector<std::string> of_run;
    for (const Finding& finding : all) {
      if (finding.run == static_cast<int>(run)) (finding.over_seeds ? of_group : of_run).push_back(finding.text);
    }
    if (of_group.empty() && of_run.empty()) continue;
    const Group& group = study.group_of(run);
    out += fmt::format("<div class=\"card\"><h3><i class=\"dot\" style=\"background:{}\"></i>{}</h3>{}",
                       study.colors[run], escape_markup(group.label), items_html(of_group));
    if (group.repeated() && !of_run.empty()) {
      out +=
          fmt::format("<p class=\"of\">Of {} seeds, seed {} by itself:</p>", group.runs.size(), *study.runs[run].seed);
    }
    out += items_html(of_run) + "</div>\n";
  }
  return out + "</div>\n";
}

// A card with the table's first rows; nothing for an empty table.
std::string table_html(const Study& study, const Table& table, std::string note) {
  constexpr std::size_t kMostRows = 60;
  if (table.rows.empty()) return {};
  Table shown = table;
  if (shown.rows.size() > kMostRows) {
    shown.rows.resize(kMostRows);
    note += fmt::format("The first {} of {} rows; all are in tables/{}.csv.", kMostRows, table.rows.size(), table.name);
  }
  return fmt::format("<div class=\"card\"><div class=\"bar\"><h3>{}</h3></div>{}{}</div>\n", escape_markup(table.title),
                     to_html(shown, study.colors),
                     note.empty() ? "" : fmt::format("<p class=\"note\">{}</p>", escape_markup(note)));
}

// Behind a line that opens it: many rows of single runs, after what is of their groups.
std::string folded_html(const std::string& words, const std::string& inner) {
  return inner.empty() ? inner
                       : fmt::format("<details class=\"fold\"><summary>{}</summary>{}</details>\n", words, inner);
}

std::string seeds_html(const Study& study, const PageContents& contents) {
  if (contents.seeds.rows.empty()) return {};
  return fmt::format("<div id=\"seeds\">{}{}</div>\n", table_html(study, contents.seeds, contents.seed_rule),
                     list_html(contents.seed_remarks));
}

std::string provenance_html(const Study& study, const PageContents& contents) {
  std::string out = "<section id=\"provenance\"><h2>Provenance</h2>\n";
  for (std::size_t i = 0; i < study.runs.size(); ++i) {
    const Run& run = study.runs[i];
    std::vector<std::string> facts;
    const auto add = [&](const char* name, const std::string& value) {
      if (!value.empty()) facts.push_back(fmt::format("{} <code>{}</code>", name, escape_markup(value)));
    };
    add("config", run.facts.fingerprint);
    add("commit", run.facts.commit);
    add("layout", run.facts.layout);
    add("corpus", run.facts.corpus);
    add("tokenizer", run.facts.tokenizer);
    if (run.snapshot()) {
      add("snapshot of step", format_count(run.snapshot()->provenance.step));
      add("libraries", run.snapshot()->provenance.libraries);
    }
    out += fmt::format(
        "<div class=\"card\"><details><summary><i class=\"dot\" style=\"background:{}\"></i>{} · {} "
        "files</summary><p>{}</p>",
        study.colors[i], escape_markup(run.label), run.files.size(), fmt::join(facts, " · "));
    out += "<ul>";
    for (const auto& file : run.files) out += fmt::format("<li><code>{}</code></li>", escape_markup(file.string()));
    out += "</ul></details></div>\n";
  }
  out += "<p class=\"lead\">Tables: ";
  for (std::size_t i = 0; i < contents.table_files.size(); ++i) {
    const std::string& name = contents.table_files[i];
    out += fmt::format("{0}{1} (<a href=\"tables/{1}.csv\">CSV</a>, <a href=\"tables/{1}.json\">JSON</a>)",
                       i ? ", " : "", name);
  }
  return out + ".</p></section>\n";
}

std::string remarks_html(const Study& study, const PageContents& contents) {
  std::string items;
  for (const std::string& remark : contents.remarks) items += fmt::format("<li>{}</li>", escape_markup(remark));
  for (std::size_t i = 0; i < study.runs.size(); ++i) {
    for (const std::string& remark : study.runs[i].remarks) {
      items += fmt::format("<li><i class=\"dot\" style=\"background:{}\"></i>{}: {}</li>", study.colors[i],
                           escape_markup(study.runs[i].label), escape_markup(remark));
    }
  }
  return items.empty() ? items : fmt::format("<div class=\"card\"><ul class=\"scale\">{}</ul></div>\n", items);
}

}  // namespace

std::string to_html(const Study& study, const PageContents& contents) {
  std::string out =
      page_head(contents.title, fmt::format("{}", fmt::join(group_labels(study), " / ")), coverage(study));
  out += "<nav><div><a href=\"#summary\">Summary</a>";
  if (!contents.scale.empty()) out += "<a href=\"#scale\">Scale</a>";
  out += "<a href=\"#findings\">Findings</a>";
  for (const Section& section : contents.sections) {
    out += fmt::format("<a href=\"#{}\">{}</a>", section.id, escape_markup(section.title));
  }
  out += "<a href=\"#provenance\">Provenance</a><span class=\"runs\"></span></div></nav>\n<main>\n";
  out +=
      "<noscript><p class=\"lead\">The interactive figures need JavaScript; the same figures lie beside this page in "
      "figures/ as SVG.</p></noscript>\n";

  std::string runs = table_html(study, contents.summary, summary_note(study));
  std::string details;
  for (const Table* table : {&contents.sentences, &contents.scale_free, &contents.massive_elements})
    details += table_html(study, *table, {});
  if (study.has_seeds()) {
    runs = folded_html(fmt::format("The {} runs one by one", study.runs.size()), runs + details);
    details.clear();
  }
  out += fmt::format("<section id=\"summary\"><h2>Summary</h2>\n{}{}{}{}", remarks_html(study, contents),
                     list_html(texts_of(contents.findings, -1)), seeds_html(study, contents), runs);
  if (!contents.scale.empty()) {
    out += fmt::format("<div id=\"scale\"><h3 class=\"over\">What this scale can and cannot show</h3>{}</div>\n",
                       list_html(texts_of(contents.scale, -1)));
  }
  out += details + "</section>\n";
  out += fmt::format("<section id=\"findings\"><h2>Findings</h2>\n{}</section>\n",
                     findings_html(study, contents.findings));
  for (const Section& section : contents.sections) out += section_html(section);
  out += provenance_html(study, contents);
  out += page_end(contents.written, data_json(study, contents.sections));
  return out;
}

}  // namespace headroom::report
