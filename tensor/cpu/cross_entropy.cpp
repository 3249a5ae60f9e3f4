// Softmax and cross-entropy over a shard of the vocabulary, in place: logits become exponentials, exponentials become
// gradients. Between the passes the ranks of a tensor group exchange one number a row.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/parallel_for.h"
#include "tensor/cpu/table.h"
#include "tensor/cpu/vector_math.h"

namespace headroom::cpu {
namespace {

void check_targets(std::string_view op, const Tensor& targets, const Tensor& logits) {
  HEADROOM_CHECK(targets.elements() == logits.rows(), "{}: {} targets for logits {}", op, targets.elements(),
                 logits.shape().text());
}

void check_real_columns(std::string_view op, std::int64_t real_columns, const Tensor& logits) {
  HEADROOM_CHECK(real_columns >= 0 && real_columns <= logits.columns(), "{}: {} real columns of {}", op, real_columns,
                 logits.columns());
}

void row_max(const Tensor& logits, std::int64_t real_columns, Tensor row_max) {
  check_same_dtype("row_max", logits, row_max);
  check_elements("row_max", "row_max", row_max, logits.rows());
  check_real_columns("row_max", real_columns, logits);
  dispatch(logits.dtype(), [&]<class T>() {
    const std::int64_t columns = logits.columns();
    const T* from = logits.data<T>();
    T* to = row_max.data<T>();
    parallel_for(logits.rows(), rows_grain(columns), [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const T* in = from + row * columns;
        T largest = -std::numeric_limits<T>::infinity();
#pragma omp simd reduction(max : largest)
        for (std::int64_t i = 0; i < real_columns; ++i) largest = in[i] > largest ? in[i] : largest;
        to[row] = largest;
      }
    });
  });
}

void exp_and_sum(const Tensor& row_max, const Tensor& targets, std::int64_t first_column, std::int64_t real_columns,
                 Tensor logits, Tensor sum_exp, Tensor target_logit) {
  check_same_dtype("exp_and_sum", logits, row_max, sum_exp, target_logit);
  check_targets("exp_and_sum", targets, logits);
  check_elements("exp_and_sum", "row_max", row_max, logits.rows());
  check_elements("exp_and_sum", "sum_exp", sum_exp, logits.rows());
  check_elements("exp_and_sum", "target_logit", target_logit, logits.rows());
  check_real_columns("exp_and_sum", real_columns, logits);
  // Columns summed in T before the sum goes on in f64, so that rounding does not grow with the vocabulary.
  constexpr std::int64_t kBlock = 256;
  dispatch(logits.dtype(), [&]<class T>() {
    const std::int64_t columns = logits.columns();
    const T* maxima = row_max.data<T>();
    T* values = logits.data<T>();
    T* sums = sum_exp.data<T>();
    T* chosen = target_logit.data<T>();
    const std::int32_t* ids = targets.data<std::int32_t>();
    parallel_for(logits.rows(), rows_grain(columns), [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        T* line = values + row * columns;
        const T largest = maxima[row];
        const std::int32_t target = ids[row];
        const std::int64_t column = std::int64_t{target} - first_column;
        const bool here = target >= 0 && column >= 0 && column < real_columns;
        chosen[row] = here ? line[column] - largest : T{0};
        double total = 0.0;
        for (std::int64_t block = 0; block < real_columns; block += kBlock) {
          T* part = line + block;
          const std::int64_t count = std::min(kBlock, real_columns - block);
          T sum{0};
#pragma omp simd reduction(+ : sum)
          for (std::int64_t i = 0; i < count; ++i) {
            part[i] = fast_exp(part[i] - largest);
            sum += part[i];
          }
          total += static_cast<double>(sum);
        }
        std::fill(line + real_columns, line + columns, T{0});
        sums[row] = static_cast<T>(total);
      }
    });
  });
}

void cross_entropy_backward(const Tensor& sum_exp, const Tensor& targets, std::int64_t first_column,
                            std::int64_t real_columns, double scale, Tensor logits) {
  check_same_dtype("cross_entropy_backward", logits, sum_exp);
  check_targets("cross_entropy_backward", targets, logits);
  check_elements("cross_entropy_backward", "sum_exp", sum_exp, logits.rows());
  check_real_columns("cross_entropy_backward", real_columns, logits);
  dispatch(logits.dtype(), [&]<class T>() {
    const std::int64_t columns = logits.columns();
    const T* sums = sum_exp.data<T>();
    const std::int32_t* ids = targets.data<std::int32_t>();
    T* values = logits.data<T>();
    parallel_for(logits.rows(), rows_grain(columns), [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        T* line = values + row * columns;
        const std::int32_t target = ids[row];
        if (target < 0) {
          std::fill(line, line + real_columns, T{0});
          continue;
        }
        const T factor = static_cast<T>(scale / static_cast<double>(sums[row]));
#pragma omp simd
        for (std::int64_t i = 0; i < real_columns; ++i) line[i] *= factor;
        const std::int64_t column = std::int64_t{target} - first_column;
        if (column >= 0 && column < real_columns) line[column] -= static_cast<T>(scale);
      }
    });
  });
}

// A few rows at a time, so that they stay in the caches between the three passes.
void cross_entropy(const Tensor& targets, std::int64_t real_columns, double scale, Tensor logits, Tensor sum_exp,
                   Tensor target_logit) {
  constexpr std::int64_t kCached = std::int64_t{4} << 20;  // bytes
  const std::int64_t row_bytes = logits.columns() * static_cast<std::int64_t>(size_of(logits.dtype()));
  const std::int64_t step = std::max<std::int64_t>(8, kCached / std::max<std::int64_t>(row_bytes, 1));
  for (std::int64_t begin = 0; begin < logits.rows(); begin += step) {
    const std::int64_t count = std::min(step, logits.rows() - begin);
    const Tensor rows = logits.row_range(begin, count);
    const Tensor sums = sum_exp.flat_range(begin, count);
    const Tensor own_targets = targets.flat_range(begin, count);
    const Tensor chosen = target_logit.flat_range(begin, count);
    row_max(rows, real_columns, sums);  // read before exp_and_sum overwrites it, row by row
    exp_and_sum(sums, own_targets, 0, real_columns, rows, sums, chosen);
    if (scale != 0.0) cross_entropy_backward(sums, own_targets, 0, real_columns, scale, rows);
  }
}

void add_token_losses(const Tensor& sum_exp, const Tensor& target_logit, const Tensor& targets, Tensor nll) {
  check_same_dtype("add_token_losses", sum_exp, target_logit);
  check_elements("add_token_losses", "sum_exp", sum_exp, targets.elements());
  check_elements("add_token_losses", "target_logit", target_logit, targets.elements());
  check_elements("add_token_losses", "nll", nll, 1);
  dispatch(sum_exp.dtype(), [&]<class T>() {
    const std::int32_t* ids = targets.data<std::int32_t>();
    double sum = 0.0;
    for (std::int64_t row = 0; row < targets.elements(); ++row) {
      if (ids[row] < 0) continue;
      sum += std::log(static_cast<double>(sum_exp.data<T>()[row])) - static_cast<double>(target_logit.data<T>()[row]);
    }
    *nll.data<double>() += sum;
  });
}

}  // namespace

void fill_cross_entropy(OpTable& table) {
  table.row_max = row_max;
  table.exp_and_sum = exp_and_sum;
  table.cross_entropy_backward = cross_entropy_backward;
  table.cross_entropy = cross_entropy;
  table.add_token_losses = add_token_losses;
}

}  // namespace headroom::cpu
