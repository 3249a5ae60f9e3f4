// Softmax and cross-entropy in place: whole rows in one kernel where the vocabulary is here, three passes with an
// exchange between them where it is cut over ranks.
//
// Of n rows, V columns of b bytes: cross_entropy reads and writes each logit once, 2 n V b bytes, about 10 flops and
// two exponentials a logit; for 4096 rows of 50257 in bf16 0.82 GB, bound by memory. A block has a row and keeps it in
// shared memory between the sum and the gradient, all of it up to some 57k columns in bf16 where two blocks share an
// H100's multiprocessor; what does not fit is read again, from the second-level cache. row_max reads n V b,
// exp_and_sum and cross_entropy_backward read and write 2 n V b each.
//
// Rows may begin anywhere (an odd vocabulary): single numbers up to a 16-byte border, then packs, then single numbers.
#include <cmath>

#include "tensor/cuda/chunk.h"
#include "tensor/cuda/dispatch.h"
#include "tensor/cuda/launch.h"
#include "tensor/cuda/table.h"

namespace headroom::cuda {
namespace {

constexpr int kThreads = 512;  // a row
constexpr int kWarps = kThreads / kWarp;
constexpr int kBatch = 4;  // packs read ahead
constexpr int kLossThreads = 1024;

// exp, as exact as the dtype can show.
template <class T>
__device__ float exponential(float x) {
  return sizeof(T) == 2 ? __expf(x) : expf(x);
}

__device__ int thread() {
  return static_cast<int>(threadIdx.x);
}

// A row of logits as the block's threads share it out.
template <class T>
struct Line {
  static constexpr int kSize = Pack<T>::kSize;

  T* first;
  int count;
  int head;   // single numbers before the first pack
  int packs;  //
  int tail;   // where the single numbers behind the packs begin

  __device__ Line(T* at, int numbers) : first(at), count(numbers) {
    const auto beyond = static_cast<int>(reinterpret_cast<std::uintptr_t>(at) % sizeof(Pack<T>) / sizeof(T));
    head = min((kSize - beyond) % kSize, count);
    packs = (count - head) / kSize;
    tail = head + packs * kSize;
  }
  __device__ T* pack(int index) const { return first + head + index * kSize; }
  __device__ Pack<T> load(int index) const { return load_pack(pack(index)); }

  // Calls use(i) for each of this thread's single numbers.
  template <class Use>
  __device__ void for_singles(const Use& use) const {
    if (thread() < head) use(thread());
    if (tail + thread() < count) use(tail + thread());
  }
  // Calls use(index, load(index)) for each of this thread's packs in [from, to). Loads run ahead, and depend on
  // nothing: behind the last pack it comes again.
  template <class Load, class Use>
  __device__ void for_packs(int from, int to, const Load& load, const Use& use) const {
    for (int begin = from + thread(); begin < to; begin += kBatch * kThreads) {
      Pack<T> batch[kBatch];
#pragma unroll
      for (int i = 0; i < kBatch; ++i) batch[i] = load(min(begin + i * kThreads, to - 1));
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        if (begin + i * kThreads < to) use(begin + i * kThreads, batch[i]);
      }
    }
  }
  template <class Use>
  __device__ void for_packs(const Use& use) const {
    for_packs(
        0, packs, [&](int index) { return load(index); }, use);
  }
  // x = f(x, its column) for each of this thread's numbers.
  template <class Function>
  __device__ void replace(const Function& function) const {
    for_singles([&](int i) { first[i] = static_cast<T>(function(static_cast<float>(first[i]), i)); });
    for_packs([&](int index, Pack<T> x) {
      const int column = head + index * kSize;
#pragma unroll
      for (int i = 0; i < kSize; ++i) {
        x.at[i] = static_cast<T>(function(static_cast<float>(x.at[i]), column + i));
      }
      store_pack(pack(index), x);
    });
  }
};

template <class T>
__device__ void zero_padding(T* line, int real_columns, int columns) {
  for (int i = real_columns + thread(); i < columns; i += kThreads) line[i] = T(0.0F);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    row_max_kernel(T* __restrict__ logits, int columns, int real_columns, float* __restrict__ row_max) {
  __shared__ float shared[kWarps];
  const Line<T> line(logits + std::int64_t{blockIdx.x} * columns, real_columns);
  float top = -INFINITY;
  line.for_singles([&](int i) { top = fmaxf(top, static_cast<float>(line.first[i])); });
  line.for_packs([&](int, const Pack<T>& x) {
#pragma unroll
    for (int i = 0; i < Pack<T>::kSize; ++i) top = fmaxf(top, static_cast<float>(x.at[i]));
  });
  top = over_block(top, shared, Max());
  if (threadIdx.x == 0) row_max[blockIdx.x] = top;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    exp_and_sum_kernel(const float* __restrict__ row_max, const std::int32_t* __restrict__ targets,
                       std::int64_t first_column, int columns, int real_columns, T* __restrict__ logits,
                       float* __restrict__ sum_exp, float* __restrict__ target_logit) {
  __shared__ float shared[kWarps];
  const std::int64_t row = blockIdx.x;
  const Line<T> line(logits + row * columns, real_columns);
  const float largest = row_max[row];
  if (threadIdx.x == 0) {
    const std::int64_t column = targets[row] - first_column;
    const bool here = targets[row] >= 0 && column >= 0 && column < real_columns;
    target_logit[row] = here ? static_cast<float>(line.first[column]) - largest : 0.0F;
  }
  __syncthreads();  // before the target's logit is replaced
  float sum = 0.0F;
  line.replace([&](float x, int) {
    const float e = exponential<T>(x - largest);
    sum += e;
    return e;
  });
  zero_padding(line.first, real_columns, columns);
  sum = over_block(sum, shared, Sum());
  if (threadIdx.x == 0) sum_exp[row] = sum;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    cross_entropy_backward_kernel(const float* __restrict__ sum_exp, const std::int32_t* __restrict__ targets,
                                  std::int64_t first_column, int columns, int real_columns, double scale,
                                  T* __restrict__ logits) {
  const std::int64_t row = blockIdx.x;
  const Line<T> line(logits + row * columns, real_columns);
  const std::int32_t target = targets[row];
  const std::int64_t target_column = target - first_column;
  const auto factor = static_cast<float>(scale / static_cast<double>(sum_exp[row]));
  const auto taken = static_cast<float>(scale);
  line.replace([&](float x, int column) {
    if (target < 0) return 0.0F;
    return x * factor - (column == target_column ? taken : 0.0F);
  });
}

// A running maximum and the sum of exponentials relative to it.
template <class T>
struct RunningSum {
  float largest = -INFINITY;
  float sum = 0.0F;

  // What exponents are taken relative to; finite while there are only minus infinities.
  __device__ float shift() const { return largest == -INFINITY ? 0.0F : largest; }
  template <int kCount>
  __device__ void add(const float (&x)[kCount]) {
    float top = x[0];
#pragma unroll
    for (int i = 1; i < kCount; ++i) top = fmaxf(top, x[i]);
    if (top > largest) {
      sum *= exponential<T>(largest - top);
      largest = top;
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) sum += exponential<T>(x[i] - shift());
  }
};

// `kept`: how many of a row's packs shared memory has room for.
template <class T>
__global__ void __launch_bounds__(kThreads, 2)
    cross_entropy_kernel(const std::int32_t* __restrict__ targets, int columns, int real_columns, double scale,
                         int kept, T* __restrict__ logits, float* __restrict__ sum_exp,
                         float* __restrict__ target_logit) {
  constexpr int kSize = Pack<T>::kSize;
  __shared__ float shared[kWarps];
  Pack<T>* const row_packs = dynamic_shared<Pack<T>>();
  const std::int64_t row = blockIdx.x;
  const Line<T> line(logits + row * columns, real_columns);
  const std::int32_t target = targets[row];
  const bool here = target >= 0 && target < real_columns;
  const float chosen = here ? static_cast<float>(line.first[target]) : 0.0F;

  RunningSum<T> running;
  line.for_singles([&](int i) {
    const float x[1] = {static_cast<float>(line.first[i])};
    running.add(x);
  });
  line.for_packs([&](int index, const Pack<T>& pack) {
    if (index < kept) row_packs[index] = pack;
    float x[kSize];
#pragma unroll
    for (int i = 0; i < kSize; ++i) x[i] = static_cast<float>(pack.at[i]);
    running.add(x);
  });
  const float largest = over_block(running.largest, shared, Max());
  const float rescale = running.largest == -INFINITY ? 1.0F : expf(running.largest - largest);  // else no numbers
  const float part = running.sum * rescale;
  const float sum = over_block(part, shared, Sum());
  if (threadIdx.x == 0) {
    sum_exp[row] = sum;
    target_logit[row] = here ? chosen - largest : 0.0F;
  }
  if (scale == 0.0) return;

  const auto factor = target < 0 ? 0.0F : static_cast<float>(scale / static_cast<double>(sum));
  const float taken = target < 0 ? 0.0F : static_cast<float>(scale);
  const auto probability = [&](float x) { return factor * exponential<T>(x - largest); };
  line.for_singles([&](int i) {
    const float gradient = probability(static_cast<float>(line.first[i]));
    line.first[i] = static_cast<T>(i == target ? gradient - taken : gradient);
  });
  const auto replace = [&](int index, Pack<T> pack) {
    float gradient[kSize];
#pragma unroll
    for (int i = 0; i < kSize; ++i) gradient[i] = probability(static_cast<float>(pack.at[i]));
    const int place = target - line.head - index * kSize;
    if (place >= 0 && place < kSize) {  // one pack of a row
#pragma unroll
      for (int i = 0; i < kSize; ++i) gradient[i] -= i == place ? taken : 0.0F;
    }
#pragma unroll
    for (int i = 0; i < kSize; ++i) pack.at[i] = static_cast<T>(gradient[i]);
    store_pack(line.pack(index), pack);
  };
  kept = min(kept, line.packs);
  line.for_packs(
      0, kept, [&](int index) { return row_packs[index]; }, replace);
  line.for_packs(
      kept, line.packs, [&](int index) { return line.load(index); }, replace);
  zero_padding(line.first, real_columns, columns);
}

__global__ void __launch_bounds__(kLossThreads)
    add_token_losses_kernel(const float* __restrict__ sum_exp, const float* __restrict__ target_logit,
                            const std::int32_t* __restrict__ targets, std::int64_t rows, double* __restrict__ nll) {
  __shared__ double shared[kLossThreads / kWarp];
  double sum = 0.0;
  for (std::int64_t row = threadIdx.x; row < rows; row += kLossThreads) {
    if (targets[row] >= 0) sum += log(static_cast<double>(sum_exp[row])) - static_cast<double>(target_logit[row]);
  }
  sum = over_block(sum, shared, Sum());
  if (threadIdx.x == 0) *nll += sum;
}

// A logits tensor's extents, after the checks that all operations on one make.
struct Extents {
  std::int64_t rows;
  int columns;
  int real_columns;
  Grid grid() const { return {extent(rows), kThreads}; }
};

Extents extents_of(std::string_view op, const Tensor& logits, std::int64_t real_columns) {
  HEADROOM_CHECK(real_columns >= 0 && real_columns <= logits.columns(), "{}: {} real columns of {}", op, real_columns,
                 logits.columns());
  HEADROOM_CHECK(logits.columns() <= 0x7fffffff - 64 * kThreads, "{}: {} columns", op, logits.columns());
  return {logits.rows(), static_cast<int>(logits.columns()), static_cast<int>(real_columns)};
}

void expect_row_numbers(std::string_view op, std::string_view what, const Tensor& tensor, DType dtype,
                        const Extents& extents) {
  expect(op, what, tensor, dtype, extents.rows);
}

void row_max(const Tensor& logits, std::int64_t real_columns, Tensor row_max) {
  const Extents extents = extents_of("row_max", logits, real_columns);
  expect_row_numbers("row_max", "row_max", row_max, DType::f32, extents);
  dispatch("row_max", logits.dtype(), [&]<class T>() {
    launch("row_max", row_max_kernel<T>, extents.grid(), logits.address<T>(), extents.columns, extents.real_columns,
           row_max.address<float>());
  });
}

void exp_and_sum(const Tensor& row_max, const Tensor& targets, std::int64_t first_column, std::int64_t real_columns,
                 Tensor logits, Tensor sum_exp, Tensor target_logit) {
  const Extents extents = extents_of("exp_and_sum", logits, real_columns);
  expect_row_numbers("exp_and_sum", "row_max", row_max, DType::f32, extents);
  expect_row_numbers("exp_and_sum", "targets", targets, DType::i32, extents);
  expect_row_numbers("exp_and_sum", "sum_exp", sum_exp, DType::f32, extents);
  expect_row_numbers("exp_and_sum", "target_logit", target_logit, DType::f32, extents);
  dispatch("exp_and_sum", logits.dtype(), [&]<class T>() {
    launch("exp_and_sum", exp_and_sum_kernel<T>, extents.grid(), row_max.address<float>(),
           targets.address<std::int32_t>(), first_column, extents.columns, extents.real_columns, logits.address<T>(),
           sum_exp.address<float>(), target_logit.address<float>());
  });
}

void cross_entropy_backward(const Tensor& sum_exp, const Tensor& targets, std::int64_t first_column,
                            std::int64_t real_columns, double scale, Tensor logits) {
  const Extents extents = extents_of("cross_entropy_backward", logits, real_columns);
  expect_row_numbers("cross_entropy_backward", "sum_exp", sum_exp, DType::f32, extents);
  expect_row_numbers("cross_entropy_backward", "targets", targets, DType::i32, extents);
  dispatch("cross_entropy_backward", logits.dtype(), [&]<class T>() {
    launch("cross_entropy_backward", cross_entropy_backward_kernel<T>, extents.grid(), sum_exp.address<float>(),
           targets.address<std::int32_t>(), first_column, extents.columns, extents.real_columns, scale,
           logits.address<T>());
  });
}

void cross_entropy(const Tensor& targets, std::int64_t real_columns, double scale, Tensor logits, Tensor sum_exp,
                   Tensor target_logit) {
  const Extents extents = extents_of("cross_entropy", logits, real_columns);
  expect_row_numbers("cross_entropy", "targets", targets, DType::i32, extents);
  expect_row_numbers("cross_entropy", "sum_exp", sum_exp, DType::f32, extents);
  expect_row_numbers("cross_entropy", "target_logit", target_logit, DType::f32, extents);
  dispatch("cross_entropy", logits.dtype(), [&]<class T>() {
    // Room for two blocks a multiprocessor, each with what a block needs beside the row.
    const std::size_t room = device_facts().shared_bytes_per_block / 2 - (2 << 10);
    const std::size_t kept = std::min<std::size_t>(real_columns / Pack<T>::kSize, room / sizeof(Pack<T>));
    Grid grid = extents.grid();
    grid.shared_bytes = kept * sizeof(Pack<T>);
    launch("cross_entropy", cross_entropy_kernel<T>, grid, targets.address<std::int32_t>(), extents.columns,
           extents.real_columns, scale, static_cast<int>(kept), logits.address<T>(), sum_exp.address<float>(),
           target_logit.address<float>());
  });
}

void add_token_losses(const Tensor& sum_exp, const Tensor& target_logit, const Tensor& targets, Tensor nll) {
  const std::int64_t rows = sum_exp.elements();
  expect("add_token_losses", "sum_exp", sum_exp, DType::f32, rows);
  expect("add_token_losses", "target_logit", target_logit, DType::f32, rows);
  expect("add_token_losses", "targets", targets, DType::i32, rows);
  expect("add_token_losses", "nll", nll, DType::f64, 1);
  launch("add_token_losses", add_token_losses_kernel, Grid{1, kLossThreads}, sum_exp.address<float>(),
         target_logit.address<float>(), targets.address<std::int32_t>(), rows, nll.address<double>());
}

}  // namespace

void fill_cross_entropy(OpTable& table) {
  table.row_max = row_max;
  table.exp_and_sum = exp_and_sum;
  table.cross_entropy_backward = cross_entropy_backward;
  table.cross_entropy = cross_entropy;
  table.add_token_losses = add_token_losses;
}

}  // namespace headroom::cuda
