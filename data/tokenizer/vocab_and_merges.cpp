#include "data/tokenizer/vocab_and_merges.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "base/json_file.h"
#include "data/tokenizer/json_node.h"
#include "data/utf8.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kEndOfText = "<|endoftext|>";
constexpr std::int32_t kLast = 0x7FFFFFFF;

json merges_of(const fs::path& file) {
  const std::string text = read_file(file);
  const auto fail = [&](std::size_t line, const std::string& what) {
    throw Error(ExitCode::bad_data, fmt::format("{}: line {}: {}", file.string(), line, what),
                "Download it again: it is damaged or no merges.txt.");
  };
  json merges = json::array();
  std::size_t line = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    ++line;
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view content = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    if (content.ends_with('\r')) content.remove_suffix(1);
    if (content.starts_with("#version") || content.empty()) continue;
    if (valid_utf8_prefix(content) != content.size()) fail(line, "no UTF-8");
    if (std::count(content.begin(), content.end(), ' ') != 1) fail(line, "no two tokens with a blank between them");
    merges.push_back(std::string(content));
  }
  return merges;
}

// Tokens of the vocabulary first, then the others by their ids, those without one last: as the library would number
// them.
json added_tokens_of(const json& tokens, const Companions& companions) {
  const auto in_vocabulary = [&](const NamedToken& token) { return tokens.find(token.content); };
  const auto order = [&](const NamedToken& token) {
    const auto found = in_vocabulary(token);
    return found != tokens.end() && found->is_number_unsigned() ? found->get<std::uint64_t>()
                                                                : static_cast<std::uint64_t>(token.id.value_or(kLast));
  };
  std::vector<NamedToken> named = companions.tokens;
  std::stable_sort(named.begin(), named.end(),
                   [&](const NamedToken& a, const NamedToken& b) { return order(a) < order(b); });
  json added = json::array();
  std::uint64_t next = tokens.size();
  for (const NamedToken& token : named) {
    const auto found = in_vocabulary(token);
    json id = next;
    if (token.id) id = static_cast<std::uint32_t>(*token.id);
    if (found != tokens.end()) {
      id = *found;
    } else {
      ++next;
    }
    added.push_back({{"id", id},
                     {"content", token.content},
                     {"single_word", token.single_word},
                     {"lstrip", token.lstrip},
                     {"rstrip", token.rstrip},
                     {"normalized", token.normalized},
                     {"special", true}});
  }
  return added;
}

}  // namespace

json tokenizer_json_of(const fs::path& vocab, const fs::path& merges, Companions& companions) {
  const json tokens = read_json(vocab);
  if (!tokens.is_object()) JsonNode(tokens, vocab).fail("expected an object of tokens and their ids");
  if (!companions.says_bos && !companions.bos_id && tokens.contains(kEndOfText)) {
    companions.bos = kEndOfText;
    companions.says_bos = true;
    NamedToken token;
    token.content = kEndOfText;
    companions.tokens.push_back(token);
  }
  const json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", companions.add_prefix_space}, {"trim_offsets", true}};
  json model = {{"type", "BPE"}, {"vocab", tokens}, {"merges", merges_of(merges)}};
  if (companions.unk && tokens.contains(*companions.unk)) model["unk_token"] = *companions.unk;
  return {{"version", "1.0"},
          {"added_tokens", added_tokens_of(tokens, companions)},
          {"pre_tokenizer", byte_level},
          {"decoder", byte_level},
          {"model", std::move(model)}};
}

}  // namespace headroom
