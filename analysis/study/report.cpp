#include "analysis/study/report.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <ctime>

#include "analysis/report/format.h"
#include "analysis/report/page_frame.h"
#include "analysis/report/place.h"
#include "analysis/study/report_parts.h"
#include "base/version.h"

namespace headroom::study {
namespace {

namespace fs = std::filesystem;
using report::Table;

std::string fact(const std::string& name, const std::string& value) {
  return fmt::format("<div><dt>{}</dt><dd>{}</dd></div>", report::escape_markup(name), report::escape_markup(value));
}

std::string facts(const Subject& subject, const Options& options) {
  const decoder::Config& config = subject.config;
  std::string out = "<dl class=\"facts\">";
  out += fact("family", config.family);
  out += fact("layers", report::format_count(config.n_layers));
  out += fact("hidden size", report::format_count(config.hidden_size));
  out +=
      fact("heads", config.n_heads == config.n_kv_heads ? report::format_count(config.n_heads)
                                                        : fmt::format("{} over {}", config.n_heads, config.n_kv_heads));
  out += fact("vocabulary", report::format_count(config.vocab_size));
  out += fact("computed in", "f32, losses summed in f64");
  const Sequences& sequences = subject.sequences.front();  // the others are as many
  std::size_t evaluation = 0;
  for (const Sequences::HeldOut& text : sequences.evaluation) evaluation += text.sequences.size();
  out += fact("looked at", fmt::format("{} sequences of {} tokens", sequences.detection.size(), options.tokens));
  out += fact("for means", report::format_count(std::ssize(sequences.mean)));
  out += fact("for losses", report::format_count(static_cast<std::int64_t>(evaluation)));
  out += fact("thresholds", fmt::format("|h| > {}, {} x median", report::format_number(options.absolute),
                                        report::format_number(options.ratio)));
  return out + "</dl>";
}

std::string list_html(const std::vector<std::string>& texts) {
  if (texts.empty()) return {};
  std::string items;
  for (const std::string& text : texts) items += fmt::format("<li>{}</li>", report::escape_markup(text));
  return fmt::format("<div class=\"card\"><ul class=\"scale\">{}</ul></div>\n", items);
}

std::string table_html(const Table& table, const std::string& note) {
  return fmt::format("<div class=\"card\"><div class=\"bar\"><h3>{}</h3></div>{}{}</div>\n",
                     report::escape_markup(table.title), report::to_html(table, colors()),
                     note.empty() ? "" : fmt::format("<p class=\"note\">{}</p>", report::escape_markup(note)));
}

nlohmann::json page_data(const std::vector<Condition>& conditions, const std::vector<report::Section>& sections) {
  nlohmann::json data = {
      {"runs", nlohmann::json::array()},
      {"figures", nlohmann::json::array()},
      {"palettes",
       {{"magma", report::stops(report::Palette::magma)}, {"viridis", report::stops(report::Palette::viridis)}}}};
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    data["runs"].push_back({{"name", words_of(conditions[i])}, {"color", colors()[i]}});
  }
  for (const report::Section& section : sections) {
    for (const report::Figure& figure : section.figures) data["figures"].push_back(report::to_json(figure));
  }
  return data;
}

std::string provenance_html(const Subject& subject, const Options& options) {
  const auto item = [](const std::string& name, const std::string& value) {
    return fmt::format("<li>{} <code>{}</code></li>", name, report::escape_markup(value));
  };
  std::string out = "<section id=\"provenance\"><h2>Provenance</h2><div class=\"card\"><ul class=\"scale\">";
  out += item("model", fmt::format("{} ({})", subject.name, subject.source));
  for (const Subject::Text& text : subject.texts) {
    out +=
        item(text.use, fmt::format("{} ({}, {} tokens read)", text.file, text.hash, report::format_count(text.tokens)));
  }
  out += item("tokenizer", subject.tokenizer);
  out += item("program", version_line());
  out +=
      item("seed of the control and the bootstrap", fmt::format("{}, {} resamples", options.seed, options.resamples));
  out += item("passes took", fmt::format("{:.0f} s", subject.seconds));
  return out + "</ul></div></section>\n";
}

}  // namespace

fs::path write_report(const fs::path& place, const Subject& subject, const std::vector<Condition>& conditions,
                      const Options& options, const Tokenizer& tokenizer) {
  const std::vector<std::string> texts = findings(subject, conditions, options, tokenizer);
  const Table summary = summary_table(subject, conditions, options);
  const Table interventions = intervention_table(subject, conditions);
  const Table tokens = token_table(subject, conditions, tokenizer);
  const Table channels = channel_table(conditions);
  const Table shown_channels = largest_channels(channels);
  const Table layers = layer_table(conditions, options);
  const std::vector<report::Section> sections = {magnitude_section(subject, conditions, options),
                                                 attention_section(subject, conditions, options, tokenizer),
                                                 intervention_section(subject, conditions)};
  const std::string title = "Massive activations of " + subject.title;
  std::vector<std::string> files;
  for (const Subject::Text& text : subject.texts) files.push_back(text.file);
  std::string html = report::page_head(title, fmt::format("{}", fmt::join(files, ", ")), facts(subject, options));
  html += "<nav><div><a href=\"#summary\">Summary</a>";
  for (const report::Section& section : sections) {
    html += fmt::format("<a href=\"#{}\">{}</a>", section.id, section.title);
  }
  html += "<a href=\"#provenance\">Provenance</a><span class=\"runs\"></span></div></nav>\n<main>\n";
  html += "<section id=\"summary\"><h2>Summary</h2>\n" + list_html(subject.notes) + list_html(texts);
  html += table_html(summary, summary_note(options));
  html += table_html(interventions, intervention_note());
  if (!tokens.rows.empty()) html += table_html(tokens, "Of the layer intervened on, over its detection sequences.");
  if (!channels.rows.empty()) {
    const bool all = shown_channels.rows.size() == channels.rows.size();
    html += table_html(shown_channels, all ? ""
                                           : fmt::format("The largest of {}, which tables/channels.csv has.",
                                                         report::format_count(std::ssize(channels.rows))));
  }
  html += "</section>\n";
  for (const report::Section& section : sections) html += report::section_html(section);
  html += provenance_html(subject, options);
  const std::string written = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
  html += report::page_end(written, page_data(conditions, sections));

  report::Workplace workplace(place, report::ReportKind::study);
  report::write_tables(workplace.path() / "tables", {&summary, &interventions, &tokens, &channels, &layers});
  report::write_file(workplace.path() / "tables" / "findings.json", report::dump(nlohmann::json(texts)));
  report::write_file(workplace.path() / "tables" / "study.json",
                     report::dump(study_json(subject, conditions, options, texts)));
  report::write_figures(workplace.path() / "figures", sections, colors());
  report::write_file(workplace.path() / "index.html", html);
  return workplace.publish() / "index.html";
}

}  // namespace headroom::study
