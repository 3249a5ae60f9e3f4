#include "tensor/cpu/product_log.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>

#include "tensor/cpu/gemm.h"
#include "tensor/memory.h"

namespace headroom::cpu {

struct ProductLog::State {
  std::mutex mutex;
  std::vector<Product> outside;
  std::vector<Product> inside;
};

namespace {

std::atomic<void*> active_state{nullptr};

// The operands of the largest product fit into each block.
struct Operands {
  Buffer a;
  Buffer b;
  Buffer c;
};

std::size_t bytes_of(std::int64_t rows, std::int64_t stride, DType dtype) {
  return static_cast<std::size_t>(rows * stride) * size_of(dtype);
}

Operands operands_for(const std::vector<Product>& products) {
  std::size_t a = 1;
  std::size_t b = 1;
  std::size_t c = 1;
  for (const Product& product : products) {
    a = std::max(
        a, bytes_of(product.transpose_a == Transpose::yes ? product.k : product.m, product.stride_a, product.dtype));
    b = std::max(
        b, bytes_of(product.transpose_b == Transpose::yes ? product.n : product.k, product.stride_b, product.dtype));
    c = std::max(c, bytes_of(product.m, product.stride_c, product.dtype));
  }
  return {Buffer(a, Device::cpu, "a replayed product"), Buffer(b, Device::cpu, "a replayed product"),
          Buffer(c, Device::cpu, "a replayed product")};
}

template <class T>
void replay_as(const Product& product, const Operands& operands) {
  gemm(product.transpose_a, product.transpose_b, product.m, product.n, product.k, 1.0,
       Strided<const T>{static_cast<const T*>(operands.a.data()), product.stride_a},
       Strided<const T>{static_cast<const T*>(operands.b.data()), product.stride_b}, 0.0,
       Strided<T>{static_cast<T*>(operands.c.data()), product.stride_c});
}

void replay(const Product& product, const Operands& operands) {
  product.dtype == DType::f64 ? replay_as<double>(product, operands) : replay_as<float>(product, operands);
}

}  // namespace

ProductLog::ProductLog() : state_(std::make_unique<State>()) {
  void* none = nullptr;
  const bool first = active_state.compare_exchange_strong(none, state_.get());
  HEADROOM_CHECK(first, "two product logs at once");
}

ProductLog::~ProductLog() {
  active_state = nullptr;
}

std::vector<Product> ProductLog::products() const {
  std::vector<Product> all = state_->outside;
  all.insert(all.end(), state_->inside.begin(), state_->inside.end());
  return all;
}

void ProductLog::note(const Product& product) {
  auto* const state = static_cast<State*>(active_state.load(std::memory_order_relaxed));
  if (state == nullptr) [[likely]]
    return;
  const std::lock_guard lock(state->mutex);
  (product.inside_parallel ? state->inside : state->outside).push_back(product);
}

double replay_seconds(const std::vector<Product>& products, int repeats) {
  std::vector<Product> outside;
  std::vector<Product> inside;
  for (const Product& product : products) (product.inside_parallel ? inside : outside).push_back(product);
  const Operands shared = operands_for(outside);
  std::vector<Operands> own;
  for (int thread = 0; thread < omp_get_max_threads(); ++thread) own.push_back(operands_for(inside));

  double best = 0.0;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    const auto begin = std::chrono::steady_clock::now();
    for (const Product& product : outside) replay(product, shared);
#pragma omp parallel for schedule(dynamic, 8)
    for (const Product& product : inside) {
      replay(product, own[static_cast<std::size_t>(omp_get_thread_num())]);
    }
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    best = repeat == 0 ? elapsed.count() : std::min(best, elapsed.count());
  }
  return best;
}

}  // namespace headroom::cpu
