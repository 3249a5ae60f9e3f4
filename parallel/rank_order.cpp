#include "parallel/rank_order.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

namespace headroom {
namespace {

struct Sum {
  template <class T>
  static T of(T a, T b) {
    return a + b;
  }
};

struct Max {
  template <class T>
  static T of(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
      return (a > b || std::isnan(a)) ? a : b;  // a NaN on either side stays
    } else {
      return std::max(a, b);
    }
  }
};

// What numbers of T are reduced in.
template <class T>
using Wide = std::conditional_t<std::is_same_v<T, bf16>, float, T>;

template <class Op, class A, class B, class Out>
void reduce_two(const A* a, const B* b, Out* out, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) out[i] = Out(Op::of(Wide<A>(a[i]), Wide<B>(b[i])));
}

// Block by block, so that the partial result stays in the first-level cache, and apart from `out`, which may be any
// of the sources.
template <class T, class Op>
void reduce_many(std::span<const void* const> sources, T* out, std::int64_t n) {
  constexpr std::int64_t kBlock = 1024;
  alignas(64) Wide<T> partial[kBlock];
  for (std::int64_t begin = 0; begin < n; begin += kBlock) {
    const std::int64_t count = std::min(kBlock, n - begin);
    const auto source = [&](std::size_t k) { return static_cast<const T*>(sources[k]) + begin; };
    reduce_two<Op>(source(0), source(1), partial, count);
    for (std::size_t k = 2; k < sources.size(); ++k) reduce_two<Op>(partial, source(k), partial, count);
    std::transform(partial, partial + count, out + begin, [](Wide<T> value) { return T(value); });
  }
}

template <class T, class Op>
void reduce_as(std::span<const void* const> sources, void* out, std::int64_t elements) {
  if (elements == 0) return;
  if (sources.size() == 1) {
    if (out != sources[0]) std::memcpy(out, sources[0], static_cast<std::size_t>(elements) * sizeof(T));
  } else if (sources.size() == 2) {
    reduce_two<Op>(static_cast<const T*>(sources[0]), static_cast<const T*>(sources[1]), static_cast<T*>(out),
                   elements);
  } else {
    reduce_many<T, Op>(sources, static_cast<T*>(out), elements);
  }
}

}  // namespace

void reduce_in_order(Reduction reduction, std::span<const void* const> sources, void* out, std::int64_t elements,
                     DType type) {
  HEADROOM_CHECK(!sources.empty(), "a reduction of nothing");
  const auto reduce = [&]<class T>(T) {
    reduction == Reduction::sum ? reduce_as<T, Sum>(sources, out, elements) : reduce_as<T, Max>(sources, out, elements);
  };
  switch (type) {
    case DType::f32:
      return reduce(float{});
    case DType::f64:
      return reduce(double{});
    case DType::bf16:
      return reduce(bf16{});
    case DType::i32:
      return reduce(std::int32_t{});
    case DType::i64:
      return reduce(std::int64_t{});
  }
}

}  // namespace headroom
