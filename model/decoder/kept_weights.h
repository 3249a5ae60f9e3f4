// Weights that stay in memory: for generation, which asks for every layer once a token.
#pragma once

#include <cstdint>
#include <memory>

#include "model/decoder/config.h"
#include "model/decoder/weights.h"

namespace headroom::decoder {

// A source that copies what `source` hands out, the first time it is asked for it, into up to `limit` bytes: layers
// from the first one on, and the head. What stays where it is (WeightSource::stays) is not copied; what finds no room
// is asked for every time.
std::unique_ptr<WeightSource> keep_weights(std::unique_ptr<WeightSource> source, const Config& config,
                                           std::int64_t limit);

}  // namespace headroom::decoder
