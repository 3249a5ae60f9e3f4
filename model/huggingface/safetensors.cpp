#include "model/huggingface/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <set>
#include <string_view>

#include "base/error.h"
#include "base/json_file.h"

namespace headroom::huggingface {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::uint64_t kLongestHeader = 100'000'000;  // bytes, as the format's own library allows

[[noreturn]] void refuse(const fs::path& file, const std::string& why) {
  throw Error(ExitCode::bad_checkpoint, fmt::format("{}: {}", file.string(), why),
              "The file is cut off, damaged or no safetensors; fetch it again.");
}

struct KnownType {
  const char* name;
  StoredType type;
  std::uint64_t size;
};
constexpr KnownType kTypes[] = {
    {"F32", StoredType::f32, 4},    {"F16", StoredType::f16, 2},       {"BF16", StoredType::bf16, 2},
    {"F64", StoredType::f64, 8},    {"I64", StoredType::other, 8},     {"U64", StoredType::other, 8},
    {"I32", StoredType::other, 4},  {"U32", StoredType::other, 4},     {"I16", StoredType::other, 2},
    {"U16", StoredType::other, 2},  {"I8", StoredType::other, 1},      {"U8", StoredType::other, 1},
    {"BOOL", StoredType::other, 1}, {"F8_E4M3", StoredType::other, 1}, {"F8_E5M2", StoredType::other, 1}};

std::uint64_t natural(const Json& number, const fs::path& file, const std::string& what) {
  if (!number.is_number_unsigned()) refuse(file, what + " is no natural number");
  return number.get<std::uint64_t>();
}

StoredTensor tensor_of(const std::string& name, const Json& entry, std::span<const std::byte> data,
                       const fs::path& file) {
  const auto wrong = [&](const std::string& why) { refuse(file, fmt::format("tensor '{}': {}", name, why)); };
  if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") || !entry.contains("data_offsets")) {
    wrong("wants dtype, shape and data_offsets");
  }
  StoredTensor tensor;
  if (!entry["dtype"].is_string()) wrong("dtype is no text");
  tensor.type_name = entry["dtype"];
  const auto known = std::find_if(std::begin(kTypes), std::end(kTypes),
                                  [&](const KnownType& type) { return type.name == tensor.type_name; });
  if (known == std::end(kTypes)) wrong(fmt::format("dtype '{}' is not known", tensor.type_name));
  tensor.type = known->type;
  if (!entry["shape"].is_array()) wrong("shape is no list");
  std::uint64_t size = known->size;
  for (const Json& extent : entry["shape"]) {
    const std::uint64_t count = natural(extent, file, fmt::format("tensor '{}': an extent of shape", name));
    if (count > data.size() && size != 0) wrong("shape is larger than the file");
    if (count != 0 && size > std::numeric_limits<std::uint64_t>::max() / count) wrong("shape overflows");
    size *= count;
    tensor.shape.push_back(static_cast<std::int64_t>(count));
  }
  const Json& offsets = entry["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2) wrong("data_offsets is no pair");
  const std::uint64_t begin = natural(offsets[0], file, fmt::format("tensor '{}': data_offsets", name));
  const std::uint64_t end = natural(offsets[1], file, fmt::format("tensor '{}': data_offsets", name));
  if (begin > end || end > data.size()) {
    wrong(fmt::format("data_offsets [{}, {}] lie outside of the {} bytes of data", begin, end, data.size()));
  }
  if (end - begin != size) {
    wrong(fmt::format("{} of {} take {} bytes, data_offsets have {}", tensor.shape_text(), tensor.type_name, size,
                      end - begin));
  }
  tensor.bytes = data.subspan(begin, end - begin);
  return tensor;
}

// The shards that an index names, each once.
std::vector<std::string> shards_of(const fs::path& index) {
  const Json json = read_json(index, ExitCode::bad_checkpoint);
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object()) {
    refuse(index, "has no weight_map");
  }
  std::set<std::string> names;
  for (const auto& [tensor, shard] : json["weight_map"].items()) {
    if (!shard.is_string()) refuse(index, fmt::format("weight_map: the file of '{}' is no text", tensor));
    const std::string name = shard;
    if (name.empty() || name.find('/') != std::string::npos || name.find('\0') != std::string::npos || name == "..") {
      refuse(index, fmt::format("weight_map: '{}' is no file of this directory", name));
    }
    names.insert(name);
  }
  if (names.empty()) refuse(index, "weight_map is empty");
  return {names.begin(), names.end()};
}

}  // namespace

std::int64_t StoredTensor::elements() const {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count *= extent;
  return count;
}

std::string StoredTensor::shape_text() const {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

StoredTensors parse_safetensors(std::span<const std::byte> bytes, const fs::path& file) {
  std::uint64_t length = 0;
  if (bytes.size() < sizeof length) refuse(file, fmt::format("{} bytes are no safetensors", bytes.size()));
  __builtin_memcpy(&length, bytes.data(), sizeof length);
  if (length > kLongestHeader || length > bytes.size() - sizeof length) {
    refuse(file, fmt::format("its header would be {} bytes of a file of {}", length, bytes.size()));
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data() + sizeof length), length);
  const Json header = parse_json(text, fmt::format("{}: its header", file.string()), ExitCode::bad_checkpoint);
  if (!header.is_object()) refuse(file, "its header is no JSON object");
  StoredTensors tensors;
  const std::span<const std::byte> data = bytes.subspan(sizeof length + length);
  for (const auto& [name, entry] : header.items()) {
    if (name != "__metadata__") tensors.emplace(name, tensor_of(name, entry, data, file));
  }
  return tensors;
}

TensorFiles::TensorFiles(const fs::path& directory) : directory_(directory) {
  const fs::path whole = directory / "model.safetensors";
  const fs::path index = directory / "model.safetensors.index.json";
  if (fs::exists(whole)) {
    read(whole);
  } else if (fs::exists(index)) {
    for (const std::string& shard : shards_of(index)) {
      if (!fs::exists(directory / shard)) {
        throw Error(ExitCode::bad_checkpoint, fmt::format("{} names {}, which is missing", index.string(), shard),
                    "Fetch all of the checkpoint's files.");
      }
      read(directory / shard);
    }
  } else {
    throw Error(ExitCode::bad_checkpoint,
                fmt::format("{} has neither model.safetensors nor model.safetensors.index.json", directory.string()),
                "Only safetensors are read; other formats convert with transformers' save_pretrained.");
  }
}

void TensorFiles::read(const fs::path& file) {
  try {
    files_.emplace_back(file);
  } catch (const Error& error) {
    throw Error(ExitCode::bad_checkpoint, error.what(), "Fetch all of the checkpoint's files.");
  }
  for (auto& [name, tensor] : parse_safetensors(files_.back().bytes(), file)) {
    if (!tensors_.emplace(name, tensor).second) refuse(file, fmt::format("tensor '{}' is in two files", name));
  }
}

bool TensorFiles::holds(const void* address) const {
  const auto* place = static_cast<const std::byte*>(address);
  return std::any_of(files_.begin(), files_.end(), [&](const MappedFile& file) {
    const std::byte* begin = file.bytes().data();
    return std::greater_equal<>()(place, begin) && std::less<>()(place, begin + file.size());
  });
}

const StoredTensor& TensorFiles::find(const std::string& name, const std::vector<std::int64_t>& shape) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    throw Error(ExitCode::bad_checkpoint, fmt::format("{} has no tensor '{}'", directory_.string(), name),
                "The files and config.json do not belong together, or a shard is missing.");
  }
  const StoredTensor& tensor = found->second;
  if (tensor.shape != shape) {
    throw Error(ExitCode::bad_checkpoint,
                fmt::format("{}: tensor '{}' is {}, config.json wants [{}]", directory_.string(), name,
                            tensor.shape_text(), fmt::join(shape, ", ")),
                "The files and config.json do not belong together.");
  }
  if (tensor.type == StoredType::other) {
    throw Error(ExitCode::bad_checkpoint,
                fmt::format("{}: tensor '{}' is of {}", directory_.string(), name, tensor.type_name),
                "Quantised weights are not read; use the F32, F16 or BF16 checkpoint.");
  }
  return tensor;
}

}  // namespace headroom::huggingface
