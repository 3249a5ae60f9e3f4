// Choosing a token by its logits.
#pragma once

#include <cstdint>
#include <span>

namespace headroom::decoder {

// As transformers has them, in this order: logits are divided by `temperature`; only the `top_k` largest stay; of those
// only the fewest whose probabilities, the largest first, reach `top_p` in sum. Of equal logits the lower id comes
// first.
struct Sampling {
  double temperature = 1.0;  // 0: the token with the largest logit
  std::int64_t top_k = 0;    // 0: all
  double top_p = 1.0;        // above 0
  std::uint64_t seed = 1;
};

// The token at `position`. A pure function: the same logits, seed and position give the same token (base/random.h).
// Throws ExitCode::diverged where a logit is not finite.
std::int32_t choose_token(std::span<const float> logits, const Sampling& sampling, std::int64_t position);

}  // namespace headroom::decoder
