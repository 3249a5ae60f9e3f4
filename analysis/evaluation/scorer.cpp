#include "analysis/evaluation/scorer.h"

#include "base/error.h"

namespace headroom::evaluation {

void check_passages(std::span<const Passage> passages) {
  for (std::size_t i = 0; i < passages.size(); ++i) {
    const Passage& passage = passages[i];
    HEADROOM_CHECK(passage.first >= 1 && passage.first < passage.tokens.size(),
                   "passage {}: scored from token {} on of {}", i, passage.first, passage.tokens.size());
  }
}

}  // namespace headroom::evaluation
