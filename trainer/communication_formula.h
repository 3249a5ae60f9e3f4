// How many bytes a rank should send in a training step, from the config alone; the benchmark and the metrics put
// the communicators' own counts beside it.
#pragma once

#include "trainer/config.h"

namespace headroom {

struct CommunicationFormula {
  double data_bytes = 0.0;
  double tensor_bytes = 0.0;
};

// With P the parameters of a tensor rank, D data and T tensor ranks, R tokens and M micro-batches a rank, h the
// hidden size, L layers, s bytes a number, g bytes a gradient (4 with bf16's 2):
//   data:   (D-1)/D P (g + s)                              gradients reduce-scattered, parameters all-gathered
//   tensor: M ((T-1)/T R s (8 L + 4) h + C) + A(P_replicated g)
//           each half block gathers and reduce-scatters [R, h] forward and backward; embedding and head do once
//           each way; with recomputation 2 (L-1) more, of whole blocks 3 (L-1). C: a row's maximum, sum and target
//           logit are all-reduced, chunk of rows by chunk. A(b), an all-reduce of b bytes: (T-1) b up to
//           kSmallAllReduce, else 2 (T-1)/T b.
// and three numbers a step for the loss and the gradient's norm. What TVR adds at the steps where it applies, two f64 a
// parameter tensor, is left out.
// `config` as resolved_for leaves it.
CommunicationFormula communication_formula(const RunConfig& config, const Layout& layout);

}  // namespace headroom
