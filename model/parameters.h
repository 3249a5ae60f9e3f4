// The model's parameters: one flat block of values and one of gradients, cut into named logical tensors.
//
// Flat, because the optimizer, the bucketed reduction and checkpoints want ranges, not objects. Named and logical,
// because initialisation, TVR, statistics and checkpoints speak of whole matrices whatever the layout.
//
//   [ bucket 0 | bucket 1 | ... | last bucket ]     tensor-parallel parameters in the order the backward finishes
//                                                   them, then all parameters replicated over the tensor ranks
//
// Values have the model's dtype, gradients its accumulator's (bf16 values, f32 gradients).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "tensor/memory.h"

namespace headroom {

// How a logical tensor is cut over the tensor ranks.
enum class Partition : std::uint8_t { replicated, rows, columns };

struct Parameter {
  std::string name{};  // "layers.3.attention.q.weight"
  Shape logical{};     // [out, in] or [n], without padding
  Partition partition = Partition::replicated;
  std::int64_t layer = -1;    // -1 outside the blocks
  int stage = 0;              // place in the forward; the backward finishes higher stages first
  bool decay = false;         // weight decay applies
  bool tvr = false;           // a 2-D weight of a block: TVR applies
  std::string bias_of_tvr{};  // for a bias: the weight whose rescaling zeroes it
  double init_mean = 0.0;
  double init_std = 0.0;
  std::int64_t shard_multiple = 1;  // a rank's slots along the partitioned axis are padded to a multiple of this
  bool follows = false;  // right behind the parameter declared before it, as one matrix with its rows stacked

  // This rank's part.
  Shape local{};            // padded shape of the shard in memory
  std::int64_t first = 0;   // logical index along the partitioned axis where the shard begins
  std::int64_t real = 0;    // how many of the shard's slots along it are real, the rest is padding
  std::int64_t offset = 0;  // first element in the flat blocks
  Tensor value{};
  Tensor gradient{};

  std::int64_t elements() const { return local.elements(); }
};

// A range of the flat blocks that is reduced and gathered as one; its size divides by the data ranks.
struct Bucket {
  std::int64_t offset;
  std::int64_t size;
};

class ParameterStore {
 public:
  // Declares a parameter cut for (tensor_rank, tensor_size); only before `finalize`. Returns its index.
  // A partitioned axis that does not divide is padded to the next multiple, and the shard to shard_multiple.
  std::size_t declare(Parameter parameter, int tensor_rank, int tensor_size);

  // Places everything: sharded parameters by falling stage (the order a backward finishes them; within a stage as
  // declared), replicated ones last. `bucket_elements` is the size buckets aim for.
  void finalize(DType dtype, int data_size, std::int64_t bucket_elements);
  // Takes both blocks out of an arena; after finalize.
  void allocate(Arena& arena);

  std::vector<Parameter>& all() { return parameters_; }
  const std::vector<Parameter>& all() const { return parameters_; }
  Parameter& operator[](std::size_t index) { return parameters_[index]; }
  const Parameter& operator[](std::size_t index) const { return parameters_[index]; }
  // Throws ExitCode::internal for an unknown name.
  const Parameter& find(const std::string& name) const;

  const std::vector<Bucket>& buckets() const { return buckets_; }
  DType dtype() const { return dtype_; }
  std::int64_t elements() const { return total_; }        // of each flat block, padding included
  const Tensor& values() const { return values_; }        // the whole flat block
  const Tensor& gradients() const { return gradients_; }  //
  // The part that every tensor rank holds alike; its gradients are partial sums until reduced over them.
  Tensor replicated_gradients() const;
  std::int64_t replicated_begin() const { return replicated_begin_; }

  // Parameters [first, first + count), declared one after another in one stage, as one matrix with their rows stacked
  // (q, k, v; gate, up), or one vector for biases.
  Tensor stacked_values(std::size_t first, std::size_t count) const;
  Tensor stacked_gradients(std::size_t first, std::size_t count) const;

  // Fills every parameter from counter-based random numbers keyed by (seed, name, logical element index). `also` is
  // given each parameter's numbers before they are rounded to a bf16 model's dtype.
  using InitialValues = std::function<void(const Parameter&, std::span<const float>)>;
  void initialize(std::uint64_t seed, const InitialValues& also = {});

  // The gradients before this flat element are final once the backward has finished `stage` and all above it.
  // Replicated parameters are final only after their reduction over the tensor ranks.
  std::int64_t ready_end(int stage) const;

  // Logical parameters of the model, padding not counted.
  std::int64_t logical_elements() const;

 private:
  std::vector<Parameter> parameters_;
  std::vector<Bucket> buckets_;
  Tensor stacked(const Tensor& block, std::size_t first, std::size_t count) const;

  std::int64_t total_ = 0;
  std::int64_t replicated_begin_ = 0;  // where the replicated parameters begin
  DType dtype_ = DType::f32;
  Tensor values_;
  Tensor gradients_;
};

}  // namespace headroom
