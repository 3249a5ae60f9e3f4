// The three norms' common frame: rows are shared out among threads and read once; what a norm is itself comes as a
// small struct. Per element of b bytes the forward moves 2 b, with the residual sum before it 4 b, the backward 4 b and
// a few percent for partial sums of the parameters' gradients.
//
// A norm's forward is a struct with
//   kBeta                                  whether it may have a beta
//   struct Row                             what it knows of a row
//   Row measure(row, columns, first, pass, sums)
//       pass(visit) calls visit(x) for the thread's numbers of the row, sums(v) adds up v[0] over the row's threads,
//       `first` is true on one of them
//   float result(Row, x, gamma, beta)      beta is 0 where absent
// and its backward one with
//   kSums, kBeta, kAlpha                   sums over a row that it needs; which parameters there are beside gamma
//   struct Row, Row row(row)               what the forward knew
//   void add_to_sums(Row, dy, x, gamma, sums)
//   void prepare(columns, sums, Row&)      from the sums over the row to what the gradient needs
//   float gradient(Row, dy, x, gamma, ParameterShares&, alpha_share&)
//       dx's addend; adds to the shares of the parameters' gradients
#pragma once

#include <algorithm>
#include <type_traits>

#include "tensor/cuda/dispatch.h"
#include "tensor/cuda/launch.h"
#include "tensor/cuda/magnitudes.h"
#include "tensor/cuda/partial_sums.h"
#include "tensor/cuda/rows.h"
#include "tensor/round_up.h"

namespace headroom::cuda {

// How a kernel's threads are laid over rows: a warp has a row (kWarpRows) or a block has one. kResident: threads a
// multiprocessor that registers are kept free for, and that a launch counts on.
template <class Share_, bool kWarpRows_, int kMostThreads_, int kResident_>
struct RowLayout {
  using Share = Share_;
  using Number = typename Share::Number;
  static constexpr bool kWarpRows = kWarpRows_;
  static constexpr int kMostThreads = kMostThreads_;
  static constexpr int kResident = kResident_;
  static constexpr int kBlockRows = kWarpRows ? kMostThreads / kWarp : 1;

  // Of a block, for rows of so many columns.
  static std::int64_t threads(std::int64_t columns) {
    if constexpr (kWarpRows) return kMostThreads;
    const std::int64_t wanted = round_up<std::int64_t>(pieces(columns, Share::kWidth * Share::kHeld), kWarp);
    return std::min<std::int64_t>(wanted, kMostThreads);
  }
  __device__ static Share share(int columns) {
    const int thread = static_cast<int>(threadIdx.x);
    const int chunks = columns / Share::kWidth;
    if constexpr (kWarpRows) return {thread % kWarp, kWarp, chunks};
    return {thread, static_cast<int>(blockDim.x), chunks};
  }
};

// The parameters' gradients, of which a thread makes its share.
struct ParameterShares {
  float gamma = 0.0F;
  float beta = 0.0F;
};

// ---- forward ---------------------------------------------------------------------------------------------------

template <class T>
struct NormInputs {
  const T* x;
  T* h;  // the residual sum, or null
  T* y;
  const T* gamma;
  const T* beta;  // or null
  std::int64_t rows;
  int columns;
  unsigned long long* summary;  // or null
  std::int64_t first_row;
};

struct NoMagnitudes {};

// The residual sum and its magnitudes take registers, but twice the bytes a thread are on their way.
template <class Layout, bool kAdd>
inline constexpr int kResident = kAdd ? std::min(Layout::kResident, 512) : Layout::kResident;

// The norm of a row: `held` are the thread's pieces of `source`, loaded if they are the whole row.
template <class Layout, class Norm, class T, class Piece, class Sums>
__device__ void norm_row(const Norm& norm, const NormInputs<T>& in, const typename Layout::Share& share,
                         std::int64_t row, const T* source, Piece (&held)[Layout::Share::kHeld], Sums& sums) {
  using Share = typename Layout::Share;
  const auto pass = [&](const auto& visit) {
    share.runs([&](int first) {
      if constexpr (!Share::kWhole) share.load(source, first, held);
      share.each(first, [&](int k, int) {
#pragma unroll
        for (int i = 0; i < Share::kWidth; ++i) visit(held[k].get(i));
      });
    });
  };
  const auto known = norm.measure(row, in.columns, share.lane == 0, pass, sums);

  // Parameters come a part at a time, so that they do not take the registers of whole rows.
  constexpr int kPart = 2;
  const RowShare<T, Share::kWidth, kPart, false> part{share.lane, share.lanes, share.chunks};
  T* const y = in.y + row * in.columns;
  share.runs([&](int run) {
    if constexpr (!Share::kWhole) share.load(source, run, held);
#pragma unroll
    for (int skipped = 0; skipped < Share::kHeld; skipped += kPart) {
      const int first = run + skipped * share.lanes;
      Piece gammas[kPart];
      Piece betas[kPart] = {};
      part.load(in.gamma, first, gammas);
      if (Norm::kBeta && in.beta != nullptr) part.load(in.beta, first, betas);
      part.each(first, [&](int k, int chunk) {
        Piece& piece = held[skipped + k];
#pragma unroll
        for (int i = 0; i < Share::kWidth; ++i) {
          const float beta = Norm::kBeta ? betas[k].get(i) : 0.0F;
          piece.set(i, static_cast<T>(norm.result(known, piece.get(i), gammas[k].get(i), beta)));
        }
        Share::store(y, chunk, piece);
      });
    }
  });
}

template <class Norm, class Layout, bool kAdd>
__global__ void __launch_bounds__(Layout::kMostThreads, kResident<Layout, kAdd> / Layout::kMostThreads)
    norm_kernel(Norm norm, NormInputs<typename Layout::Number> in) {
  using T = typename Layout::Number;
  using Share = typename Layout::Share;
  using Piece = typename Share::Piece;
  using Sums = RowSums<1, Layout::kWarpRows>;
  __shared__ std::conditional_t<kAdd, BlockMagnitudes, NoMagnitudes> seen;
  __shared__ typename Sums::Shared sums_memory;
  const Share share = Layout::share(in.columns);
  Sums sums(sums_memory);
  OwnMaximum largest;
  if constexpr (kAdd) seen.begin();
  constexpr int kAddPart = 4;  // chunks of h and of x on their way
  const RowShare<T, Share::kWidth, kAddPart, false> part{share.lane, share.lanes, share.chunks};

  const int warp = Layout::kWarpRows ? static_cast<int>(threadIdx.x) / kWarp : 0;
  const std::int64_t step = std::int64_t{gridDim.x} * Layout::kBlockRows;
  for (std::int64_t row = std::int64_t{blockIdx.x} * Layout::kBlockRows + warp; row < in.rows; row += step) {
    const std::int64_t start = row * in.columns;
    Piece held[Share::kHeld];
    if constexpr (kAdd) {
      T* const h = in.h + start;
      const std::int64_t place = in.first_row * in.columns + start;
      share.runs([&](int run) {
#pragma unroll
        for (int skipped = 0; skipped < Share::kHeld; skipped += kAddPart) {
          const int first = run + skipped * share.lanes;
          Piece sums_of_part[kAddPart];
          Piece addends[kAddPart];
          part.load(h, first, sums_of_part);
          part.load(in.x + start, first, addends);
          part.each(first, [&](int k, int chunk) {
            Piece& sum = held[skipped + k];
            sum = sums_of_part[k];
#pragma unroll
            for (int i = 0; i < Share::kWidth; ++i) sum.set(i, static_cast<T>(sum.get(i) + addends[k].get(i)));
            if (in.summary != nullptr) {
              seen.template see<Share::kWidth>([&](int i) { return sum.get(i); }, place + chunk * Share::kWidth,
                                               largest);
            }
            Share::store(h, chunk, sum);
          });
        }
      });
      norm_row<Layout>(norm, in, share, row, static_cast<const T*>(h), held, sums);
    } else {
      if constexpr (Share::kWhole) share.load(in.x + start, share.lane, held);
      norm_row<Layout>(norm, in, share, row, in.x + start, held, sums);
    }
  }
  if constexpr (kAdd) {
    if (in.summary != nullptr) seen.template finish<T>(largest, in.summary);
  }
}

// With a layout for rows of so many columns.
template <class T, class Run>
void with_forward_layout(std::int64_t columns, bool wide, const Run& run) {
  constexpr int kPack = Pack<T>::kSize;
  const std::int64_t chunks = columns / kPack;
  if (!wide) return run.template operator()<RowLayout<RowShare<T, 1, 4, false>, false, 256, 768>>();
  if (chunks > 4 * 256) return run.template operator()<RowLayout<RowShare<T, kPack, 4, false>, false, 256, 768>>();
  if (chunks <= 4 * kWarp) return run.template operator()<RowLayout<RowShare<T, kPack, 4, true>, true, 256, 768>>();
  if constexpr (sizeof(T) == 2) {
    if (chunks <= 8 * kWarp) return run.template operator()<RowLayout<RowShare<T, kPack, 8, true>, true, 256, 512>>();
  }
  run.template operator()<RowLayout<RowShare<T, kPack, 4, true>, false, 256, 768>>();
}

inline int columns_as_int(std::string_view op, std::int64_t columns) {
  HEADROOM_CHECK(columns > 0 && columns <= 0x7fffffff, "{}: {} columns", op, columns);
  return static_cast<int>(columns);
}

// y = norm(x), or h += x, y = norm(h) where h is present.
template <class T, class Norm>
void run_norm(const char* op, const Norm& norm, const Tensor& x, const Magnitudes& seen, const Tensor& gamma,
              const Tensor& beta, const Tensor& h, const Tensor& y) {
  const std::int64_t columns = x.columns();
  const DType dtype = dtype_of<T>();
  expect(op, "gamma", gamma, dtype, columns);
  if (beta.present()) expect(op, "beta", beta, dtype, columns);
  if (h.present()) expect(op, "h", h, dtype, x.elements());
  expect(op, "y", y, dtype, x.elements());
  if (x.elements() == 0) return;
  const NormInputs<T> in{x.address<T>(),
                         address_or_null<T>(h),
                         y.address<T>(),
                         gamma.address<T>(),
                         address_or_null<T>(beta),
                         x.rows(),
                         columns_as_int(op, columns),
                         summary_address<T>(op, seen, x.rows(), columns),
                         seen.first_row};
  const bool wide = aligned_rows<T>(x.raw(), columns) && aligned(h.raw()) && aligned(y.raw()) && aligned(gamma.raw()) &&
                    aligned(beta.raw());
  with_forward_layout<T>(columns, wide, [&]<class Layout>() {
    const std::int64_t threads = Layout::threads(columns);
    // Blocks that see magnitudes have a summary each to add up, so they stay for many rows.
    const std::int64_t filling = device_facts().multiprocessors * (kResident<Layout, true> / threads);
    const std::int64_t blocks = pieces(in.rows, Layout::kBlockRows);
    const Grid grid{dim3(extent(h.present() ? std::min(blocks, filling) : blocks)), dim3(extent(threads))};
    launch(op, h.present() ? norm_kernel<Norm, Layout, true> : norm_kernel<Norm, Layout, false>, grid, norm, in);
  });
}

// ---- backward --------------------------------------------------------------------------------------------------

template <class T>
struct NormGradients {
  const T* dy;
  const T* x;
  const T* gamma;
  T* dx;
  std::int64_t rows;
  int columns;
  // Partial sums, a row a block.
  float* dgamma;
  float* dbeta;
  float* dalpha;
};

// A block has every gridDim.x-th row. It sums up the parameters' gradients in registers, or in its row of the partial
// sums where a row of registers does not hold the columns.
template <class Norm, class Layout>
__global__ void __launch_bounds__(Layout::kMostThreads, Layout::kResident / Layout::kMostThreads)
    norm_backward_kernel(Norm norm, NormGradients<typename Layout::Number> in) {
  using T = typename Layout::Number;
  using Share = typename Layout::Share;
  using Piece = typename Share::Piece;
  constexpr int kSums = Norm::kSums > 0 ? Norm::kSums : 1;
  constexpr int kHeld = Share::kHeld;
  using Sums = RowSums<kSums, false>;
  __shared__ typename Sums::Shared sums_memory;
  Sums sums_over_row(sums_memory);
  const Share share = Layout::share(in.columns);
  float* const dgamma = in.dgamma + std::int64_t{blockIdx.x} * in.columns;
  float* const dbeta = Norm::kBeta ? in.dbeta + std::int64_t{blockIdx.x} * in.columns : nullptr;

  ParameterShares shares[kHeld][Share::kWidth];
  float alpha_share = 0.0F;
  Piece gammas[kHeld];
  if constexpr (Share::kWhole) share.load(in.gamma, share.lane, gammas);
  for (std::int64_t row = blockIdx.x; row < in.rows; row += gridDim.x) {
    const std::int64_t start = row * in.columns;
    Piece dys[kHeld];
    Piece xs[kHeld];
    Piece dxs[kHeld];
    const auto load = [&](int first) {
      share.load(in.dy + start, first, dys);
      share.load(in.x + start, first, xs);
      share.load(in.dx + start, first, dxs);
      if constexpr (!Share::kWhole) share.load(in.gamma, first, gammas);
    };
    if constexpr (Share::kWhole) load(share.lane);
    typename Norm::Row known = norm.row(row);
    float sums[kSums] = {};
    if constexpr (Norm::kSums > 0) {
      share.runs([&](int first) {
        if constexpr (!Share::kWhole) load(first);
        share.each(first, [&](int k, int) {
#pragma unroll
          for (int i = 0; i < Share::kWidth; ++i) {
            norm.add_to_sums(known, dys[k].get(i), xs[k].get(i), gammas[k].get(i), sums);
          }
        });
      });
      sums_over_row(sums);
    }
    norm.prepare(in.columns, sums, known);
    share.runs([&](int first) {
      if constexpr (!Share::kWhole) load(first);
      share.each(first, [&](int k, int chunk) {
#pragma unroll
        for (int i = 0; i < Share::kWidth; ++i) {
          const int column = chunk * Share::kWidth + i;
          if (!Share::kWhole && row != blockIdx.x) shares[k][i] = {dgamma[column], Norm::kBeta ? dbeta[column] : 0.0F};
          const float addend =
              norm.gradient(known, dys[k].get(i), xs[k].get(i), gammas[k].get(i), shares[k][i], alpha_share);
          dxs[k].set(i, static_cast<T>(dxs[k].get(i) + addend));
          if constexpr (!Share::kWhole) {
            dgamma[column] = shares[k][i].gamma;
            if constexpr (Norm::kBeta) dbeta[column] = shares[k][i].beta;
            shares[k][i] = {};
          }
        }
        Share::store(in.dx + start, chunk, dxs[k]);
      });
    });
  }
  if constexpr (Share::kWhole) {
    share.each(share.lane, [&](int k, int chunk) {
#pragma unroll
      for (int i = 0; i < Share::kWidth; ++i) {
        dgamma[chunk * Share::kWidth + i] = shares[k][i].gamma;
        if constexpr (Norm::kBeta) dbeta[chunk * Share::kWidth + i] = shares[k][i].beta;
      }
    });
  }
  if constexpr (Norm::kAlpha) {
    float alpha_sum[kSums] = {alpha_share};
    sums_over_row(alpha_sum);
    if (threadIdx.x == 0) in.dalpha[blockIdx.x] = alpha_sum[0];
  }
}

template <class T, class Run>
void with_backward_layout(std::int64_t columns, bool wide, const Run& run) {
  constexpr int kPack = Pack<T>::kSize;
  const std::int64_t chunks = columns / kPack;
  if (!wide) {
    run.template operator()<RowLayout<RowShare<T, 1, 2, false>, false, 256, 512>>();
  } else if (chunks <= 256) {
    run.template operator()<RowLayout<RowShare<T, kPack, 1, true>, false, 256, 1024>>();
  } else if (chunks <= 2 * 512) {
    run.template operator()<RowLayout<RowShare<T, kPack, 2, true>, false, 512, 512>>();
  } else {
    run.template operator()<RowLayout<RowShare<T, kPack, 2, false>, false, 256, 512>>();
  }
}

// dx += ..., dgamma += ..., dbeta += ..., dalpha += ...; dbeta and dalpha may be absent.
template <class T, class Norm>
void run_norm_backward(const char* op, const Norm& norm, const Tensor& dy, const Tensor& x, const Tensor& gamma,
                       const Tensor& dx, const Tensor& dgamma, const Tensor& dbeta, const Tensor& dalpha) {
  const std::int64_t columns = x.columns();
  const DType dtype = dtype_of<T>();
  expect(op, "dy", dy, dtype, x.elements());
  expect(op, "gamma", gamma, dtype, columns);
  expect(op, "dx", dx, dtype, x.elements());
  expect(op, "dgamma", dgamma, DType::f32, columns);
  if (dbeta.present()) expect(op, "dbeta", dbeta, DType::f32, columns);
  if (x.elements() == 0) return;
  const bool wide = aligned_rows<T>(x.raw(), columns) && aligned(dy.raw()) && aligned(dx.raw()) && aligned(gamma.raw());
  with_backward_layout<T>(columns, wide, [&]<class Layout>() {
    constexpr std::int64_t kFewestRows = 8;  // a group: its partial sums are 4 bytes beside 8 x 6 bytes of tensors
    const std::int64_t threads = Layout::threads(columns);
    const std::int64_t groups = groups_of(x.rows(), kFewestRows, threads, Layout::kResident);
    Scratch scratch;
    NormGradients<T> in{dy.address<T>(),
                        x.address<T>(),
                        gamma.address<T>(),
                        dx.address<T>(),
                        x.rows(),
                        columns_as_int(op, columns),
                        scratch.take<float>(groups * columns),
                        nullptr,
                        nullptr};
    if constexpr (Norm::kBeta) in.dbeta = scratch.take<float>(groups * columns);
    if constexpr (Norm::kAlpha) in.dalpha = scratch.take<float>(groups);
    launch(op, norm_backward_kernel<Norm, Layout>, Grid{dim3(extent(groups)), dim3(extent(threads))}, norm, in);
    add_partial_sums(groups, {{in.dgamma, columns, dgamma.address<float>()},
                              {in.dbeta, columns, address_or_null<float>(dbeta)},
                              {in.dalpha, 1, address_or_null<float>(dalpha)}});
  });
}

}  // namespace headroom::cuda
