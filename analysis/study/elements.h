// Massive elements of a layer's output, each by itself.
#pragma once

#include <cstdint>
#include <vector>

#include "analysis/study/options.h"

namespace headroom::study {

struct Element {
  std::int32_t sequence;
  std::int32_t position;
  std::int32_t channel;
  float value;
};

// |h| > absolute and |h| > ratio * median |h|, the median over all of h [tokens, channels]. In row-major order.
std::vector<Element> massive_elements(const Tensor& h, std::int32_t sequence, const Options& options);

// Rising, each once.
std::vector<std::int32_t> channels_of(const std::vector<Element>& elements);
std::vector<std::int32_t> positions_of(const std::vector<Element>& elements, std::int32_t sequence);

}  // namespace headroom::study
