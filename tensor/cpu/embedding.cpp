// Looking up token and position vectors, and the learned scalar on them. The backward scatters: threads own rows of
// the table, by tokens or positions, never rows of the batch, so that every sum has one order and no two threads meet.
#include <algorithm>
#include <string_view>

#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/parallel_for.h"
#include "tensor/cpu/row_blocks.h"
#include "tensor/cpu/table.h"

namespace headroom::cpu {
namespace {

// The table's row of a token id, or -1 where another rank has it.
std::int64_t table_row(std::int32_t id, std::int64_t first_row, std::int64_t rows) {
  const std::int64_t row = std::int64_t{id} - first_row;
  return row >= 0 && row < rows ? row : -1;
}

void embedding(const Tensor& ids, const Tensor& table, std::int64_t first_row, Tensor y) {
  const std::int64_t columns = table.columns();
  const std::int64_t rows = table.rows();
  check_same_dtype("embedding", table, y);
  check_elements("embedding", "y", y, ids.elements() * columns);
  dispatch(table.dtype(), [&]<class T>() {
    const std::int32_t* tokens = ids.data<std::int32_t>();
    const T* from = table.data<T>();
    T* to = y.data<T>();
    parallel_for(ids.elements(), rows_grain(columns), [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const std::int64_t row = table_row(tokens[r], first_row, rows);
        T* out = to + r * columns;
        if (row < 0) {
          std::fill(out, out + columns, T{0});
        } else {
          std::copy_n(from + row * columns, columns, out);
        }
      }
    });
  });
}

void embedding_backward(const Tensor& ids, const TokenGroups& groups, const Tensor& dy, std::int64_t first_row,
                        Tensor dtable) {
  const std::int64_t columns = dtable.columns();
  const std::int64_t rows = dtable.rows();
  const std::int64_t count = ids.elements();
  check_same_dtype("embedding_backward", dy, dtable);
  check_elements("embedding_backward", "dy", dy, count * columns);
  check_elements("embedding_backward", "groups.rows", groups.rows, count);
  dispatch(dy.dtype(), [&]<class T>() {
    const std::int32_t* tokens = ids.data<std::int32_t>();
    const std::int32_t* members = groups.rows.data<std::int32_t>();
    const std::int32_t* starts = groups.starts.data<std::int32_t>();
    const std::int32_t* starts_end = starts + groups.starts.elements() - 1;
    const T* from = dy.data<T>();
    T* to = dtable.data<T>();
    // Frequent tokens have long groups: threads share out the rows, and take the groups that begin in their part.
    parallel_for(count, rows_grain(columns), [=](std::int64_t begin, std::int64_t end) {
      for (const std::int32_t* group = std::lower_bound(starts, starts_end, begin); group < starts_end && *group < end;
           ++group) {
        const std::int64_t row = table_row(tokens[members[*group]], first_row, rows);
        if (row < 0) continue;
        T* out = to + row * columns;
        for (std::int32_t member = group[0]; member < group[1]; ++member) {
          const T* in = from + members[member] * columns;
#pragma omp simd
          for (std::int64_t i = 0; i < columns; ++i) out[i] += in[i];
        }
      }
    });
  });
}

void check_positions(std::string_view op, const Tensor& table, std::int64_t first_token, std::int64_t seq,
                     const Tensor& x) {
  check_same_dtype(op, x, table);
  HEADROOM_CHECK(seq > 0 && first_token >= 0 && table.rows() >= seq && table.columns() == x.columns(),
                 "{}: table {} for {} positions from token {} of {}", op, table.shape().text(), seq, first_token,
                 x.shape().text());
}

void add_positions(const Tensor& table, std::int64_t first_token, std::int64_t seq, Tensor x) {
  check_positions("add_positions", table, first_token, seq, x);
  dispatch(x.dtype(), [&]<class T>() {
    const std::int64_t columns = x.columns();
    const T* from = table.data<T>();
    T* to = x.data<T>();
    parallel_for(x.rows(), rows_grain(columns), [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const T* in = from + (first_token + row) % seq * columns;
        T* out = to + row * columns;
#pragma omp simd
        for (std::int64_t i = 0; i < columns; ++i) out[i] += in[i];
      }
    });
  });
}

void add_positions_backward(const Tensor& dx, std::int64_t first_token, std::int64_t seq, Tensor dtable) {
  check_positions("add_positions_backward", dtable, first_token, seq, dx);
  dispatch(dx.dtype(), [&]<class T>() {
    const std::int64_t columns = dx.columns();
    const std::int64_t rows = dx.rows();
    const T* from = dx.data<T>();
    T* to = dtable.data<T>();
    const std::int64_t repeats = (rows + seq - 1) / seq;
    parallel_for(seq, rows_grain(repeats * columns), [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t position = begin; position < end; ++position) {
        T* out = to + position * columns;
        const std::int64_t first = (position + seq - first_token % seq) % seq;
        for (std::int64_t row = first; row < rows; row += seq) {
          const T* in = from + row * columns;
#pragma omp simd
          for (std::int64_t i = 0; i < columns; ++i) out[i] += in[i];
        }
      }
    });
  });
}

void scale_by(const Tensor& x, const Tensor& s, Tensor y) {
  check_same_dtype("scale_by", x, s, y);
  check_elements("scale_by", "s", s, 1);
  check_elements("scale_by", "y", y, x.elements());
  dispatch(x.dtype(), [&]<class T>() {
    const T* from = x.data<T>();
    const T factor = *s.data<T>();
    T* to = y.data<T>();
    parallel_for(x.elements(), kElementGrain, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) to[i] = factor * from[i];
    });
  });
}

void scale_by_backward(const Tensor& dy, const Tensor& x, const Tensor& s, Tensor dx, Tensor ds) {
  check_same_dtype("scale_by_backward", x, dy, s, dx, ds);
  check_elements("scale_by_backward", "s", s, 1);
  check_elements("scale_by_backward", "dy", dy, x.elements());
  check_elements("scale_by_backward", "dx", dx, x.elements());
  check_elements("scale_by_backward", "ds", ds, 1);
  dispatch(x.dtype(), [&]<class T>() {
    const std::int64_t columns = x.columns();
    const T* xs = x.data<T>();
    const T* dys = dy.data<T>();
    const T factor = *s.data<T>();
    T* dxs = dx.data<T>();
    const auto work = [=](std::int64_t begin, std::int64_t end, double* sum) {
      for (std::int64_t row = begin; row < end; ++row) {
        const T* in = xs + row * columns;
        const T* grad = dys + row * columns;
        T* out = dxs + row * columns;
        T product{0};
#pragma omp simd reduction(+ : product)
        for (std::int64_t i = 0; i < columns; ++i) {
          const T value = grad[i];
          product += value * in[i];
          out[i] = factor * value;
        }
        *sum += static_cast<double>(product);
      }
    };
    const double* sum = sum_over_row_blocks<double>(x.rows(), columns, 1, work);
    *ds.data<T>() = static_cast<T>(static_cast<double>(*ds.data<T>()) + *sum);
  });
}

}  // namespace

void fill_embedding(OpTable& table) {
  table.embedding = embedding;
  table.embedding_backward = embedding_backward;
  table.add_positions = add_positions;
  table.add_positions_backward = add_positions_backward;
  table.scale_by = scale_by;
  table.scale_by_backward = scale_by_backward;
}

}  // namespace headroom::cpu
