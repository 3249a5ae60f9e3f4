// The optimizer's passes over flat tensors: AdamW reads and writes everything once; sums are taken in f64.
#include <algorithm>
#include <cmath>

#include "tensor/cpu/dispatch.h"
#include "tensor/cpu/parallel_for.h"
#include "tensor/cpu/scratch.h"
#include "tensor/cpu/table.h"

namespace headroom::cpu {
namespace {

void adamw(const Tensor& grad, const AdamWStep& step, Tensor param, Tensor m, Tensor v) {
  check_same_dtype("adamw", grad, param, m, v);
  check_elements("adamw", "param", param, grad.elements());
  check_elements("adamw", "m", m, grad.elements());
  check_elements("adamw", "v", v, grad.elements());
  dispatch(grad.dtype(), [&]<class T>() {
    const T* grads = grad.data<T>();
    T* params = param.data<T>();
    T* first = m.data<T>();
    T* second = v.data<T>();
    const T scale = static_cast<T>(step.grad_scale);
    const T keep1 = static_cast<T>(step.beta1);
    const T keep2 = static_cast<T>(step.beta2);
    const T take1 = static_cast<T>(1.0 - step.beta1);
    const T take2 = static_cast<T>(1.0 - step.beta2);
    const T rate = static_cast<T>(step.lr / step.bias_correction1);
    const T correct2 = static_cast<T>(1.0 / step.bias_correction2);
    const T eps = static_cast<T>(step.eps);
    const T decay = static_cast<T>(step.lr * step.weight_decay);
    parallel_for(grad.elements(), kElementGrain, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) {
        const T g = scale * grads[i];
        const T mean = keep1 * first[i] + take1 * g;
        const T square = keep2 * second[i] + take2 * (g * g);
        first[i] = mean;
        second[i] = square;
        params[i] -= rate * mean / (std::sqrt(square * correct2) + eps) + decay * params[i];
      }
    });
  });
}

// Sum of term(x[i]) in f64: blocks of a fixed size, each summed in a fixed number of lanes, added in order.
template <class Term>
double blocked_sum(const Tensor& x, const Term& term) {
  constexpr std::int64_t kBlock = 16 * 1024;
  return dispatch(x.dtype(), [&]<class T>() {
    const std::int64_t elements = x.elements();
    const std::int64_t blocks = (elements + kBlock - 1) / kBlock;
    const T* values = x.data<T>();
    double* partials = thread_scratch<double>(static_cast<std::size_t>(std::max<std::int64_t>(blocks, 1)));
    parallel_for(blocks, 1, [=](std::int64_t first, std::int64_t last) {
      for (std::int64_t block = first; block < last; ++block) {
        const T* part = values + block * kBlock;
        const std::int64_t count = std::min(kBlock, elements - block * kBlock);
        double sum = 0.0;
#pragma omp simd reduction(+ : sum)
        for (std::int64_t i = 0; i < count; ++i) sum += term(static_cast<double>(part[i]));
        partials[block] = sum;
      }
    });
    double total = 0.0;
    for (std::int64_t block = 0; block < blocks; ++block) total += partials[block];
    return total;
  });
}

double sum(const Tensor& x) {
  return blocked_sum(x, [](double value) { return value; });
}

double sum_of_squares(const Tensor& x, double center) {
  return blocked_sum(x, [center](double value) { return (value - center) * (value - center); });
}

void rescale_about(double mean, double factor, Tensor x) {
  dispatch(x.dtype(), [&]<class T>() {
    T* values = x.data<T>();
    const T center = static_cast<T>(mean);
    const T by = static_cast<T>(factor);
    parallel_for(x.elements(), kElementGrain, [=](std::int64_t begin, std::int64_t end) {
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) values[i] = (values[i] - center) * by + center;
    });
  });
}

}  // namespace

void fill_optimizer(OpTable& table) {
  table.adamw = adamw;
  table.sum = sum;
  table.sum_of_squares = sum_of_squares;
  table.rescale_about = rescale_about;
}

}  // namespace headroom::cpu
