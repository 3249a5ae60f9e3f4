// Sums in f64: of all pieces by group (the gradient's norm, TVR's moments), and of whole tensors.
//
// Each number is read once: 4 N bytes (2 N in bf16), a conversion and one to three f64 operations a number, which an
// H100 makes 1.8e12 of a second: bound by memory. A block leaves the sum of its part; the parts' are added in an order
// that the table, or the tensor's size, sets.
#include "tensor/cuda/memory.h"
#include "tensor/cuda/piece_table.h"
#include "tensor/cuda/table.h"

namespace headroom::cuda {
namespace {

constexpr int kTotalThreads = 1024;
constexpr int kUnroll = 4;  // accesses of a thread under way

// (x - center)^power, power 1 or 2.
struct Term {
  double center;
  int power;
  __device__ double operator()(float x) const {
    const double difference = static_cast<double>(x) - center;
    return power == 1 ? difference : difference * difference;
  }
};

// The sum of the block's terms of `length` numbers, on every thread.
template <class T>
__device__ double block_sum(const T* __restrict__ x, std::int64_t length, const Term& term) {
  __shared__ double shared[kPieceThreads / kWarp];
  double sum = 0.0;
  for_share<Pack<T>::kSize, kUnroll>(length, aligned(x), [&]<int kCount>(std::int64_t i) {
    float numbers[kCount];
    load_floats(x + i, numbers);
#pragma unroll
    for (int n = 0; n < kCount; ++n) sum += term(numbers[n]);
  });
  return over_block(sum, shared, Sum());
}

// `by_state`: the numbers lie at Piece::state, else at Piece::flat.
template <class T>
__global__ void __launch_bounds__(kPieceThreads)
    part_sums_kernel(const T* __restrict__ x, bool by_state, const Piece* __restrict__ table,
                     const double* __restrict__ centers, int power, double* __restrict__ sums) {
  const Piece part = own_part(table);
  const Term term{centers == nullptr ? 0.0 : centers[part.group], power};
  const double sum = block_sum(x + (by_state ? part.state : part.flat), part.length, term);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// A block a group: looks through the whole table for its pieces.
__global__ void __launch_bounds__(kPieceThreads)
    group_sums_kernel(const Piece* __restrict__ table, std::int64_t count, const double* __restrict__ part_sums,
                      double* __restrict__ sums) {
  __shared__ double shared[kPieceThreads / kWarp];
  double sum = 0.0;
#pragma unroll 4
  for (std::int64_t index = threadIdx.x; index < count; index += kPieceThreads) {
    if (table[index].group != blockIdx.x) continue;
#pragma unroll
    for (int part = 0; part < kPartsOfPiece; ++part) sum += part_sums[index * kPartsOfPiece + part];
  }
  sum = over_block(sum, shared, Sum());
  if (threadIdx.x == 0) sums[blockIdx.x] += sum;
}

void piece_sums(const Weights& x, const Tensor& table, const Tensor& centers, int power, Tensor sums) {
  const std::int64_t groups = sums.elements();
  HEADROOM_CHECK(power == 1 || power == 2, "piece_sums to the power of {}", power);
  expect("piece_sums", "sums", sums, DType::f64, groups);
  if (centers.present()) expect("piece_sums", "centers", centers, DType::f64, groups);
  const Piece* const rows = rows_of("piece_sums", table);
  Scratch scratch;
  double* const part_sums = scratch.take<double>(table.rows() * kPartsOfPiece);
  const bool by_state = x.master.present();
  const Tensor& numbers = by_state ? x.master : x.values;
  dispatch("piece_sums", numbers.dtype(), [&]<class T>() {
    launch("piece_sums", part_sums_kernel<T>, part_grid(table), numbers.address<T>(), by_state, rows,
           address_or_null<double>(centers), power, part_sums);
  });
  launch("piece_sums: groups", group_sums_kernel, Grid{extent(groups), kPieceThreads}, rows, table.rows(), part_sums,
         sums.address<double>());
}

template <class T>
__global__ void __launch_bounds__(kPieceThreads)
    tensor_sums_kernel(const T* __restrict__ x, std::int64_t count, Term term, double* __restrict__ sums) {
  const std::int64_t begin = std::int64_t{blockIdx.x} * kPartLength;
  const double sum = block_sum(x + begin, min(kPartLength, count - begin), term);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// to = add * to + factor * the sum of sums
__global__ void __launch_bounds__(kTotalThreads) total_kernel(const double* __restrict__ sums, std::int64_t count,
                                                              double factor, bool add, double* __restrict__ to) {
  __shared__ double shared[kTotalThreads / kWarp];
  double sum = 0.0;
#pragma unroll 4
  for (std::int64_t i = threadIdx.x; i < count; i += kTotalThreads) sum += sums[i];
  sum = factor * over_block(sum, shared, Sum());
  if (threadIdx.x == 0) *to = add ? *to + sum : sum;
}

void sum_to(std::string_view op, const Tensor& x, const Term& term, double factor, bool add, Scratch& scratch,
            double* to) {
  const std::int64_t blocks = pieces(x.elements(), kPartLength);
  double* const sums = scratch.take<double>(blocks);
  dispatch(op, x.dtype(), [&]<class T>() {
    launch("sum", tensor_sums_kernel<T>, Grid{extent(blocks), kPieceThreads}, x.address<T>(), x.elements(), term, sums);
  });
  launch("sum: total", total_kernel, Grid{1, kTotalThreads}, sums, blocks, factor, add, to);
}

void add_sum(const Tensor& x, double factor, Tensor out) {
  expect("add_sum", "out", out, DType::f64, 1);
  Scratch scratch;
  sum_to("add_sum", x, Term{0.0, 1}, factor, true, scratch, out.address<double>());
}

double wait_for_sum(std::string_view op, const Tensor& x, const Term& term) {
  Scratch scratch;
  double* const total = scratch.take<double>(1);
  sum_to(op, x, term, 1.0, false, scratch, total);
  double result = 0.0;
  download(total, &result, sizeof(result));
  return result;
}

double sum(const Tensor& x) {
  return wait_for_sum("sum", x, Term{0.0, 1});
}

double sum_of_squares(const Tensor& x, double center) {
  return wait_for_sum("sum_of_squares", x, Term{center, 2});
}

}  // namespace

void fill_piece_sums(OpTable& table) {
  table.piece_sums = piece_sums;
  table.add_sum = add_sum;
  table.sum = sum;
  table.sum_of_squares = sum_of_squares;
}

}  // namespace headroom::cuda
