// Which matrix products a piece of work makes, and how long they alone would take: the floor under a step's time that
// `headroom bench` measures itself against.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "tensor/ops.h"

namespace headroom::cpu {

// One call of the matrix-product library, as it was made.
struct Product {
  DType dtype;
  Transpose transpose_a;
  Transpose transpose_b;
  std::int64_t m;
  std::int64_t n;
  std::int64_t k;
  std::int64_t stride_a;
  std::int64_t stride_b;
  std::int64_t stride_c;
  bool inside_parallel;  // by one thread of a parallel region, or by all threads

  double flops() const { return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k); }
};

// While one is alive, every product of this process is noted. At most one at a time.
class ProductLog {
 public:
  ProductLog();
  ~ProductLog();
  ProductLog(const ProductLog&) = delete;
  ProductLog& operator=(const ProductLog&) = delete;

  // The products noted so far: those of all threads first, then those made inside parallel regions.
  std::vector<Product> products() const;

  // Called by the door to the library (tensor/cpu/gemm.h).
  static void note(const Product& product);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Seconds that the products alone take: made again in order on operands of the same sizes and strides, those from
// parallel regions shared out over the threads. The smallest of `repeats` runs.
double replay_seconds(const std::vector<Product>& products, int repeats);

}  // namespace headroom::cpu
