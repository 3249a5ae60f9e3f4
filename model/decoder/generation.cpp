#include "model/decoder/generation.h"

#include <algorithm>

#include "model/decoder/rope.h"
#include "tensor/ops.h"

namespace headroom::decoder {

Reader::Reader(Decoder& decoder, std::int64_t capacity)
    : decoder_(decoder),
      cache_(decoder.config(), capacity),
      logits_(static_cast<std::size_t>(decoder.config().vocab_size)) {}

std::span<const float> Reader::read(std::span<const std::int32_t> ids) {
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  const std::vector<Rope>& ropes = decoder_.config().ropes;
  if (std::any_of(ropes.begin(), ropes.end(), [&](const Rope& rope) {
        return has_long_angles(rope, std::ssize(ids_)) != has_long_angles(rope, cache_.length());
      })) {
    cache_.clear();
  }
  const Sequence sequence(ids_.begin() + cache_.length(), ids_.end());
  States states = decoder_.embed({&sequence, 1}, cache_.length());
  for (std::int64_t layer = 0; layer < decoder_.config().n_layers; ++layer) decoder_.apply(layer, states, cache_);
  cache_.advance(states.rows());
  const States last({1}, states.width());
  ops::copy(states.all().row_range(states.rows() - 1, 1), last.all());
  decoder_.each_logits(decoder_.finish(last, nullptr), [&](const Decoder::LogitsBlock& block) {
    std::copy_n(block.logits.data<float>(), block.logits.columns(), logits_.data() + block.first_id);
  });
  return logits_;
}

std::vector<std::int32_t> generate(Decoder& decoder, const Sequence& prompt, const GenerationOptions& options,
                                   const std::function<void(std::int32_t token)>& each) {
  const Config& config = decoder.config();
  const auto given = static_cast<std::int64_t>(prompt.size());
  std::int64_t most = given + options.max_tokens;
  if (config.learned_positions) most = std::min(most, std::max(given, config.max_positions));
  Reader reader(decoder, std::max<std::int64_t>(most, 1));
  std::vector<std::int32_t> tokens;
  std::span<const float> logits;
  for (std::int64_t position = given; position < most; ++position) {
    logits = tokens.empty() ? reader.read(prompt) : reader.read({&tokens.back(), 1});
    if (options.choices > 0) logits = logits.first(std::min(logits.size(), static_cast<std::size_t>(options.choices)));
    const std::int32_t token = choose_token(logits, options.sampling, position);
    if (std::find(options.ends.begin(), options.ends.end(), token) != options.ends.end()) break;
    tokens.push_back(token);
    each(token);
  }
  return tokens;
}

}  // namespace headroom::decoder
