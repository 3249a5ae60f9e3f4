// The key-value bias: one learned slot more for every query, added to what plain causal attention left (out and its
// log-sum-exp). The formulas stand in tensor/ops.h.
//
// Of R tokens, H heads of d numbers of b bytes: the forward reads queries and out and writes out, 3 R H d b bytes, 5
// flops a number; the backward reads dout, out, queries and their gradients and writes these, 5 R H d b bytes, 8 flops
// a number. Statistics (8 bytes a token and head) and the slot itself are small. Bound by memory: for 16k tokens of 32
// heads of 64 in bf16 0.20 GB and 0.34 GB.
//
// A block has 128 tokens of one head, some lanes a token, each with eight numbers of the head. Its sums for the
// slot's gradients lie in registers, then beside those of the other blocks, then are added up in order.
#include <cmath>

#include "tensor/cuda/chunk.h"
#include "tensor/cuda/dispatch.h"
#include "tensor/cuda/launch.h"
#include "tensor/cuda/partial_sums.h"
#include "tensor/cuda/table.h"

namespace headroom::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kTokens = 128;  // of a block
constexpr int kNumbers = 8;   // of a lane
constexpr int kLargestHead = kNumbers * kWarp;

// What kernels know of the tensors' layout, and which part of it a block has.
struct Layout {
  std::int64_t rows;
  std::int64_t query_width;
  std::int64_t kv_width;
  std::int64_t qkv_width;
  unsigned seq;
  unsigned n_heads;
  unsigned group;  // query heads a key-value head
  int head_dim;
  int lanes;    // of a token: a power of two
  float scale;  // of scores

  __device__ unsigned head() const { return blockIdx.x % n_heads; }
  __device__ unsigned tile() const { return blockIdx.x / n_heads; }
  __device__ unsigned kv_head() const { return head() / group; }
  __device__ int lane() const { return static_cast<int>(threadIdx.x) & (lanes - 1); }
  __device__ int first_token() const { return static_cast<int>(threadIdx.x) / lanes; }
  __device__ int token_step() const { return kThreads / lanes; }
  __device__ std::int64_t row(int token) const { return std::int64_t{tile()} * kTokens + token; }
  // Of a statistic [batch, n_heads, seq].
  __device__ std::int64_t statistic(std::int64_t row) const {
    const auto token = static_cast<unsigned>(row);
    return (std::int64_t{token / seq} * n_heads + head()) * seq + token % seq;
  }
  // Where in a head a lane's numbers [first, first + kWide) of chunk `c` lie.
  template <int kWide>
  __device__ int place(int c) const {
    return (c * lanes + lane()) * kWide;
  }
};

// A lane's numbers of a head; zeros behind the head.
template <int kWide, class T>
__device__ void load_lane(const T* head, const Layout& layout, float (&numbers)[kNumbers]) {
#pragma unroll
  for (int c = 0; c < kNumbers / kWide; ++c) {
    float chunk[kWide] = {};
    const int at = layout.place<kWide>(c);
    if (at < layout.head_dim) load_floats(head + at, chunk);
#pragma unroll
    for (int i = 0; i < kWide; ++i) numbers[c * kWide + i] = chunk[i];
  }
}
template <int kWide, class T>
__device__ void store_lane(const float (&numbers)[kNumbers], const Layout& layout, T* head) {
#pragma unroll
  for (int c = 0; c < kNumbers / kWide; ++c) {
    float chunk[kWide];
#pragma unroll
    for (int i = 0; i < kWide; ++i) chunk[i] = numbers[c * kWide + i];
    const int at = layout.place<kWide>(c);
    if (at < layout.head_dim) store_floats(chunk, head + at);
  }
}

// The sum over a token's lanes, on each.
__device__ float over_token(float value, const Layout& layout) {
  for (int offset = layout.lanes / 2; offset > 0; offset /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, offset);
  }
  return value;
}

template <class T, int kWide>
__global__ void __launch_bounds__(kThreads)
    kv_bias_kernel(const T* __restrict__ qkv, const T* __restrict__ keys, const T* __restrict__ values, Layout layout,
                   T* __restrict__ out, float* __restrict__ lse, float* __restrict__ mass) {
  const std::int64_t slot = std::int64_t{layout.kv_head()} * layout.head_dim;
  const std::int64_t column = std::int64_t{layout.head()} * layout.head_dim;
  float key[kNumbers];
  float value[kNumbers] = {};
  load_lane<kWide>(keys + slot, layout, key);
  if (values != nullptr) load_lane<kWide>(values + slot, layout, value);
  for (int first = 0; first < kTokens; first += layout.token_step()) {
    const int token = first + layout.first_token();
    const std::int64_t row = layout.row(token);
    const bool there = token < kTokens && row < layout.rows;
    const std::int64_t at = there ? layout.statistic(row) : 0;
    float query[kNumbers] = {};
    float numbers[kNumbers] = {};
    float old = 0.0F;
    if (there) {
      load_lane<kWide>(qkv + row * layout.qkv_width + column, layout, query);
      load_lane<kWide>(out + row * layout.query_width + column, layout, numbers);
      old = lse[at];
    }
    float score = 0.0F;
#pragma unroll
    for (int i = 0; i < kNumbers; ++i) score += query[i] * key[i];
    score = layout.scale * over_token(score, layout);
    const float joined = fmaxf(old, score) + log1pf(expf(-fabsf(old - score)));
    const float share = expf(score - joined);
    // e^(L - L') rather than 1 - mass: exact where the slot takes nearly everything.
    const float rest = expf(old - joined);
    __syncwarp();  // every lane has read the log-sum-exp
    if (!there) continue;
#pragma unroll
    for (int i = 0; i < kNumbers; ++i) numbers[i] = rest * numbers[i] + share * value[i];
    store_lane<kWide>(numbers, layout, out + row * layout.query_width + column);
    if (layout.lane() == 0) {
      lse[at] = joined;
      mass[at] = share;
    }
  }
}

// Rows of partial sums, one per block and [groups, kv_width] in all, of the key's gradient and the value's (null if
// there is no value). Of a tile's blocks those of one key-value head's query heads have rows of their own.
struct Partials {
  float* key;
  float* value;
};

// Adds up, over a block, what its tokens gave to the key (sums[0]) and the value (sums[1]).
template <int kWide>
__device__ void add_over_block(float (&sums)[2][kNumbers], const Layout& layout, const Partials& partials) {
  __shared__ float shared[2][kWarps][kLargestHead];
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
#pragma unroll
  for (int part = 0; part < 2; ++part) {
#pragma unroll
    for (int n = 0; n < kNumbers; ++n) {
      float sum = sums[part][n];
      for (int offset = layout.lanes; offset < kWarp; offset *= 2) sum += __shfl_xor_sync(kAllLanes, sum, offset);
      const int at = layout.place<kWide>(n / kWide) + n % kWide;
      if (static_cast<int>(threadIdx.x) % kWarp < layout.lanes) shared[part][warp][at] = sum;
    }
  }
  __syncthreads();
  const std::int64_t group = std::int64_t{layout.tile()} * layout.group + layout.head() % layout.group;
  const std::int64_t first = group * layout.kv_width + std::int64_t{layout.kv_head()} * layout.head_dim;
  for (int i = static_cast<int>(threadIdx.x); i < 2 * layout.head_dim; i += kThreads) {
    const int part = i / layout.head_dim;
    const int at = i % layout.head_dim;
    float* const to = part == 0 ? partials.key : partials.value;
    if (to == nullptr) continue;
    float sum = shared[part][0][at];
#pragma unroll
    for (int other = 1; other < kWarps; ++other) sum += shared[part][other][at];
    to[first + at] = sum;
  }
}

template <class T, int kWide>
__global__ void __launch_bounds__(kThreads)
    kv_bias_backward_kernel(const T* __restrict__ dout, const T* __restrict__ qkv, const T* __restrict__ out,
                            const float* __restrict__ mass, const T* __restrict__ keys, const T* __restrict__ values,
                            Layout layout, T* __restrict__ dqkv, Partials partials) {
  const std::int64_t slot = std::int64_t{layout.kv_head()} * layout.head_dim;
  const std::int64_t column = std::int64_t{layout.head()} * layout.head_dim;
  float key[kNumbers];
  float value[kNumbers] = {};
  float sums[2][kNumbers] = {};
  load_lane<kWide>(keys + slot, layout, key);
  if (values != nullptr) load_lane<kWide>(values + slot, layout, value);
  for (int first = 0; first < kTokens; first += layout.token_step()) {
    const int token = first + layout.first_token();
    const std::int64_t row = layout.row(token);
    const bool there = token < kTokens && row < layout.rows;
    const std::int64_t in_qkv = row * layout.qkv_width + column;
    const std::int64_t in_out = row * layout.query_width + column;
    float gradient[kNumbers] = {};
    float output[kNumbers] = {};
    float query[kNumbers] = {};
    float dquery[kNumbers] = {};
    float share = 0.0F;
    if (there) {
      load_lane<kWide>(dout + in_out, layout, gradient);
      load_lane<kWide>(out + in_out, layout, output);
      load_lane<kWide>(qkv + in_qkv, layout, query);
      load_lane<kWide>(dqkv + in_qkv, layout, dquery);
      share = mass[layout.statistic(row)];
    }
    float difference = 0.0F;
#pragma unroll
    for (int i = 0; i < kNumbers; ++i) difference += gradient[i] * (value[i] - output[i]);
    const float dscore = layout.scale * share * over_token(difference, layout);
#pragma unroll
    for (int i = 0; i < kNumbers; ++i) {
      dquery[i] += dscore * key[i];
      sums[0][i] += dscore * query[i];
      sums[1][i] += share * gradient[i];
    }
    if (there) store_lane<kWide>(dquery, layout, dqkv + in_qkv);
  }
  add_over_block<kWide>(sums, layout, partials);
}

Layout layout_of(std::string_view op, const Tensor& qkv, const Tensor& out, const Tensor& mass, const Tensor& key,
                 const Tensor& value, const AttentionShape& shape) {
  HEADROOM_CHECK(shape.n_kv_heads > 0 && shape.n_heads % shape.n_kv_heads == 0,
                 "{}: {} query heads do not divide into {} key-value heads", op, shape.n_heads, shape.n_kv_heads);
  HEADROOM_CHECK(shape.head_dim > 0 && shape.head_dim <= kLargestHead, "{}: head_dim {}, at most {}", op,
                 shape.head_dim, kLargestHead);
  HEADROOM_CHECK(shape.rows() <= 0xffffffff, "{}: {} tokens", op, shape.rows());
  expect(op, "qkv", qkv, qkv.dtype(), shape.rows() * shape.qkv_width());
  expect(op, "out", out, qkv.dtype(), shape.rows() * shape.query_width());
  expect(op, "mass", mass, DType::f32, shape.rows() * shape.n_heads);
  expect(op, "key", key, qkv.dtype(), shape.kv_width());
  if (value.present()) expect(op, "value", value, qkv.dtype(), shape.kv_width());
  Layout layout{};
  layout.rows = shape.rows();
  layout.query_width = shape.query_width();
  layout.kv_width = shape.kv_width();
  layout.qkv_width = shape.qkv_width();
  layout.seq = static_cast<unsigned>(shape.seq);
  layout.n_heads = static_cast<unsigned>(shape.n_heads);
  layout.group = static_cast<unsigned>(shape.n_heads / shape.n_kv_heads);
  layout.head_dim = static_cast<int>(shape.head_dim);
  layout.lanes = 1;
  while (layout.lanes * kNumbers < layout.head_dim) layout.lanes *= 2;
  layout.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_dim)));
  return layout;
}

// Whether heads may be accessed 16 bytes at a time in all of these tensors, where they are present.
template <class T>
bool aligned_heads(const AttentionShape& shape, std::initializer_list<Tensor> tensors) {
  for (const Tensor& tensor : tensors) {
    if (!aligned(tensor.raw())) return false;
  }
  return shape.head_dim % Pack<T>::kSize == 0;
}

Grid grid_of(const Layout& layout) {
  return {extent(pieces(layout.rows, kTokens) * layout.n_heads), kThreads};
}

void kv_bias(const Tensor& qkv, const Tensor& key, const Tensor& value, const AttentionShape& shape, Tensor out,
             Tensor lse, Tensor mass) {
  const Layout layout = layout_of("kv_bias", qkv, out, mass, key, value, shape);
  expect("kv_bias", "lse", lse, DType::f32, mass.elements());
  dispatch("kv_bias", qkv.dtype(), [&]<class T>() {
    dispatch_width<T>(aligned_heads<T>(shape, {qkv, key, value, out}), [&]<int kWide>() {
      launch("kv_bias", kv_bias_kernel<T, kWide>, grid_of(layout), qkv.address<T>(), key.address<T>(),
             address_or_null<T>(value), layout, out.address<T>(), lse.address<float>(), mass.address<float>());
    });
  });
}

void kv_bias_backward(const Tensor& dout, const Tensor& qkv, const Tensor& out, const Tensor& mass, const Tensor& key,
                      const Tensor& value, const AttentionShape& shape, Tensor dqkv, Tensor dkey, Tensor dvalue) {
  const Layout layout = layout_of("kv_bias_backward", qkv, out, mass, key, value, shape);
  expect("kv_bias_backward", "dout", dout, qkv.dtype(), out.elements());
  expect("kv_bias_backward", "dqkv", dqkv, qkv.dtype(), qkv.elements());
  expect("kv_bias_backward", "dkey", dkey, DType::f32, layout.kv_width);
  HEADROOM_CHECK(value.present() == dvalue.present(), "kv_bias_backward: only one of value and dvalue is given");
  if (dvalue.present()) expect("kv_bias_backward", "dvalue", dvalue, DType::f32, layout.kv_width);
  const std::int64_t groups = pieces(layout.rows, kTokens) * layout.group;
  Scratch scratch;
  Partials partials{};
  partials.key = scratch.take<float>(groups * layout.kv_width);
  if (value.present()) partials.value = scratch.take<float>(groups * layout.kv_width);
  dispatch("kv_bias_backward", qkv.dtype(), [&]<class T>() {
    dispatch_width<T>(aligned_heads<T>(shape, {dout, qkv, out, key, value, dqkv}), [&]<int kWide>() {
      launch("kv_bias_backward", kv_bias_backward_kernel<T, kWide>, grid_of(layout), dout.address<T>(),
             qkv.address<T>(), out.address<T>(), mass.address<float>(), key.address<T>(), address_or_null<T>(value),
             layout, dqkv.address<T>(), partials);
    });
  });
  add_partial_sums(groups, {{partials.key, layout.kv_width, dkey.address<float>()},
                            {partials.value, layout.kv_width, address_or_null<float>(dvalue)}});
}

}  // namespace

void fill_kv_bias(OpTable& table) {
  table.kv_bias = kv_bias;
  table.kv_bias_backward = kv_bias_backward;
}

}  // namespace headroom::cuda
