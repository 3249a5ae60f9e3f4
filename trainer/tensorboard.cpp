#include "trainer/tensorboard.h"

#include <unistd.h>

#include <bit>
#include <boost/crc.hpp>
#include <chrono>
#include <cstring>

#include "base/error.h"
#include "base/system.h"

namespace headroom {
namespace {

static_assert(std::endian::native == std::endian::little, "records are written in memory's byte order");

template <class T>
std::string raw(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

// Protocol-buffer encoding: a field is its number and wire type, then the value.
enum class Wire : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

std::string varint(std::uint64_t value) {
  std::string bytes;
  while (value >= 0x80) {
    bytes += static_cast<char>((value & 0x7f) | 0x80);
    value >>= 7;
  }
  return bytes + static_cast<char>(value);
}

std::string key(std::uint32_t field, Wire wire) {
  return varint((field << 3) | static_cast<std::uint32_t>(wire));
}

std::string bytes_field(std::uint32_t field, std::string_view bytes) {
  return key(field, Wire::bytes) + varint(bytes.size()) + std::string(bytes);
}

// An event's time and step.
std::string event_head(std::int64_t step) {
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  return key(1, Wire::fixed64) + raw(now.count()) + key(2, Wire::varint) + varint(static_cast<std::uint64_t>(step));
}

// TensorBoard reads the files of a directory in the order of their names; it knows them by "tfevents". The counter
// keeps the files of one second apart.
std::filesystem::path new_file(const std::filesystem::path& directory) {
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  for (int count = 0;; ++count) {
    const auto path =
        directory / fmt::format("events.out.tfevents.{:010}.{}.{}.{}", seconds, host_name(), ::getpid(), count);
    if (!std::filesystem::exists(path)) return path;
  }
}

void flatten(const std::string& tag, const nlohmann::ordered_json& value, Scalars& scalars) {
  if (value.is_boolean()) {
    scalars.emplace_back(tag, value.get<bool>() ? 1.0 : 0.0);
  } else if (value.is_number()) {
    scalars.emplace_back(tag, value.get<double>());
  } else if (value.is_array()) {
    for (std::size_t i = 0; i < value.size(); ++i) {
      // Two digits for the outer index, a layer, so that names sort.
      flatten(tag.find('/') == std::string::npos ? fmt::format("{}/{:02}", tag, i) : fmt::format("{}/{}", tag, i),
              value[i], scalars);
    }
  } else if (value.is_object()) {
    for (const auto& [name, inner] : value.items()) flatten(tag.empty() ? name : tag + "/" + name, inner, scalars);
  }
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return crc.checksum();
}

std::uint32_t masked_crc32c(std::string_view bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xa282ead8u;
}

std::string tf_record(std::string_view payload) {
  const std::string length = raw(static_cast<std::uint64_t>(payload.size()));
  return length + raw(masked_crc32c(length)) + std::string(payload) + raw(masked_crc32c(payload));
}

Scalars scalars_of(const nlohmann::ordered_json& record) {
  Scalars scalars;
  for (const auto& [name, value] : record.items()) {
    if (name != "step") flatten(name, value, scalars);
  }
  return scalars;
}

EventWriter::EventWriter(const std::filesystem::path& directory, std::int64_t step) : file_(new_file(directory)) {
  file_.append(tf_record(event_head(0) + bytes_field(3, "brain.Event:2")));
  // A session that starts at a step makes readers forget what they had from that step on.
  file_.append(tf_record(event_head(step + 1) + bytes_field(7, key(1, Wire::varint) + varint(1))));
}

void EventWriter::write(std::int64_t step, const Scalars& scalars) {
  std::string summary;
  for (const auto& [tag, value] : scalars) {
    summary += bytes_field(1, bytes_field(1, tag) + key(2, Wire::fixed32) + raw(static_cast<float>(value)));
  }
  file_.append(tf_record(event_head(step) + bytes_field(5, summary)));
}

}  // namespace headroom
