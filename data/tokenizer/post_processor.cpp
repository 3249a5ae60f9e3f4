#include "data/tokenizer/post_processor.h"

namespace headroom {
namespace {

using HasId = std::function<bool(std::int32_t)>;

std::int32_t known_id(const JsonNode& node, const HasId& has_id) {
  const std::int32_t id = node.token_id();
  if (!has_id(id)) node.fail(fmt::format("{} is no token's id", id));
  return id;
}

// What a later processor puts goes around what the earlier ones put.
void put_before(Surroundings& around, const std::vector<std::int32_t>& ids) {
  around.before.insert(around.before.begin(), ids.begin(), ids.end());
}
void put_after(Surroundings& around, const std::vector<std::int32_t>& ids) {
  around.after.insert(around.after.end(), ids.begin(), ids.end());
}

// ["</s>", 2]
std::int32_t id_of_pair(const JsonNode& pair, const HasId& has_id) {
  if (pair.size() != 2) pair.fail("expected a token and its id");
  pair.item(0).string();
  return known_id(pair.item(1), has_id);
}

void add_template(const JsonNode& node, const HasId& has_id, Surroundings& around) {
  node.allow_only({"type", "single", "pair", "special_tokens"});
  const JsonNode tokens = node.at("special_tokens");
  const JsonNode parts = node.at("single");
  std::vector<std::int32_t> before;
  std::vector<std::int32_t> after;
  bool text_seen = false;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const JsonNode part = parts.item(i);
    if (const auto sequence = part.find("Sequence")) {
      if (sequence->at("id").string() != "A") sequence->fail("a single text has no second sequence");
      if (text_seen) sequence->fail("the text is put twice");
      text_seen = true;
      continue;
    }
    const JsonNode name = part.at("SpecialToken").at("id");
    const auto token = tokens.find(name.string());
    if (!token) name.fail(fmt::format("'{}' is none of special_tokens", name.string()));
    const JsonNode ids = token->at("ids");
    for (std::size_t k = 0; k < ids.size(); ++k) (text_seen ? after : before).push_back(known_id(ids.item(k), has_id));
  }
  if (!text_seen) parts.fail("the text itself is missing");
  put_before(around, before);
  put_after(around, after);
  around.said = true;
}

void add(const JsonNode& node, const HasId& has_id, Surroundings& around) {
  const std::string& type = node.type();
  if (type == "Sequence") {
    node.allow_only({"type", "processors"});
    const JsonNode parts = node.at("processors");
    for (std::size_t i = 0; i < parts.size(); ++i) add(parts.item(i), has_id, around);
  } else if (type == "ByteLevel") {
    node.allow_only({"type", "add_prefix_space", "trim_offsets", "use_regex"});
  } else if (type == "TemplateProcessing") {
    add_template(node, has_id, around);
  } else if (type == "RobertaProcessing" || type == "BertProcessing") {
    node.allow_only({"type", "sep", "cls", "trim_offsets", "add_prefix_space"});
    put_before(around, {id_of_pair(node.at("cls"), has_id)});
    put_after(around, {id_of_pair(node.at("sep"), has_id)});
    around.said = true;
  } else {
    node.at("type").fail(fmt::format("the post-processor '{}' is not supported", type),
                         "docs/tokenizers.md says what is.");
  }
}

}  // namespace

Surroundings read_post_processor(const JsonNode& node, const HasId& has_id) {
  Surroundings around;
  add(node, has_id, around);
  return around;
}

}  // namespace headroom
