#include "data/tokenizer/special_ids.h"

#include <fmt/ranges.h>

#include "base/error.h"

namespace headroom {
namespace {

std::optional<std::int32_t> choose(const TextEncoder& encoder, bool said, const std::optional<std::string>& token,
                                   std::optional<std::int32_t> id, std::optional<std::int32_t> own) {
  if (said) return token ? encoder.id_of(*token) : std::nullopt;
  if (id) return encoder.has_piece(*id) ? id : std::nullopt;
  return own;
}

std::vector<std::int32_t> only(const std::optional<std::int32_t>& id, bool put) {
  if (!put || !id) return {};
  return {*id};
}

}  // namespace

SpecialIds special_ids(const TextEncoder& encoder, const Conventions& own, const Companions& companions) {
  SpecialIds special;
  special.bos = choose(encoder, companions.says_bos, companions.bos, companions.bos_id, own.bos);
  special.eos = choose(encoder, companions.says_eos, companions.eos, companions.eos_id, own.eos);
  if (own.before && own.after) {
    special.before = *own.before;
    special.after = *own.after;
  } else {
    special.before = only(special.bos, companions.add_bos.value_or(own.begins_with_bos));
    special.after = only(special.eos, companions.add_eos.value_or(false));
  }
  return special;
}

std::string in_words(const SpecialIds& special) {
  return fmt::format("bos {} eos {} before {} after {}", special.bos.value_or(-1), special.eos.value_or(-1),
                     fmt::join(special.before, ","), fmt::join(special.after, ","));
}

void refuse_tokens_beyond(const TextEncoder& encoder, const Companions& companions,
                          const std::filesystem::path& model) {
  for (const NamedToken& token : companions.tokens) {
    const auto id = encoder.id_of(token.content);
    if (id && (!token.id || *token.id == *id)) continue;
    throw Error(ExitCode::bad_data,
                fmt::format("{} {} '{}'{}, which the files beside it add", model.string(),
                            id ? fmt::format("has id {} for", *id) : "lacks", token.content,
                            token.id ? fmt::format(" (id {})", *token.id) : ""),
                "Tokens beside a SentencePiece model's are read from a tokenizer.json only.");
  }
}

}  // namespace headroom
