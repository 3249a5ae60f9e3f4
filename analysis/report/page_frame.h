// What every page of ours has around its contents: style, head, figures' places, data, script.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "analysis/report/figure.h"

namespace headroom::report {

// Up to the header's end; `lead` is text, `facts` HTML.
std::string page_head(const std::string& title, const std::string& lead, const std::string& facts);
// A heading and the places that the script draws the figures into.
std::string section_html(const Section& section);
// From the end of <main> on. `written`: UTC, ISO 8601. `data` as page/report.js reads it.
std::string page_end(const std::string& written, const nlohmann::json& data);

}  // namespace headroom::report
