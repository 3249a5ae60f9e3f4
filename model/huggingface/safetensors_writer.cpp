#include "model/huggingface/safetensors_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "tensor/round_up.h"
#include "tensor/widen.h"

namespace headroom::huggingface {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::size_t kPiece = std::size_t{1} << 20;  // numbers that are narrowed at a time

fs::path partial(const fs::path& file) {
  fs::path beside = file;
  beside += ".partial";
  return beside;
}

const char* type_name(StoredType type) {
  return type == StoredType::f32 ? "F32" : type == StoredType::f16 ? "F16" : "BF16";
}

// The length of the header, and the header, padded with blanks so that the numbers begin at a multiple of 8.
std::string header_of(const std::vector<TensorShape>& tensors, StoredType type) {
  Json header = {{"__metadata__", {{"format", "pt"}}}};
  std::int64_t begin = 0;
  for (const TensorShape& tensor : tensors) {
    const std::int64_t end = begin + tensor.elements() * bytes_of(type);
    header[tensor.name] = {{"dtype", type_name(type)}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
    begin = end;
  }
  std::string text = header.dump();
  text.resize(round_up(text.size(), std::size_t{8}), ' ');
  const std::uint64_t length = text.size();
  std::string bytes(sizeof length, '\0');
  for (std::size_t i = 0; i < sizeof length; ++i) bytes[i] = static_cast<char>(length >> (8 * i));
  return bytes + text;
}

}  // namespace

std::int64_t TensorShape::elements() const {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count *= extent;
  return count;
}

std::int64_t bytes_of(StoredType type) {
  HEADROOM_CHECK(type == StoredType::f32 || type == StoredType::f16 || type == StoredType::bf16,
                 "weights are written as f32, f16 or bf16");
  return type == StoredType::f32 ? 4 : 2;
}

SafetensorsWriter::SafetensorsWriter(fs::path file, StoredType type, std::vector<TensorShape> tensors)
    : file_(std::move(file)), type_(type), tensors_(std::move(tensors)), writer_(partial(file_)) {
  const std::string header = header_of(tensors_, type_);
  writer_.write(header.data(), header.size());
}

void SafetensorsWriter::write(std::span<const float> numbers) {
  while (!numbers.empty()) {
    HEADROOM_CHECK(tensor_ < tensors_.size(), "{} numbers behind the last tensor", numbers.size());
    const auto left = static_cast<std::size_t>(tensors_[tensor_].elements() - done_);
    const std::size_t count = std::min({numbers.size(), left, kPiece});
    put(numbers.first(count));
    numbers = numbers.subspan(count);
    done_ += static_cast<std::int64_t>(count);
    if (count == left) {
      ++tensor_;
      done_ = 0;
    }
  }
}

void SafetensorsWriter::put(std::span<const float> numbers) {
  if (type_ == StoredType::f32) return writer_.write(numbers.data(), numbers.size_bytes());
  constexpr float kLargest = 65520.0F;  // the first that f16 rounds to infinity
  if (type_ == StoredType::f16) {
    const auto beyond = std::find_if(numbers.begin(), numbers.end(), [](float number) {
      return std::isfinite(number) && std::abs(number) >= kLargest;
    });
    if (beyond != numbers.end()) {
      throw Error(ExitCode::bad_data,
                  fmt::format("tensor '{}' has {}, which f16 cannot hold", tensors_[tensor_].name, *beyond),
                  "Write bf16 or f32.");
    }
  }
  narrow_.resize(numbers.size());
  const auto count = static_cast<std::int64_t>(numbers.size());
  type_ == StoredType::f16 ? narrow_f16(numbers.data(), count, narrow_.data())
                           : narrow_bf16(numbers.data(), count, narrow_.data());
  writer_.write(narrow_.data(), narrow_.size() * sizeof narrow_.front());
}

void SafetensorsWriter::close() {
  HEADROOM_CHECK(tensor_ == tensors_.size(), "{} of {} tensors were written", tensor_, tensors_.size());
  writer_.close();
  std::error_code error;
  fs::rename(partial(file_), file_, error);
  if (error) throw_write_error(file_, "rename", error.value());
}

CheckpointWriter::CheckpointWriter(fs::path directory, StoredType type, const std::vector<TensorShape>& tensors,
                                   std::int64_t shard_bytes)
    : directory_(std::move(directory)), type_(type) {
  for (const TensorShape& tensor : tensors) {
    const std::int64_t elements = tensor.elements();
    if (shards_.empty() || (shards_.back().elements + elements) * bytes_of(type) > shard_bytes) shards_.emplace_back();
    shards_.back().tensors.push_back(tensor);
    shards_.back().elements += elements;
  }
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    shards_[i].name = shards_.size() == 1 ? "model.safetensors"
                                          : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards_.size());
  }
  next_shard();
}

void CheckpointWriter::next_shard() {
  if (shard_ == shards_.size()) return;
  const Shard& shard = shards_[shard_];
  writer_.emplace(directory_ / shard.name, type_, shard.tensors);
  left_ = shard.elements;
}

void CheckpointWriter::write(std::span<const float> numbers) {
  while (!numbers.empty()) {
    HEADROOM_CHECK(writer_.has_value(), "{} numbers behind the last tensor", numbers.size());
    const std::size_t count = std::min(numbers.size(), static_cast<std::size_t>(left_));
    writer_->write(numbers.first(count));
    numbers = numbers.subspan(count);
    left_ -= static_cast<std::int64_t>(count);
    if (left_ > 0) continue;
    writer_->close();
    bytes_ += writer_->bytes();
    writer_.reset();
    ++shard_;
    next_shard();
  }
}

std::vector<std::string> CheckpointWriter::close() {
  HEADROOM_CHECK(shard_ == shards_.size(), "{} of {} shards were written", shard_, shards_.size());
  std::vector<std::string> names;
  Json map = Json::object();
  std::int64_t size = 0;
  for (const Shard& shard : shards_) {
    names.push_back(shard.name);
    size += shard.elements * bytes_of(type_);
    for (const TensorShape& tensor : shard.tensors) map[tensor.name] = shard.name;
  }
  if (shards_.size() > 1) {
    names.emplace_back("model.safetensors.index.json");
    const Json index = {{"metadata", {{"total_size", size}}}, {"weight_map", map}};
    write_file_atomically(directory_ / names.back(), index.dump(2) + "\n");
  }
  return names;
}

}  // namespace headroom::huggingface
