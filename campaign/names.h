// Names that are directories, job names and words of scripts alike.
#pragma once

#include <string>

namespace headroom::campaign {

inline constexpr const char* kPlainNames = "Use letters, digits and - _ . + only, a letter or digit first.";

bool is_plain_name(const std::string& name);

// A value as part of a name: "0.002", "rms"; what does not fit into one becomes '_'.
std::string name_part(const std::string& literal);

}  // namespace headroom::campaign
