// Loss on the held-out split.
#pragma once

#include <optional>

#include "data/batches.h"
#include "model/transformer.h"
#include "parallel/mesh.h"

namespace headroom {

// A loss summed over the data ranks (tensor ranks hold the same one). Collective; the same on every rank.
LossSum sum_over_data(const LossSum& local, Communicator& data);

// Sum of the loss over all windows, shared out over the data ranks. Collective; the same on every rank.
// Perplexity = exp(result.mean()). Nothing when a rank was asked to stop meanwhile (trainer/stop_request.h).
std::optional<LossSum> evaluate_held_out(Transformer& model, const HeldOut& windows, std::int64_t micro_batch,
                                         const Mesh& mesh);

}  // namespace headroom
