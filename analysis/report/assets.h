// What a page needs besides its data, embedded in the program when it was built (assets.cmake).
#pragma once

#include <string_view>

namespace headroom::report {

std::string_view style_sheet();
std::string_view page_script();
std::string_view d3_library();
std::string_view d3_version();

}  // namespace headroom::report
