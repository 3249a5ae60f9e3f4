// Which of cuBLASLt's algorithms computes which product, in a file, so that another process computes the same bits.
// Algorithms are chosen by timing, and different algorithms round differently: without the file a run that is resumed,
// or repeated, may get other bits than the first time. With it whoever meets a product first decides for all processes
// that share the file, at the same time or later.
//
// A line a choice: context TAB product TAB algorithm. The context is the device's model and the library's version, so
// that one file serves several machines. A choice never changes; to choose anew, delete the file.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace headroom::cuda {

class ProductChoices {
 public:
  // An algorithm as cuBLASLt allows it to be kept: 64 bytes that its own version understands.
  using Algorithm = std::array<std::uint64_t, 8>;

  // An absent path: nothing is kept. `context` and products have no tabs or newlines in them.
  ProductChoices(std::filesystem::path path, std::string context);

  // What the file says now. Throws ExitCode::bad_data if it is there and cannot be read.
  std::optional<Algorithm> find(const std::string& product) const;

  // Adds a choice, unless another process has meanwhile; returns the one that stands. Throws ExitCode::disk_full.
  Algorithm settle(const std::string& product, const Algorithm& algorithm) const;

 private:
  std::filesystem::path path_;
  std::string context_;
};

}  // namespace headroom::cuda
