// The Python files that load a model of ours in transformers (model/huggingface/export/), embedded in the program.
#pragma once

#include <string_view>

namespace headroom::huggingface {

std::string_view configuration_code();
std::string_view modeling_code();

}  // namespace headroom::huggingface
