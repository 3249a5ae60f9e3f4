#include "model/parameters.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "base/random.h"
#include "tensor/round_up.h"
#include "tensor/transfer.h"

namespace headroom {
namespace {

// Elements: a parameter begins where 16-byte accesses to it, to its gradient and to its moments are aligned.
constexpr std::int64_t kAlignment = 16;

// Cuts [begin, end) into buckets of about `target` elements, each a multiple of `step`.
void cut_buckets(std::int64_t begin, std::int64_t end, std::int64_t target, std::int64_t step,
                 std::vector<Bucket>& buckets) {
  const std::int64_t size = std::max(step, round_up(target, step));
  for (std::int64_t offset = begin; offset < end; offset += size) {
    buckets.push_back({offset, std::min(size, end - offset)});
  }
}

// One shard's values: element (r, c) of the shard is logical element (r + row_shift, c + column_shift); padding is 0.
template <class T>
void fill_normal(const Parameter& parameter, std::uint64_t seed, std::vector<T>& out) {
  const RandomStream stream(seed, parameter.name);
  const std::int64_t columns = parameter.local.rank() == 2 ? parameter.local[1] : 1;
  const std::int64_t logical_columns = parameter.local.rank() == 2 ? parameter.logical[1] : 1;
  const bool by_columns = parameter.partition == Partition::columns;
  const std::int64_t real_rows = by_columns ? parameter.local[0] : parameter.real;
  const std::int64_t real_columns = by_columns ? parameter.real : columns;
  const std::int64_t first_row = by_columns ? 0 : parameter.first;
  const std::int64_t first_column = by_columns ? parameter.first : 0;
  T* const numbers = out.data();
#pragma omp parallel for schedule(static)
  for (std::int64_t row = 0; row < real_rows; ++row) {
    const std::int64_t begin = (first_row + row) * logical_columns + first_column;
    std::array<double, 2> pair{};
    for (std::int64_t column = 0; column < real_columns; ++column) {
      const auto index = static_cast<std::uint64_t>(begin + column);
      if (column == 0 || index % 2 == 0) pair = stream.normal_pair(index / 2);
      numbers[row * columns + column] = static_cast<T>(parameter.init_mean + parameter.init_std * pair[index % 2]);
    }
  }
}

template <class T>
std::vector<T> initial_values(const Parameter& parameter, std::uint64_t seed) {
  const auto count = static_cast<std::size_t>(parameter.elements());
  if (parameter.init_std == 0.0) {
    HEADROOM_CHECK(parameter.partition == Partition::replicated || parameter.init_mean == 0.0,
                   "{}: a constant on a padded shard", parameter.name);
    return std::vector<T>(count, static_cast<T>(parameter.init_mean));
  }
  std::vector<T> values(count, T{0});
  fill_normal(parameter, seed, values);
  return values;
}

}  // namespace

std::size_t ParameterStore::declare(Parameter parameter, int tensor_rank, int tensor_size) {
  HEADROOM_CHECK(total_ == 0, "{} declared after finalize", parameter.name);
  parameter.local = parameter.logical;
  parameter.first = 0;
  parameter.real = parameter.logical[0];
  if (parameter.partition != Partition::replicated) {
    const int axis = parameter.partition == Partition::rows ? 0 : 1;
    const std::int64_t extent = parameter.logical[axis];
    const std::int64_t shard =
        round_up(round_up(extent, std::int64_t{tensor_size}) / tensor_size, parameter.shard_multiple);
    HEADROOM_CHECK(!parameter.tvr || shard * tensor_size == extent,
                   "{}: padding would count in the statistics that TVR takes of {} over {} ranks", parameter.name,
                   parameter.logical.text(), tensor_size);
    parameter.first = std::min(extent, shard * tensor_rank);
    parameter.real = std::min(shard, extent - parameter.first);
    if (parameter.logical.rank() == 1) {
      parameter.local = {shard};
    } else {
      parameter.local = axis == 0 ? Shape{shard, parameter.logical[1]} : Shape{parameter.logical[0], shard};
    }
  }
  parameters_.push_back(std::move(parameter));
  return parameters_.size() - 1;
}

void ParameterStore::finalize(DType dtype, int data_size, std::int64_t bucket_elements) {
  dtype_ = dtype;
  std::vector<std::size_t> order(parameters_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    const bool replicated_a = parameters_[a].partition == Partition::replicated;
    const bool replicated_b = parameters_[b].partition == Partition::replicated;
    return replicated_a != replicated_b ? replicated_b : parameters_[a].stage > parameters_[b].stage;
  });

  const std::int64_t step = data_size * kAlignment;
  const auto first_replicated = std::find_if(order.begin(), order.end(), [&](std::size_t index) {
    return parameters_[index].partition == Partition::replicated;
  });
  const auto place = [&](auto begin, auto end) {
    for (auto index = begin; index != end; ++index) {
      if (!parameters_[*index].follows) total_ = round_up(total_, kAlignment);
      parameters_[*index].offset = total_;
      total_ += parameters_[*index].elements();
    }
    total_ = round_up(total_, step);
  };
  place(order.begin(), first_replicated);
  replicated_begin_ = total_;
  place(first_replicated, order.end());
  cut_buckets(0, replicated_begin_, bucket_elements, step, buckets_);
  cut_buckets(replicated_begin_, total_, bucket_elements, step, buckets_);
}

void ParameterStore::allocate(Arena& arena) {
  values_ = arena.take({total_}, dtype_, "parameters");
  gradients_ = arena.take({total_}, accumulator_of(dtype_), "gradients");
  if (!values_.present()) return;  // measuring
  for (Parameter& parameter : parameters_) {
    parameter.value = values_.flat_range(parameter.offset, parameter.elements()).reshaped(parameter.local);
    parameter.gradient = gradients_.flat_range(parameter.offset, parameter.elements()).reshaped(parameter.local);
  }
}

const Parameter& ParameterStore::find(const std::string& name) const {
  const auto found = std::find_if(parameters_.begin(), parameters_.end(),
                                  [&](const Parameter& parameter) { return parameter.name == name; });
  HEADROOM_CHECK(found != parameters_.end(), "no parameter named {}", name);
  return *found;
}

Tensor ParameterStore::replicated_gradients() const {
  return gradients_.flat_range(replicated_begin_, total_ - replicated_begin_);
}

Tensor ParameterStore::stacked(const Tensor& block, std::size_t first, std::size_t count) const {
  const Parameter& head = parameters_[first];
  std::int64_t rows = 0;
  for (std::size_t index = first; index < first + count; ++index) {
    const Parameter& parameter = parameters_[index];
    HEADROOM_CHECK(parameter.offset == head.offset + rows * head.value.elements() / head.local[0],
                   "{} does not follow {} in memory", parameter.name, head.name);
    rows += parameter.local[0];
  }
  const std::int64_t width = head.local.rank() == 2 ? head.local[1] : 1;
  const Tensor range = block.flat_range(head.offset, rows * width);
  return head.local.rank() == 2 ? range.reshaped({rows, width}) : range;
}

Tensor ParameterStore::stacked_values(std::size_t first, std::size_t count) const {
  return stacked(values_, first, count);
}

Tensor ParameterStore::stacked_gradients(std::size_t first, std::size_t count) const {
  return stacked(gradients_, first, count);
}

std::int64_t ParameterStore::ready_end(int stage) const {
  // What is not final begins with the first parameter of a lower stage; behind the last one only padding follows.
  std::int64_t end = replicated_begin_;
  for (const Parameter& parameter : parameters_) {
    if (parameter.partition != Partition::replicated && parameter.stage < stage) end = std::min(end, parameter.offset);
  }
  return end;
}

void ParameterStore::initialize(std::uint64_t seed, const InitialValues& also) {
  for (const Parameter& parameter : parameters_) {
    if (dtype_ == DType::f64) {
      upload(std::span<const double>(initial_values<double>(parameter, seed)), parameter.value);
    } else {
      const std::vector<float> numbers = initial_values<float>(parameter, seed);
      upload_as(std::span<const float>(numbers), parameter.value);
      if (also) also(parameter, numbers);
    }
  }
}

std::int64_t ParameterStore::logical_elements() const {
  return std::accumulate(
      parameters_.begin(), parameters_.end(), std::int64_t{0},
      [](std::int64_t sum, const Parameter& parameter) { return sum + parameter.logical.elements(); });
}

}  // namespace headroom
