// The post-processor of a tokenizer.json: which ids go before and after a text.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "data/tokenizer/json_node.h"

namespace headroom {

struct Surroundings {
  std::vector<std::int32_t> before;
  std::vector<std::int32_t> after;
  bool said = false;  // by a processor that can put ids; ByteLevel cannot
};

// TemplateProcessing, RobertaProcessing, BertProcessing, ByteLevel (which puts nothing) and Sequence of them; what
// they do to pairs of texts is not read. `has_id` says whether an id is a token. Throws ExitCode::bad_data naming the
// key for any other, and for ids and names that are none.
Surroundings read_post_processor(const JsonNode& node, const std::function<bool(std::int32_t)>& has_id);

}  // namespace headroom
