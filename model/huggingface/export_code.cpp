// The assembler includes the files' bytes; the compiler never parses them.
#include "model/huggingface/export_code.h"

#define EMBED(symbol, path)                       \
  asm(".section .rodata\n"                        \
      ".global headroom_code_" #symbol            \
      "\n"                                        \
      "headroom_code_" #symbol                    \
      ":\n"                                       \
      ".incbin \"" path                           \
      "\"\n"                                      \
      ".global headroom_code_" #symbol            \
      "_end\n"                                    \
      "headroom_code_" #symbol                    \
      "_end:\n"                                   \
      ".byte 0\n"                                 \
      ".previous\n");                             \
  extern "C" const char headroom_code_##symbol[]; \
  extern "C" const char headroom_code_##symbol##_end[];

EMBED(configuration, HEADROOM_EXPORT_DIR "/configuration_headroom.py")
EMBED(modeling, HEADROOM_EXPORT_DIR "/modeling_headroom.py")

namespace headroom::huggingface {
namespace {

std::string_view between(const char* begin, const char* end) {
  return {begin, static_cast<std::size_t>(end - begin)};
}

}  // namespace

std::string_view configuration_code() {
  return between(headroom_code_configuration, headroom_code_configuration_end);
}
std::string_view modeling_code() {
  return between(headroom_code_modeling, headroom_code_modeling_end);
}

}  // namespace headroom::huggingface
