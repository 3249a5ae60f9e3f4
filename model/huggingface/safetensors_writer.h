// Writing safetensors (the format: model/huggingface/safetensors.h), one tensor after another, so that no more than a
// piece of one is ever in memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file_writer.h"
#include "model/huggingface/safetensors.h"

namespace headroom::huggingface {

struct TensorShape {
  std::string name;
  std::vector<std::int64_t> shape;

  std::int64_t elements() const;
};

// Bytes of a number: 4 of f32, 2 of f16 and bf16.
std::int64_t bytes_of(StoredType type);

// One file, written as FILE.partial and renamed by `close`.
class SafetensorsWriter {
 public:
  // `type` of all tensors: f32, f16 or bf16. Errors of this and what follows: ExitCode::disk_full.
  SafetensorsWriter(std::filesystem::path file, StoredType type, std::vector<TensorShape> tensors);

  // The next numbers, tensor after tensor in the order given, in pieces of any size. Narrower types are rounded to
  // nearest, ties to even. Throws ExitCode::bad_data naming the tensor where a finite number is beyond f16's largest.
  void write(std::span<const float> numbers);
  // After the last number.
  void close();

  std::uint64_t bytes() const { return writer_.written(); }

 private:
  void put(std::span<const float> numbers);

  std::filesystem::path file_;
  StoredType type_;
  std::vector<TensorShape> tensors_;
  FileWriter writer_;
  std::size_t tensor_ = 0;  // that is being written
  std::int64_t done_ = 0;   // numbers of it
  std::vector<std::uint16_t> narrow_;
};

// The files of a checkpoint: model.safetensors, or, where that would be larger than `shard_bytes`, shards and
// model.safetensors.index.json, which names each tensor's. A tensor is never split.
class CheckpointWriter {
 public:
  CheckpointWriter(std::filesystem::path directory, StoredType type, const std::vector<TensorShape>& tensors,
                   std::int64_t shard_bytes);

  // As the writer's of one file.
  void write(std::span<const float> numbers);
  // Writes the index; gives the names of all files.
  std::vector<std::string> close();

  std::uint64_t bytes() const { return bytes_; }

 private:
  struct Shard {
    std::string name;
    std::vector<TensorShape> tensors;
    std::int64_t elements = 0;
  };
  void next_shard();

  std::filesystem::path directory_;
  StoredType type_;
  std::vector<Shard> shards_;
  std::size_t shard_ = 0;                    // that is being written
  std::int64_t left_ = 0;                    // numbers of it
  std::optional<SafetensorsWriter> writer_;  // of it
  std::uint64_t bytes_ = 0;
};

}  // namespace headroom::huggingface
