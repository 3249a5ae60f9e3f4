#include "analysis/report/page_frame.h"

#include <fmt/format.h>

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

}  // namespace

std::string page_head(const std::string& title, const std::string& lead, const std::string& facts) {
  std::string out = fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n<style>\n",
      escape_markup(title));
  out += style_sheet();
  out += fmt::format(
      "</style>\n</head>\n<body>\n<header><div><span class=\"brand\">Headroom report</span><h1>{}</h1>"
      "<p class=\"lead\">{}</p>{}</div></header>\n",
      escape_markup(title), escape_markup(lead), facts);
  return out;
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

std::string page_end(const std::string& written, const nlohmann::json& data) {
  std::string out = fmt::format(
      "</main>\n<footer>Written {} by {}. Every number is computed from the files named above. Charts: d3 {} (BSD "
      "3-clause, "
      "© 2010–2017 Mike Bostock).</footer>\n<script id=\"data\" type=\"application/json\">",
      escape_markup(written), escape_markup(version_line()), d3_version());
  out += embedded_json(data);
  out += "</script>\n<script>\n";
  out += d3_library();
  out += "</script>\n<script>\n";
  out += page_script();
  out += "</script>\n</body>\n</html>\n";
  return out;
}

}  // namespace headroom::report
