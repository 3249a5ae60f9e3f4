// safetensors: a JSON header that says where each tensor lies, and the tensors, mapped.
// (https://huggingface.co/docs/safetensors: u64 little-endian length of the header, the header, the data.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/mapped_file.h"

namespace headroom::huggingface {

enum class StoredType : std::uint8_t { f32, f16, bf16, f64, other };

// A tensor where it lies in its file.
struct StoredTensor {
  StoredType type = StoredType::other;
  std::string type_name;  // as the file has it: "BF16", "I64"
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;

  std::int64_t elements() const;
  std::string shape_text() const;  // "[8, 64]"
};

using StoredTensors = std::map<std::string, StoredTensor>;

// All tensors of a file's bytes, which they point into. Nothing is read beyond them, whatever the header says. Throws
// ExitCode::bad_checkpoint naming `file` and the tensor for a header that is cut off, no JSON, or does not fit its
// data.
StoredTensors parse_safetensors(std::span<const std::byte> bytes, const std::filesystem::path& file);

// The weights of a checkpoint's directory: model.safetensors, or the shards that model.safetensors.index.json names.
class TensorFiles {
 public:
  // Throws ExitCode::bad_checkpoint naming the file that is missing or damaged.
  explicit TensorFiles(const std::filesystem::path& directory);

  const std::filesystem::path& directory() const { return directory_; }
  bool has(const std::string& name) const { return tensors_.contains(name); }
  const StoredTensors& all() const { return tensors_; }
  // Whether an address lies in what is mapped.
  bool holds(const void* address) const;
  // Throws ExitCode::bad_checkpoint naming directory and tensor where it is missing, of another shape, or of a type
  // that is no weight's.
  const StoredTensor& find(const std::string& name, const std::vector<std::int64_t>& shape) const;

 private:
  void read(const std::filesystem::path& file);

  std::filesystem::path directory_;
  std::vector<MappedFile> files_;
  StoredTensors tensors_;
};

}  // namespace headroom::huggingface
