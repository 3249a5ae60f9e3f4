// The plain streaming operations. All are bound by memory; of N = R C elements of b bytes they move
//   add 3 N b    copy 2 N b    zero N b    add_bias 2 N b    bias_backward N b    scale_by 2 N b
//   scale_by_backward 3 N b
// and calculate one or two flops an element. Loads beyond an end read the last element again instead of branching, so
// that a thread has all of them on their way before it uses the first. Sums over rows (bias_backward) or everything
// (scale_by_backward) add partial sums of under 1 % of that.
#include "tensor/cuda/dispatch.h"
#include "tensor/cuda/map.h"
#include "tensor/cuda/partial_sums.h"
#include "tensor/cuda/table.h"

namespace headroom::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kResident = 1024;  // threads a multiprocessor that launch bounds leave registers for
constexpr int kBlocks = kResident / kThreads;

struct Plus {
  __device__ float operator()(float a, float b) const { return a + b; }
};

template <class T>
struct ScaleBy {
  const T* s;
  struct Times {
    float s;
    __device__ float operator()(float value) const { return s * value; }
  };
  __device__ Times operator()() const { return {static_cast<float>(*s)}; }
};

void add(const Tensor& x, Tensor y) {
  expect("add", "y", y, x.dtype(), x.elements());
  dispatch("add", x.dtype(),
           [&]<class T>() { map("add", Plain<Plus>{}, x.elements(), y.address<T>(), x.address<T>(), y.address<T>()); });
}

void copy(const Tensor& x, Tensor y) {
  expect("copy", "y", y, x.dtype(), x.elements());
  if (x.elements() == 0) return;
  check(cudaMemcpyAsync(y.raw(), x.raw(), static_cast<std::size_t>(x.bytes()), cudaMemcpyDeviceToDevice, stream()),
        "copy");
}

void zero(Tensor y) {
  if (y.elements() == 0) return;
  check(cudaMemsetAsync(y.raw(), 0, static_cast<std::size_t>(y.bytes()), stream()), "zero");
}

// ---- a row vector for all rows: a block has a strip of 32 chunks, a warp every eighth of its rows ----------------

constexpr int kWarps = kThreads / kWarp;
constexpr int kRowsHeld = 4;  // rows a warp has on their way

template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads, kBlocks)
    add_bias_kernel(const T* bias, std::int64_t rows, std::int64_t columns, T* x) {
  const std::int64_t column = (std::int64_t{blockIdx.x} * kWarp + threadIdx.x % kWarp) * kWidth;
  if (column >= columns) return;
  float addend[kWidth];
  load_floats(bias + column, addend);
  const std::int64_t step = std::int64_t{gridDim.y} * kWarps;
  for (std::int64_t row = blockIdx.y * kWarps + threadIdx.x / kWarp; row < rows; row += kRowsHeld * step) {
    float values[kRowsHeld][kWidth];
#pragma unroll
    for (int k = 0; k < kRowsHeld; ++k) {
      load_floats(x + min(row + k * step, rows - 1) * columns + column, values[k]);
    }
#pragma unroll
    for (int k = 0; k < kRowsHeld; ++k) {
      if (row + k * step >= rows) continue;
#pragma unroll
      for (int i = 0; i < kWidth; ++i) values[k][i] += addend[i];
      store_rounded(values[k], x + (row + k * step) * columns + column);
    }
  }
}

template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads, kBlocks)
    bias_backward_kernel(const T* dy, std::int64_t rows, std::int64_t columns, float* partials) {
  __shared__ float shared[kWarps][kWarp * kWidth];
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const std::int64_t strip = std::int64_t{blockIdx.x} * (kWarp * kWidth);
  const std::int64_t column = strip + lane * kWidth;
  float sums[kWidth] = {};
  if (column < columns) {
    const std::int64_t step = std::int64_t{gridDim.y} * kWarps;
    for (std::int64_t row = std::int64_t{blockIdx.y} * kWarps + warp; row < rows; row += kRowsHeld * step) {
      float values[kRowsHeld][kWidth];
#pragma unroll
      for (int k = 0; k < kRowsHeld; ++k) {
        load_floats(dy + min(row + k * step, rows - 1) * columns + column, values[k]);
      }
#pragma unroll
      for (int k = 0; k < kRowsHeld; ++k) {
        if (row + k * step >= rows) continue;
#pragma unroll
        for (int i = 0; i < kWidth; ++i) sums[i] += values[k][i];
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kWidth; ++i) shared[warp][lane * kWidth + i] = sums[i];
  __syncthreads();
  for (int own = static_cast<int>(threadIdx.x); own < kWarp * kWidth && strip + own < columns; own += kThreads) {
    float total = shared[0][own];
    for (int other = 1; other < kWarps; ++other) total += shared[other][own];
    partials[blockIdx.y * columns + strip + own] = total;
  }
}

void add_bias(const Tensor& bias, Tensor x) {
  const std::int64_t columns = x.columns();
  expect("add_bias", "bias", bias, x.dtype(), columns);
  if (x.elements() == 0) return;
  dispatch("add_bias", x.dtype(), [&]<class T>() {
    dispatch_width<T>(aligned(bias.raw()) && aligned_rows<T>(x.raw(), columns), [&]<int kWidth>() {
      const std::int64_t strips = pieces(columns, kWarp * kWidth);
      const std::int64_t filling = std::max<std::int64_t>(1, device_facts().multiprocessors * kBlocks / strips);
      const Grid grid{dim3(extent(strips), extent(std::min(pieces(x.rows(), kWarps * kRowsHeld), filling))),
                      dim3(kThreads)};
      launch("add_bias", add_bias_kernel<T, kWidth>, grid, bias.address<T>(), x.rows(), columns, x.address<T>());
    });
  });
}

void bias_backward(const Tensor& dy, Tensor dbias) {
  const std::int64_t rows = dy.rows();
  const std::int64_t columns = dy.columns();
  expect("bias_backward", "dbias", dbias, DType::f32, columns);
  if (dy.elements() == 0) return;
  dispatch("bias_backward", dy.dtype(), [&]<class T>() {
    dispatch_width<T>(aligned_rows<T>(dy.raw(), columns), [&]<int kWidth>() {
      const std::int64_t strips = pieces(columns, kWarp * kWidth);
      const std::int64_t groups = std::min(pieces(rows, kWarps * kRowsHeld),
                                           std::max<std::int64_t>(1, filling_blocks(kThreads, kResident) / strips));
      Scratch scratch;
      auto* partials = scratch.take<float>(groups * columns);
      launch("bias_backward", bias_backward_kernel<T, kWidth>,
             Grid{dim3(extent(strips), extent(groups)), dim3(kThreads)}, dy.address<T>(), rows, columns, partials);
      add_partial_sums(groups, {{partials, columns, dbias.address<float>()}});
    });
  });
}

// ---- a learned scalar --------------------------------------------------------------------------------------------

void scale_by(const Tensor& x, const Tensor& s, Tensor y) {
  expect("scale_by", "s", s, x.dtype(), 1);
  expect("scale_by", "y", y, x.dtype(), x.elements());
  dispatch("scale_by", x.dtype(), [&]<class T>() {
    map("scale_by", ScaleBy<T>{s.address<T>()}, x.elements(), x.address<T>(), y.address<T>());
  });
}

constexpr int kHeld = 2;

// partials[block] = sum of dy * x over the block's elements; dx = s * dy.
template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads, kBlocks)
    scale_by_backward_kernel(const T* dy, const T* x, const T* s, std::int64_t chunks, T* dx, float* partials) {
  __shared__ double shared[kWarps];
  const auto factor = static_cast<float>(*s);
  const std::int64_t step = std::int64_t{gridDim.x} * kThreads;
  float product = 0.0F;
  for (std::int64_t chunk = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; chunk < chunks; chunk += kHeld * step) {
    float gradients[kHeld][kWidth];
    float values[kHeld][kWidth];
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      const std::int64_t at = min(chunk + k * step, chunks - 1) * kWidth;
      load_floats(dy + at, gradients[k]);
      load_floats(x + at, values[k]);
    }
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      if (chunk + k * step >= chunks) continue;
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        product += gradients[k][i] * values[k][i];
        gradients[k][i] *= factor;
      }
      store_rounded(gradients[k], dx + (chunk + k * step) * kWidth);
    }
  }
  const double total = over_block(static_cast<double>(product), shared, Sum{});
  if (threadIdx.x == 0) partials[blockIdx.x] = static_cast<float>(total);
}

void scale_by_backward(const Tensor& dy, const Tensor& x, const Tensor& s, Tensor dx, Tensor ds) {
  const std::int64_t count = x.elements();
  expect("scale_by_backward", "s", s, x.dtype(), 1);
  expect("scale_by_backward", "dy", dy, x.dtype(), count);
  expect("scale_by_backward", "dx", dx, x.dtype(), count);
  expect("scale_by_backward", "ds", ds, DType::f32, 1);
  dispatch("scale_by_backward", x.dtype(), [&]<class T>() {
    const bool wide = aligned(dy.raw()) && aligned_rows<T>(x.raw(), count) && aligned(dx.raw());
    dispatch_width<T>(wide, [&]<int kWidth>() {
      const std::int64_t chunks = count / kWidth;
      const std::int64_t groups = groups_of(chunks, kThreads * kHeld, kThreads, kResident);
      Scratch scratch;
      auto* partials = scratch.take<float>(groups);
      launch("scale_by_backward", scale_by_backward_kernel<T, kWidth>, Grid{dim3(extent(groups)), dim3(kThreads)},
             dy.address<T>(), x.address<T>(), s.address<T>(), chunks, dx.address<T>(), partials);
      add_partial_sums(groups, {{partials, 1, ds.address<float>()}});
    });
  });
}

}  // namespace

void fill_elementwise(OpTable& table) {
  table.add = add;
  table.copy = copy;
  table.zero = zero;
  table.add_bias = add_bias;
  table.bias_backward = bias_backward;
  table.scale_by = scale_by;
  table.scale_by_backward = scale_by_backward;
}

}  // namespace headroom::cuda
