#include "analysis/report/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "analysis/report/assets.h"
#include "analysis/report/format.h"
#include "base/version.h"

namespace headroom::report {
namespace {

// JSON inside a script element: "<" must not begin a tag.
std::string embedded_json(const nlohmann::json& json) {
  std::string out;
  for (const char c : json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)) {
    if (c == '<') {
      out += "\\u003c";
    } else {
      out += c;
    }
  }
  return out;
}

nlohmann::json data_json(const Study& study, const std::vector<Section>& sections) {
  nlohmann::json data = {{"runs", nlohmann::json::array()},
                         {"figures", nlohmann::json::array()},
                         {"palettes", {{"magma", stops(Palette::magma)}, {"viridis", stops(Palette::viridis)}}}};
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    data["runs"].push_back({{"name", study.runs[run].label}, {"color", study.colors[run]}});
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

std::string count_or_empty(std::int64_t value) {
  return value > 0 ? format_count(value) : std::string{};
}

std::string coverage(const Study& study) {
  std::string out = "<dl class=\"facts\">";
  out += fact("runs", format_count(static_cast<std::int64_t>(study.runs.size())));
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
  const auto sets = [&](const char* name) {
    std::vector<std::string> values;
    for (const auto& all : study.sets) {
      for (const SetMeasures& m : all) {
        if (m.set.name != name) continue;
        const std::string value =
            fmt::format("{} sequences, {} tokens", m.set.sequences.size(), format_count(m.set.tokens));
        if (std::find(values.begin(), values.end(), value) == values.end()) values.push_back(value);
      }
    }
    return fmt::format("{}", fmt::join(values, " / "));
  };
  out += fact("calibration with BOS", sets("calibration, BOS"));
  out += fact("calibration without BOS", sets("calibration, no BOS"));
  out += fact("thresholds", fmt::format("max > {}, max ≥ {} × median", format_number(study.thresholds.absolute),
                                        format_number(study.thresholds.ratio)));
  return out + "</dl>\n";
}

std::string summary_note(const Study& study) {
  std::string out;
  std::string set;
  bool any_massive = false;
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    const SetMeasures* m = study.main(run);
    if (!m) continue;
    if (set.empty()) set = m->set.name;
    any_massive = any_massive || !m->massive_layers.empty();
  }
  if (!set.empty()) {
    out +=
        fmt::format("Activations: block outputs of the last snapshot, averaged over “{}”; layers count from 0. ", set);
  }
  if (study.equal_tokens > 0.0) {
    out += fmt::format("Losses and perplexity at {} training tokens, the most that every run has seen. ",
                       format_amount(study.equal_tokens));
  }
  if (study.baseline) out += fmt::format("Changes are relative to {}. ", study.runs[*study.baseline].label);
  if (!set.empty() && !any_massive) {
    out +=
        "No run has a layer that passes both tests, so the verdict cannot tell a mitigation from a run too small to "
        "need one: "
        "compare the ratios and the scale-free measures.";
  }
  return out;
}

std::string findings_html(const Study& study, const std::vector<Finding>& all) {
  std::string across;
  for (const Finding& finding : all) {
    if (finding.run < 0) across += fmt::format("<li>{}</li>", escape_markup(finding.text));
  }
  std::string out =
      across.empty() ? across : fmt::format("<div class=\"card\"><ul class=\"scale\">{}</ul></div>\n", across);
  out += "<div class=\"findings\">\n";
  for (std::size_t run = 0; run < study.runs.size(); ++run) {
    std::string items;
    for (const Finding& finding : all) {
      if (finding.run == static_cast<int>(run)) items += fmt::format("<li>{}</li>", escape_markup(finding.text));
    }
    if (items.empty()) continue;
    out +=
        fmt::format("<div class=\"card\"><h3><i class=\"dot\" style=\"background:{}\"></i>{}</h3><ul>{}</ul></div>\n",
                    study.colors[run], escape_markup(study.runs[run].label), items);
  }
  return out + "</div>\n";
}

std::string section_html(const Section& section) {
  std::string out = fmt::format("<section id=\"{}\"><h2>{}</h2>\n", section.id, escape_markup(section.title));
  if (!section.intro.empty()) out += fmt::format("<p class=\"lead\">{}</p>\n", escape_markup(section.intro));
  for (const Figure& figure : section.figures) {
    out += fmt::format(
        "<figure id=\"figure-{}\"><div class=\"bar\"><h3>{}</h3></div><figcaption>{}</figcaption>"
        "<div class=\"body\"></div></figure>\n",
        figure.id, escape_markup(figure.title), escape_markup(figure.caption));
  }
  return out + "</section>\n";
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

std::string remarks_html(const Study& study) {
  std::string items;
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
  std::string out = fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n<style>\n",
      escape_markup(contents.title));
  out += style_sheet();
  out += fmt::format(
      "</style>\n</head>\n<body>\n<header><div><span class=\"brand\">Headroom report</span><h1>{}</h1>"
      "<p class=\"lead\">{}</p>{}</div></header>\n",
      escape_markup(contents.title), escape_markup(over_runs(study, [](const Run& run) { return run.label; })),
      coverage(study));
  out += "<nav><div><a href=\"#summary\">Summary</a><a href=\"#findings\">Findings</a>";
  for (const Section& section : contents.sections) {
    out += fmt::format("<a href=\"#{}\">{}</a>", section.id, escape_markup(section.title));
  }
  out += "<a href=\"#provenance\">Provenance</a><span class=\"runs\"></span></div></nav>\n<main>\n";
  out +=
      "<noscript><p class=\"lead\">The interactive figures need JavaScript; the same figures lie beside this page in "
      "figures/ as SVG.</p></noscript>\n";

  out += fmt::format("<section id=\"summary\"><h2>Summary</h2>\n{}", remarks_html(study));
  for (const Table* table : {&contents.summary, &contents.scale_free}) {
    out += fmt::format("<div class=\"card\"><div class=\"bar\"><h3>{}</h3></div>{}", escape_markup(table->title),
                       to_html(*table, study.colors));
    const std::string note = table == &contents.summary ? summary_note(study) : std::string{};
    out += note.empty() ? "</div>\n" : fmt::format("<p class=\"note\">{}</p></div>\n", escape_markup(note));
  }
  out += "</section>\n";

  out += fmt::format("<section id=\"findings\"><h2>Findings</h2>\n{}", findings_html(study, contents.findings));
  if (!contents.scale.empty()) {
    out += "<h2>What this scale can and cannot show</h2><div class=\"card\"><ul class=\"scale\">";
    for (const Finding& remark : contents.scale) out += fmt::format("<li>{}</li>", escape_markup(remark.text));
    out += "</ul></div>";
  }
  out += "</section>\n";
  for (const Section& section : contents.sections) out += section_html(section);
  out += provenance_html(study, contents);
  out += fmt::format(
      "</main>\n<footer>Written {} by {}. Every number is computed from the files named above. Charts: d3 {} (BSD "
      "3-clause, "
      "© 2010–2017 Mike Bostock).</footer>\n<script id=\"data\" type=\"application/json\">",
      escape_markup(contents.written), escape_markup(version_line()), d3_version());
  out += embedded_json(data_json(study, contents.sections));
  out += "</script>\n<script>\n";
  out += d3_library();
  out += "</script>\n<script>\n";
  out += page_script();
  out += "</script>\n</body>\n</html>\n";
  return out;
}

}  // namespace headroom::report
