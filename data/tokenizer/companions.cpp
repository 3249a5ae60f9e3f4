#include "data/tokenizer/companions.h"

#include <algorithm>
#include <charconv>

#include "base/json_file.h"
#include "data/tokenizer/json_node.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;

class Reader {
 public:
  explicit Reader(const fs::path& directory) : directory_(directory) {}

  Companions read() {
    if (const auto config = open("tokenizer_config.json")) read_tokenizer_config(JsonNode(*config, path_));
    if (const auto map = open("special_tokens_map.json")) read_special_tokens(JsonNode(*map, path_));
    if (const auto added = open("added_tokens.json")) read_added_tokens(JsonNode(*added, path_));
    if (!found_.says_bos || !found_.says_eos) {
      if (const auto config = open("config.json")) read_model_config(JsonNode(*config, path_));
    }
    return std::move(found_);
  }

 private:
  std::optional<nlohmann::json> open(const char* name) {
    path_ = directory_ / name;
    std::error_code unreadable;
    if (!fs::is_regular_file(path_, unreadable)) return std::nullopt;
    nlohmann::json json = read_json(path_);
    found_.files.push_back(path_);
    return json;
  }

  void read_tokenizer_config(const JsonNode& config) {
    // What is listed with its id says most about a token.
    if (const auto added = config.find("added_tokens_decoder")) {
      for (const auto& [key, value] : added->object().items()) {
        const JsonNode node = added->at(key);
        NamedToken token = described(node);
        std::int32_t id = 0;
        const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
        if (error != std::errc() || end != key.data() + key.size() || id < 0) node.fail("its key is no token id");
        token.id = id;
        add(std::move(token));
      }
    }
    read_special_tokens(config);
    if (const auto add_bos = config.find("add_bos_token")) found_.add_bos = add_bos->boolean();
    if (const auto add_eos = config.find("add_eos_token")) found_.add_eos = add_eos->boolean();
    found_.add_prefix_space = config.boolean_or("add_prefix_space", false);
  }

  void read_special_tokens(const JsonNode& node) {
    take(node, "bos_token", found_.bos, found_.says_bos);
    take(node, "eos_token", found_.eos, found_.says_eos);
    bool says_unk = found_.unk.has_value();
    take(node, "unk_token", found_.unk, says_unk);
    for (const char* key : {"sep_token", "pad_token", "cls_token", "mask_token"}) {
      if (const auto token = node.find(key)) add(described(*token));
    }
    if (const auto more = node.find("additional_special_tokens")) {
      for (std::size_t i = 0; i < more->size(); ++i) add(described(more->item(i)));
    }
  }

  void take(const JsonNode& node, const char* key, std::optional<std::string>& token, bool& said) {
    if (!node.object().contains(key)) return;
    const auto given = node.find(key);
    if (given) add(described(*given));
    if (!said && given) token = described(*given).content;
    said = true;
  }

  // {"<|im_end|>": 32000}
  void read_added_tokens(const JsonNode& node) {
    for (const auto& [content, value] : node.object().items()) {
      NamedToken token;
      token.content = content;
      token.id = node.at(content).token_id();
      add(std::move(token));
    }
  }

  void read_model_config(const JsonNode& config) {
    const auto id = [&](const char* key) -> std::optional<std::int32_t> {
      const auto found = config.find(key);
      if (!found || !found->value().is_number_unsigned()) return std::nullopt;  // some models name several
      return found->token_id();
    };
    if (!found_.says_bos) found_.bos_id = id("bos_token_id");
    if (!found_.says_eos) found_.eos_id = id("eos_token_id");
  }

  // "<s>", or an object with its content and flags.
  static NamedToken described(const JsonNode& node) {
    NamedToken token;
    if (node.value().is_string()) {
      token.content = node.string();
      return token;
    }
    token.content = node.at("content").string();
    token.single_word = node.boolean_or("single_word", false);
    token.lstrip = node.boolean_or("lstrip", false);
    token.rstrip = node.boolean_or("rstrip", false);
    token.normalized = node.boolean_or("normalized", false);
    return token;
  }

  // The first that is said of a token counts; a later one may add its id.
  void add(NamedToken token) {
    if (token.content.empty()) return;
    const auto same = std::find_if(found_.tokens.begin(), found_.tokens.end(),
                                   [&](const NamedToken& known) { return known.content == token.content; });
    if (same == found_.tokens.end()) {
      found_.tokens.push_back(std::move(token));
    } else if (!same->id) {
      same->id = token.id;
    }
  }

  fs::path directory_;
  fs::path path_;
  Companions found_;
};

}  // namespace

Companions read_companions(const fs::path& directory) {
  return Reader(directory).read();
}

}  // namespace headroom
