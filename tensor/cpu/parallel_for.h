// Loops cut into contiguous parts, one a thread (OpenMP). The parts depend on the count, the grain and the number of
// threads alone, which is what makes results reproducible.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <exception>

namespace headroom::cpu {

namespace detail {
// Carries the first exception out of a parallel region, where it would end the program.
class FirstException {
 public:
  template <class Work>
  void guard(const Work& work) noexcept {
    try {
      work();
    } catch (...) {
#pragma omp critical(headroom_first_exception)
      if (!exception_) exception_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (exception_) std::rethrow_exception(exception_);
  }

 private:
  std::exception_ptr exception_;
};
}  // namespace detail

// Elements of a streaming loop below which a second thread costs more than it saves.
inline constexpr std::int64_t kElementGrain = 16 * 1024;

// How many parts `parallel_parts` cuts `count` items into: at least `grain` items each, at most one a thread.
inline int part_count(std::int64_t count, std::int64_t grain) {
  if (omp_in_parallel()) return 1;
  const std::int64_t wanted = count / std::max<std::int64_t>(grain, 1);
  return static_cast<int>(std::clamp<std::int64_t>(wanted, 1, omp_get_max_threads()));
}

// Calls work(part, begin, end) for each of part_count(count, grain) parts of [0, count), in parallel. The first
// exception is rethrown when all parts have ended. For reductions: a partial result a part, added up afterwards in the
// order of parts.
template <class Work>
void parallel_parts(std::int64_t count, std::int64_t grain, const Work& work) {
  if (count <= 0) return;
  const int parts = part_count(count, grain);
  if (parts == 1) {
    work(0, std::int64_t{0}, count);
    return;
  }
  detail::FirstException failure;
#pragma omp parallel num_threads(parts)
  {
    // A limited runtime may give fewer threads than asked for; every part is still done.
    for (int part = omp_get_thread_num(); part < parts; part += omp_get_num_threads()) {
      failure.guard([&] { work(part, count * part / parts, count * (part + 1) / parts); });
    }
  }
  failure.rethrow();
}

// Calls work(begin, end) on parts of [0, count). `grain`: the fewest items worth a thread, for rows of C columns
// something like rows_grain(C).
template <class Work>
void parallel_for(std::int64_t count, std::int64_t grain, const Work& work) {
  parallel_parts(count, grain, [&](int, std::int64_t begin, std::int64_t end) { work(begin, end); });
}

// The grain of a loop over rows of `columns` elements.
inline std::int64_t rows_grain(std::int64_t columns) {
  return std::max<std::int64_t>(1, kElementGrain / std::max<std::int64_t>(columns, 1));
}

// Calls work(item) for unequal items in [0, count), handed out in order to whichever thread is free. Items must not
// share outputs.
template <class Work>
void parallel_items(std::int64_t count, const Work& work) {
  if (count == 1 || omp_in_parallel()) {
    for (std::int64_t item = 0; item < count; ++item) work(item);
    return;
  }
  detail::FirstException failure;
#pragma omp parallel for schedule(dynamic, 1)
  for (std::int64_t item = 0; item < count; ++item) failure.guard([&] { work(item); });
  failure.rethrow();
}

}  // namespace headroom::cpu
