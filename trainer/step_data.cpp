#include "trainer/step_data.h"

namespace headroom {

StepData::StepData(const TokenFile& tokens, const RunConfig& config, const Mesh& mesh)
    : tokens_(&tokens),
      mesh_(&mesh),
      seq_len_(config.model.seq_len),
      vocab_size_(config.model.vocab_size),
      global_batch_(config.train.global_batch),
      micro_batch_(config.train.micro_batch),
      order_(tokens, config.model.seq_len, config.seed) {}

std::int64_t StepData::first_of(std::size_t micro_batch) const {
  const std::int64_t share = global_batch_ / mesh_->data().size();
  return mesh_->data().rank() * share + static_cast<std::int64_t>(micro_batch) * micro_batch_;
}

std::vector<Batch> StepData::read(std::uint64_t first) const {
  std::vector<Batch> batches;
  const std::int64_t count = global_batch_ / mesh_->data().size() / micro_batch_;
  for (std::int64_t index = 0; index < count; ++index) {
    const auto own = static_cast<std::uint64_t>(first_of(static_cast<std::size_t>(index)));
    batches.push_back(read_batch(*tokens_, order_, first + own, micro_batch_, seq_len_, vocab_size_));
  }
  return batches;
}

std::vector<Batch> StepData::whole_step(std::uint64_t first) const {
  std::vector<Batch> batches;
  for (std::int64_t sample = 0; sample < global_batch_; sample += micro_batch_) {
    batches.push_back(
        read_batch(*tokens_, order_, first + static_cast<std::uint64_t>(sample), micro_batch_, seq_len_, vocab_size_));
  }
  return batches;
}

std::uint32_t StepData::crc(const std::vector<Batch>& micro_batches) const {
  std::uint32_t own = 0;
  std::uint64_t ids = 0;
  for (const Batch& batch : micro_batches) {
    own = batch_crc(batch, own);
    ids += batch.ids.size();
  }
  // Every rank's CRC to every rank, then put together in global order.
  std::vector<std::int64_t> all(static_cast<std::size_t>(mesh_->data().size()), 0);
  all[static_cast<std::size_t>(mesh_->data().rank())] = own;
  mesh_->data().all_reduce(std::span<std::int64_t>(all), Reduction::sum);
  auto crc = static_cast<std::uint32_t>(all[0]);
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    crc = combine_crc(crc, static_cast<std::uint32_t>(all[rank]), ids);
  }
  return crc;
}

std::uint64_t StepData::epoch(std::uint64_t first) const {
  return (first + static_cast<std::uint64_t>(global_batch_) - 1) / order_.samples_per_epoch();
}

}  // namespace headroom
