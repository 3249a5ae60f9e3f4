// RMS norm of every query and key head inside the fused tensor (as in OLMo-2, but a head at a time). Of N = R (H + 2 K)
// d elements of b bytes (R rows, H query and K key-value heads of d numbers), and 4 R (H + K) for the heads' rstd:
//   qk_norm            2 N b bytes    4 N flops
//   qk_norm_backward   3 N b         10 N
// Bound by memory: 32 + 2 x 8 heads of 64 numbers in bf16, 16384 rows are 201 and 302 MB, 67 and 101 us at 3 TB/s.
//
// A head is a short row: lanes neighbouring threads of a warp have one. A block has all heads of its rows, a thread the
// same chunk of a head throughout, so that it alone adds to its place in the block's sums of the gammas' gradients.
#include <bit>

#include "tensor/cuda/dispatch.h"
#include "tensor/cuda/launch.h"
#include "tensor/cuda/partial_sums.h"
#include "tensor/cuda/rows.h"
#include "tensor/cuda/table.h"
#include "tensor/round_up.h"

namespace headroom::cuda {
namespace {

constexpr int kMostThreads = 512;
constexpr int kRows = 2;
constexpr int kResident = 1024;  // threads a multiprocessor that launch bounds leave registers for

// The fused tensor: heads of d numbers, queries, then keys, then values.
struct Heads {
  std::int64_t rows;
  int queries;
  int normed;  // queries and keys
  int all;
  int head_dim;
  int lanes;  // threads that share a head, a power of two
};

// kWhole: a head is one chunk a lane; else numbers are read one by one, and again where they are needed again.
template <class T, bool kWhole>
using HeadShare = std::conditional_t<kWhole, RowShare<T, Pack<T>::kSize, 1, true>, RowShare<T, 1, 4, false>>;

// One head as one of its lanes sees it. Lanes of heads that do not exist read the first, since they take part in the
// sums over lanes, and write nothing.
template <class T, bool kWhole>
struct Head {
  using Share = HeadShare<T, kWhole>;
  bool exists;
  bool query;
  bool normed;
  std::int64_t start;  // first element of the head
  std::int64_t rstd;   // its index in there
  Share share;

  __device__ Head(const Heads& heads, std::int64_t row, int head)
      : exists(row < heads.rows && head < heads.all),
        query(head < heads.queries),
        normed(head < heads.normed),
        start(exists ? (row * heads.all + head) * heads.head_dim : 0),
        rstd(row * heads.normed + head),
        share{static_cast<int>(threadIdx.x) % heads.lanes, heads.lanes, heads.head_dim / Share::kWidth} {}
};

// A block has kRows rows, two heads a thread at a time, so that enough bytes are on their way.
template <class T, bool kWhole>
__global__ void __launch_bounds__(kMostThreads, kResident / kMostThreads)
    qk_norm_kernel(Heads heads, const T* qkv, const T* gamma_q, const T* gamma_k, float eps, T* out, float* rstd) {
  using Share = HeadShare<T, kWhole>;
  const int groups = static_cast<int>(blockDim.x) / heads.lanes;
  const int group = static_cast<int>(threadIdx.x) / heads.lanes;
  const std::int64_t row = std::int64_t{blockIdx.x} * kRows;
  for (int first = 0; first < heads.all; first += groups) {
    typename Share::Piece held[kRows][Share::kHeld];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const Head<T, kWhole> head(heads, row + r, first + group);
      if constexpr (kWhole) head.share.load(qkv + head.start, head.share.lane, held[r]);
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const Head<T, kWhole> head(heads, row + r, first + group);
      const auto pass = [&](const auto& visit) {
        head.share.runs([&](int run) {
          if constexpr (!kWhole) head.share.load(qkv + head.start, run, held[r]);
          head.share.each(run, [&](int k, int chunk) { visit(chunk, held[r][k]); });
        });
      };
      float squares = 0.0F;
      pass([&](int, const auto& piece) {
#pragma unroll
        for (int i = 0; i < Share::kWidth; ++i) squares += piece.get(i) * piece.get(i);
      });
      squares = over_lanes(squares, heads.lanes);
      if (!head.exists) continue;
      const float scale = 1.0F / sqrtf(squares / static_cast<float>(heads.head_dim) + eps);
      if (head.normed && head.share.lane == 0) rstd[head.rstd] = scale;
      const T* const gamma = head.query ? gamma_q : gamma_k;
      pass([&](int chunk, auto& piece) {
        if (head.normed) {
          const auto weight = Share::load(gamma, chunk);
#pragma unroll
          for (int i = 0; i < Share::kWidth; ++i) {
            piece.set(i, static_cast<T>(piece.get(i) * scale * weight.get(i)));
          }
        }
        Share::store(out + head.start, chunk, piece);
      });
    }
  }
}

// With n = x rstd and g = dy gamma: dx = rstd (g - n mean(g n)), dgamma += dy n. A group of lanes has sums of its own,
// [2, head_dim] of dynamic shared memory, added up over the groups at the end: partials of the queries' gamma
// [gridDim.x, head_dim], and then of the keys'.
template <class T, bool kWhole>
__global__ void __launch_bounds__(kMostThreads, kResident / kMostThreads)
    qk_norm_backward_kernel(Heads heads, const T* dout, const T* qkv, const T* gamma_q, const T* gamma_k,
                            const float* rstd, T* dqkv, float* partials) {
  using Share = HeadShare<T, kWhole>;
  const int groups = static_cast<int>(blockDim.x) / heads.lanes;
  const int group = static_cast<int>(threadIdx.x) / heads.lanes;
  auto* const sums = dynamic_shared<float>();
  for (int i = static_cast<int>(threadIdx.x); i < groups * 2 * heads.head_dim; i += static_cast<int>(blockDim.x)) {
    sums[i] = 0.0F;
  }
  __syncthreads();

  for (std::int64_t row = blockIdx.x; row < heads.rows; row += gridDim.x) {
    for (int first = 0; first < heads.all; first += groups) {
      const Head<T, kWhole> head(heads, row, first + group);
      typename Share::Piece dys[Share::kHeld];
      typename Share::Piece xs[Share::kHeld];
      const auto load = [&](int run) {
        head.share.load(dout + head.start, run, dys);
        head.share.load(qkv + head.start, run, xs);
      };
      if constexpr (kWhole) load(head.share.lane);
      const T* const gamma = head.query ? gamma_q : gamma_k;
      const float scale = head.exists && head.normed ? rstd[head.rstd] : 0.0F;
      const auto pass = [&](const auto& visit) {
        head.share.runs([&](int run) {
          if constexpr (!kWhole) load(run);
          head.share.each(run, [&](int k, int chunk) { visit(chunk, Share::load(gamma, chunk), dys[k], xs[k]); });
        });
      };
      float product = 0.0F;
      pass([&](int, const auto& weight, const auto& dy, const auto& x) {
#pragma unroll
        for (int i = 0; i < Share::kWidth; ++i) product += dy.get(i) * weight.get(i) * x.get(i);
      });
      product = over_lanes(product, heads.lanes);
      if (!head.exists) continue;
      const float along = product * scale * scale * scale / static_cast<float>(heads.head_dim);
      float* const own = sums + (2 * group + (head.query ? 0 : 1)) * heads.head_dim;
      pass([&](int chunk, const auto& weight, auto& dy, const auto& x) {
        if (head.normed) {
          float shares[Share::kWidth];
          load_floats(own + chunk * Share::kWidth, shares);
#pragma unroll
          for (int i = 0; i < Share::kWidth; ++i) {
            const float scaled = dy.get(i) * scale;
            shares[i] += scaled * x.get(i);
            dy.set(i, static_cast<T>(scaled * weight.get(i) - x.get(i) * along));
          }
          store_floats(shares, own + chunk * Share::kWidth);
        }
        Share::store(dqkv + head.start, chunk, dy);
      });
    }
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < 2 * heads.head_dim; i += static_cast<int>(blockDim.x)) {
    float total = 0.0F;
    for (int other = 0; other < groups; ++other) total += sums[other * 2 * heads.head_dim + i];
    const int kind = i / heads.head_dim;
    partials[(std::int64_t{kind} * gridDim.x + blockIdx.x) * heads.head_dim + i % heads.head_dim] = total;
  }
}

// Calls run.template operator()<kWhole>(heads, threads) for a fused tensor; `wide`: all its heads are aligned.
template <class T, class Run>
void with_heads(const AttentionShape& shape, bool wide, const Run& run) {
  constexpr std::int64_t kNarrowThreads = 128;
  Heads heads{shape.rows(),
              static_cast<int>(shape.n_heads),
              static_cast<int>(shape.n_heads + shape.n_kv_heads),
              static_cast<int>(shape.n_heads + 2 * shape.n_kv_heads),
              static_cast<int>(shape.head_dim),
              kWarp};
  const auto lanes = static_cast<int>(std::bit_ceil(static_cast<unsigned>(heads.head_dim / Pack<T>::kSize)));
  if (!wide || lanes > kWarp) return run.template operator()<false>(heads, kNarrowThreads);
  heads.lanes = lanes;
  const std::int64_t rounds = pieces(std::int64_t{heads.all} * lanes, kMostThreads);
  run.template operator()<true>(heads, round_up<std::int64_t>(pieces(heads.all, rounds) * lanes, kWarp));
}

void check_heads(const char* op, const Tensor& qkv, const AttentionShape& shape, const Tensor& gamma_q,
                 const Tensor& gamma_k, const Tensor& rstd) {
  HEADROOM_CHECK(shape.head_dim > 0 && shape.qkv_width() <= 0x7fffffff, "{}: heads of {}, {} in all", op,
                 shape.head_dim, shape.qkv_width());
  expect(op, "qkv", qkv, qkv.dtype(), shape.rows() * shape.qkv_width());
  expect(op, "gamma_q", gamma_q, qkv.dtype(), shape.head_dim);
  expect(op, "gamma_k", gamma_k, qkv.dtype(), shape.head_dim);
  expect(op, "rstd", rstd, DType::f32, shape.rows() * (shape.n_heads + shape.n_kv_heads));
}

void qk_norm(const Tensor& qkv, const AttentionShape& shape, const Tensor& gamma_q, const Tensor& gamma_k, double eps,
             Tensor out, Tensor rstd) {
  check_heads("qk_norm", qkv, shape, gamma_q, gamma_k, rstd);
  expect("qk_norm", "out", out, qkv.dtype(), qkv.elements());
  if (qkv.elements() == 0) return;
  dispatch("qk_norm", qkv.dtype(), [&]<class T>() {
    const bool wide = aligned_rows<T>(qkv.raw(), shape.head_dim) && aligned(out.raw()) && aligned(gamma_q.raw()) &&
                      aligned(gamma_k.raw());
    with_heads<T>(shape, wide, [&]<bool kWhole>(const Heads& heads, std::int64_t threads) {
      launch("qk_norm", qk_norm_kernel<T, kWhole>, Grid{dim3(extent(pieces(heads.rows, kRows))), dim3(extent(threads))},
             heads, qkv.address<T>(), gamma_q.address<T>(), gamma_k.address<T>(), static_cast<float>(eps),
             out.address<T>(), rstd.address<float>());
    });
  });
}

void qk_norm_backward(const Tensor& dout, const Tensor& qkv, const AttentionShape& shape, const Tensor& gamma_q,
                      const Tensor& gamma_k, const Tensor& rstd, Tensor dqkv, Tensor dgamma_q, Tensor dgamma_k) {
  check_heads("qk_norm_backward", qkv, shape, gamma_q, gamma_k, rstd);
  expect("qk_norm_backward", "dout", dout, qkv.dtype(), qkv.elements());
  expect("qk_norm_backward", "dqkv", dqkv, qkv.dtype(), qkv.elements());
  expect("qk_norm_backward", "dgamma_q", dgamma_q, DType::f32, shape.head_dim);
  expect("qk_norm_backward", "dgamma_k", dgamma_k, DType::f32, shape.head_dim);
  if (qkv.elements() == 0) return;
  dispatch("qk_norm_backward", qkv.dtype(), [&]<class T>() {
    const bool wide = aligned_rows<T>(qkv.raw(), shape.head_dim) && aligned(dout.raw()) && aligned(dqkv.raw()) &&
                      aligned(gamma_q.raw()) && aligned(gamma_k.raw());
    with_heads<T>(shape, wide, [&]<bool kWhole>(const Heads& heads, std::int64_t threads) {
      constexpr std::int64_t kFewestRows = 4;
      const std::int64_t groups = groups_of(heads.rows, kFewestRows, threads, kResident);
      Scratch scratch;
      auto* partials = scratch.take<float>(2 * groups * heads.head_dim);
      const auto shared = static_cast<std::size_t>(threads / heads.lanes * 2 * heads.head_dim) * sizeof(float);
      launch("qk_norm_backward", qk_norm_backward_kernel<T, kWhole>,
             Grid{dim3(extent(groups)), dim3(extent(threads)), shared}, heads, dout.address<T>(), qkv.address<T>(),
             gamma_q.address<T>(), gamma_k.address<T>(), rstd.address<float>(), dqkv.address<T>(), partials);
      add_partial_sums(groups, {{partials, heads.head_dim, dgamma_q.address<float>()},
                                {partials + groups * heads.head_dim, heads.head_dim, dgamma_k.address<float>()}});
    });
  });
}

}  // namespace

void fill_qk_norm(OpTable& table) {
  table.qk_norm = qk_norm;
  table.qk_norm_backward = qk_norm_backward;
}

}  // namespace headroom::cuda
