// Looking up token and position vectors, and the gradients of both.
//
// Of R tokens, C numbers of b bytes: embedding reads and writes 2 R C b bytes, add_positions 2 R C b and the table from
// cache. The gradients read R C b, and read and write 8 C bytes a table's row that occurs; a flop a number. Bound by
// memory: 64k tokens of 768 numbers in bf16 0.2 GB, the gradients 0.1 GB and 6 kB a distinct token.
//
// The tokens' gradient takes the rows grouped by token, in segments of a fixed length, so that a frequent token is not
// the work of one block. What lies whole in a segment is added to the table at once; of a token whose rows go on in the
// next segment each segment leaves its part, and a second kernel adds the parts in order.
#include <climits>

#include "tensor/cuda/chunk.h"
#include "tensor/cuda/dispatch.h"
#include "tensor/cuda/launch.h"
#include "tensor/cuda/table.h"
#include "tensor/round_up.h"

namespace headroom::cuda {
namespace {

constexpr int kWarps = 8;  // of blocks in which every warp has a row
constexpr int kRowThreads = kWarps * kWarp;
constexpr int kMostThreads = 256;  // of blocks in which every thread has a chunk of columns
constexpr int kSegment = 64;       // rows
constexpr int kBatch = 8;          // rows read ahead
constexpr std::int32_t kNoToken = INT_MIN;

// Which rows of the whole embedding a table has.
struct TableRows {
  std::int64_t first;
  std::int64_t count;
  __device__ bool has(std::int32_t id) const { return id >= first && id < first + count; }
};

__device__ std::int64_t warp_row() {
  return std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
}
__device__ std::int64_t lane_column(int wide) {
  return static_cast<std::int64_t>(threadIdx.x % kWarp) * wide;
}

template <class T, int kWide>
__global__ void __launch_bounds__(kRowThreads)
    embedding_kernel(const std::int32_t* __restrict__ ids, const T* __restrict__ table, TableRows here,
                     std::int64_t rows, std::int64_t columns, T* __restrict__ y) {
  const std::int64_t row = warp_row();
  if (row >= rows) return;
  const std::int32_t id = ids[row];
  const bool there = here.has(id);
  const T* const from = table + (there ? id - here.first : 0) * columns;
  T* const to = y + row * columns;
#pragma unroll 4
  for (std::int64_t c = lane_column(kWide); c < columns; c += kWarp * kWide) {
    store_chunk(to + c, there ? load_chunk<kWide>(from + c) : Chunk<T, kWide>{});
  }
}

template <class T, int kWide>
__global__ void __launch_bounds__(kRowThreads)
    add_positions_kernel(const T* __restrict__ table, std::int64_t first_token, std::int64_t seq, std::int64_t rows,
                         std::int64_t columns, T* __restrict__ x) {
  const std::int64_t row = warp_row();
  if (row >= rows) return;
  const T* const from = table + (first_token + row) % seq * columns;
  T* const to = x + row * columns;
#pragma unroll 4
  for (std::int64_t c = lane_column(kWide); c < columns; c += kWarp * kWide) {
    float numbers[kWide];
    float position[kWide];
    load_floats(to + c, numbers);
    load_floats(from + c, position);
#pragma unroll
    for (int i = 0; i < kWide; ++i) numbers[i] += position[i];
    store_floats(numbers, to + c);
  }
}

// to[...] += sums
template <int kWide>
__device__ void add_chunk(const float (&sums)[kWide], float* to) {
  float numbers[kWide];
  load_floats(to, numbers);
#pragma unroll
  for (int i = 0; i < kWide; ++i) numbers[i] += sums[i];
  store_floats(numbers, to);
}

// The chunk of columns that is this thread's, in blocks over (rows, columns).
__device__ std::int64_t thread_column(int wide) {
  return (std::int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * wide;
}

// A block a position.
template <class T, int kWide>
__global__ void __launch_bounds__(kMostThreads)
    add_positions_backward_kernel(const T* __restrict__ dx, std::int64_t first_token, std::int64_t seq,
                                  std::int64_t rows, std::int64_t columns, float* __restrict__ dtable) {
  const std::int64_t position = blockIdx.x;
  const std::int64_t column = thread_column(kWide);
  const std::int64_t first = (position + seq - first_token % seq) % seq;
  if (column >= columns || first >= rows) return;
  float sums[kWide] = {};
#pragma unroll 4
  for (std::int64_t row = first; row < rows; row += seq) {
    float numbers[kWide];
    load_floats(dx + row * columns + column, numbers);
#pragma unroll
    for (int i = 0; i < kWide; ++i) sums[i] += numbers[i];
  }
  add_chunk(sums, dtable + position * columns + column);
}

// The parts that a segment leaves: of the token that came in from the segment before, and of the one that begins in it
// and goes on.
enum Part { kCameIn = 0, kGoesOn = 1, kParts = 2 };

__device__ float* part_of(float* parts, std::int64_t segment, Part part, std::int64_t columns) {
  return parts + (segment * kParts + part) * columns;
}

// The rows by token: members[i] is a row of the pass.
struct Members {
  const std::int32_t* members;
  const std::int32_t* ids;
  std::int64_t count;
  __device__ std::int32_t id(std::int64_t place) const {
    return place < 0 || place >= count ? kNoToken : ids[members[place]];
  }
};

template <class T, int kWide>
__global__ void __launch_bounds__(kMostThreads)
    embedding_backward_kernel(Members tokens, const T* __restrict__ dy, TableRows here, std::int64_t columns,
                              float* __restrict__ parts, float* __restrict__ dtable) {
  __shared__ std::int32_t rows[kSegment];
  __shared__ std::int32_t ids[kSegment + 2];  // of the row before, the segment's, and the row behind
  const std::int64_t begin = std::int64_t{blockIdx.x} * kSegment;
  const int count = static_cast<int>(min(std::int64_t{kSegment}, tokens.count - begin));
  for (int i = static_cast<int>(threadIdx.x); i < count + 2; i += static_cast<int>(blockDim.x)) {
    ids[i] = tokens.id(begin + i - 1);
    if (i < count) rows[i] = tokens.members[begin + i];
  }
  __syncthreads();
  const std::int64_t column = thread_column(kWide);
  if (column >= columns) return;

  float sums[kWide] = {};
  bool came_in = ids[0] == ids[1];
  for (int first = 0; first < count; first += kBatch) {
    Chunk<T, kWide> batch[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      // Of rows that do not count the segment's first again: loads depend on nothing.
      const int at = min(first + i, count - 1);
      batch[i] = load_chunk<kWide>(dy + rows[here.has(ids[at + 1]) ? at : 0] * columns + column);
    }
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int at = first + i;
      if (at >= count || !here.has(ids[at + 1])) continue;
#pragma unroll
      for (int n = 0; n < kWide; ++n) sums[n] += static_cast<float>(batch[i].at[n]);
      const std::int32_t id = ids[at + 1];
      const bool goes_on = id == ids[at + 2];
      if (goes_on && at + 1 < count) continue;
      if (came_in && id == ids[1]) {
        store_floats(sums, part_of(parts, blockIdx.x, kCameIn, columns) + column);
      } else if (goes_on) {
        store_floats(sums, part_of(parts, blockIdx.x, kGoesOn, columns) + column);
      } else {
        add_chunk(sums, dtable + (id - here.first) * columns + column);
      }
#pragma unroll
      for (int n = 0; n < kWide; ++n) sums[n] = 0.0F;
    }
  }
}

// A block an inner border of segments. The first border inside a token's rows has the token: its parts are added up.
template <int kWide>
__global__ void __launch_bounds__(kMostThreads)
    add_parts_kernel(Members tokens, float* __restrict__ parts, TableRows here, std::int64_t columns,
                     float* __restrict__ dtable) {
  __shared__ std::int64_t shared[kMostThreads / kWarp];
  const std::int64_t segment = std::int64_t{blockIdx.x} + 1;  // behind the border
  const std::int32_t id = tokens.id(segment * kSegment);
  const bool inside = id == tokens.id(segment * kSegment - 1);
  const bool first_inside = id != tokens.id((segment - 1) * kSegment - 1);
  if (!inside || !first_inside || !here.has(id)) return;  // the whole block

  // How many borders there are inside, this one included: a thread looks at one.
  std::int64_t borders = 0;
  for (bool all = true; all;) {
    const std::int64_t border = (segment + borders + threadIdx.x) * kSegment;
    const std::int64_t found = over_block(std::int64_t{tokens.id(border) == id ? 1 : 0}, shared, Sum());
    all = found == blockDim.x;
    borders += found;
  }
  const std::int64_t column = thread_column(kWide);
  if (column >= columns) return;
  float sums[kWide];
  load_floats(part_of(parts, segment - 1, kGoesOn, columns) + column, sums);
#pragma unroll 4
  for (std::int64_t i = 0; i < borders; ++i) {
    float numbers[kWide];
    load_floats(part_of(parts, segment + i, kCameIn, columns) + column, numbers);
#pragma unroll
    for (int n = 0; n < kWide; ++n) sums[n] += numbers[n];
  }
  add_chunk(sums, dtable + (id - here.first) * columns + column);
}

Grid row_grid(std::int64_t rows) {
  return {extent(pieces(rows, kWarps)), kRowThreads};
}

// Blocks over (rows, columns), a thread a chunk.
Grid column_grid(std::int64_t rows, std::int64_t columns, int wide) {
  const std::int64_t chunks = pieces(columns, wide);
  const std::int64_t threads = std::min<std::int64_t>(round_up(chunks, std::int64_t{kWarp}), kMostThreads);
  return {{extent(rows), extent(pieces(chunks, threads))}, extent(threads)};
}

void embedding(const Tensor& ids, const Tensor& table, std::int64_t first_row, Tensor y) {
  const std::int64_t columns = table.columns();
  const std::int64_t rows = ids.elements();
  expect("embedding", "ids", ids, DType::i32, rows);
  expect("embedding", "y", y, table.dtype(), rows * columns);
  dispatch("embedding", table.dtype(), [&]<class T>() {
    const bool wide = aligned_rows<T>(table.raw(), columns) && aligned(y.raw());
    dispatch_width<T>(wide, [&]<int kWide>() {
      launch("embedding", embedding_kernel<T, kWide>, row_grid(rows), ids.address<std::int32_t>(), table.address<T>(),
             TableRows{first_row, table.rows()}, rows, columns, y.address<T>());
    });
  });
}

void embedding_backward(const Tensor& ids, const TokenGroups& tokens, const Tensor& dy, std::int64_t first_row,
                        Tensor dtable) {
  const std::int64_t columns = dtable.columns();
  const std::int64_t rows = ids.elements();
  expect("embedding_backward", "ids", ids, DType::i32, rows);
  expect("embedding_backward", "tokens.rows", tokens.rows, DType::i32, rows);
  expect("embedding_backward", "dy", dy, dy.dtype(), rows * columns);
  expect("embedding_backward", "dtable", dtable, DType::f32, dtable.elements());
  if (rows == 0 || columns == 0) return;
  const std::int64_t segments = pieces(rows, kSegment);
  const Members members{tokens.rows.address<std::int32_t>(), ids.address<std::int32_t>(), rows};
  const TableRows here{first_row, dtable.rows()};
  Scratch scratch;
  float* const parts = scratch.take<float>(segments * kParts * columns);
  dispatch("embedding_backward", dy.dtype(), [&]<class T>() {
    const bool wide = aligned_rows<T>(dy.raw(), columns) && aligned(dtable.raw());
    dispatch_width<T>(wide, [&]<int kWide>() {
      launch("embedding_backward", embedding_backward_kernel<T, kWide>, column_grid(segments, columns, kWide), members,
             dy.address<T>(), here, columns, parts, dtable.address<float>());
      launch("embedding_backward: parts", add_parts_kernel<kWide>, column_grid(segments - 1, columns, kWide), members,
             parts, here, columns, dtable.address<float>());
    });
  });
}

void check_positions(std::string_view op, const Tensor& table, std::int64_t first_token, std::int64_t seq,
                     const Tensor& x) {
  HEADROOM_CHECK(seq > 0 && first_token >= 0 && table.rows() >= seq && table.columns() == x.columns(),
                 "{}: table {} for {} positions from token {} of {}", op, table.shape().text(), seq, first_token,
                 x.shape().text());
}

void add_positions(const Tensor& table, std::int64_t first_token, std::int64_t seq, Tensor x) {
  check_positions("add_positions", table, first_token, seq, x);
  expect("add_positions", "table", table, x.dtype(), table.elements());
  dispatch("add_positions", x.dtype(), [&]<class T>() {
    const bool wide = aligned_rows<T>(x.raw(), x.columns()) && aligned(table.raw());
    dispatch_width<T>(wide, [&]<int kWide>() {
      launch("add_positions", add_positions_kernel<T, kWide>, row_grid(x.rows()), table.address<T>(), first_token, seq,
             x.rows(), x.columns(), x.address<T>());
    });
  });
}

void add_positions_backward(const Tensor& dx, std::int64_t first_token, std::int64_t seq, Tensor dtable) {
  check_positions("add_positions_backward", dtable, first_token, seq, dx);
  expect("add_positions_backward", "dtable", dtable, DType::f32, dtable.elements());
  dispatch("add_positions_backward", dx.dtype(), [&]<class T>() {
    const bool wide = aligned_rows<T>(dx.raw(), dx.columns()) && aligned(dtable.raw());
    dispatch_width<T>(wide, [&]<int kWide>() {
      launch("add_positions_backward", add_positions_backward_kernel<T, kWide>, column_grid(seq, dx.columns(), kWide),
             dx.address<T>(), first_token, seq, dx.rows(), dx.columns(), dtable.address<float>());
    });
  });
}

}  // namespace

void fill_embedding(OpTable& table) {
  table.embedding = embedding;
  table.embedding_backward = embedding_backward;
  table.add_positions = add_positions;
  table.add_positions_backward = add_positions_backward;
}

}  // namespace headroom::cuda
