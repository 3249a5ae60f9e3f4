// The assembler includes the files' bytes; the compiler never parses them.
#include "analysis/report/assets.h"

#define EMBED(symbol, path)                        \
  asm(".section .rodata\n"                         \
      ".global headroom_asset_" #symbol            \
      "\n"                                         \
      "headroom_asset_" #symbol                    \
      ":\n"                                        \
      ".incbin \"" path                            \
      "\"\n"                                       \
      ".global headroom_asset_" #symbol            \
      "_end\n"                                     \
      "headroom_asset_" #symbol                    \
      "_end:\n"                                    \
      ".byte 0\n"                                  \
      ".previous\n");                              \
  extern "C" const char headroom_asset_##symbol[]; \
  extern "C" const char headroom_asset_##symbol##_end[];

EMBED(style, HEADROOM_PAGE_DIR "/report.css")
EMBED(script, HEADROOM_PAGE_DIR "/report.js")
EMBED(d3, HEADROOM_D3_JS)

namespace headroom::report {
namespace {

std::string_view between(const char* begin, const char* end) {
  return {begin, static_cast<std::size_t>(end - begin)};
}

}  // namespace

std::string_view style_sheet() {
  return between(headroom_asset_style, headroom_asset_style_end);
}
std::string_view page_script() {
  return between(headroom_asset_script, headroom_asset_script_end);
}
std::string_view d3_library() {
  return between(headroom_asset_d3, headroom_asset_d3_end);
}
std::string_view d3_version() {
  return HEADROOM_D3_VERSION;
}

}  // namespace headroom::report
