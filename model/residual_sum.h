// The sum that ends a block, made by the norm that follows it, and shown to whoever looks at block outputs.
#pragma once

#include "model/norm.h"
#include "model/tap.h"

namespace headroom {

// Who looks at the output of which block; tap may be null.
struct BlockOutputView {
  ActivationTap* tap;
  std::int64_t layer;
  std::int64_t first_row;
};

// h += x, y = norm(h); h is the output of the block `view.layer`.
inline void add_and_norm(const Norm& norm, const Tensor& x, const BlockOutputView& view,
                         const NormStatistics& statistics, Tensor h, Tensor y) {
  Magnitudes seen;
  if (view.tap != nullptr) seen = view.tap->magnitudes(Site::block_output, view.layer, view.first_row);
  norm.add_forward(x, seen, statistics, h, y);
  if (view.tap != nullptr && !seen.summary.present()) {
    view.tap->hidden(Site::block_output, view.layer, h, view.first_row);
  }
}

}  // namespace headroom
