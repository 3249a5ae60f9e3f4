#include "trainer/checkpoint_manifest.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"

namespace headroom {
namespace {

using nlohmann::ordered_json;

constexpr int kDeepest = 32;  // levels of JSON
constexpr std::string_view kFormat = "headroom-checkpoint";
constexpr std::int64_t kMostElements = std::int64_t{1} << 56;  // of a tensor: sizes in bytes stay far from overflow

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& reason) {
  throw DamagedCheckpoint(fmt::format("{}: {}", path.string(), reason));
}

ordered_json to_json(const Manifest::Tensor& tensor) {
  ordered_json pieces = ordered_json::array();
  for (const Manifest::Piece& piece : tensor.pieces) {
    const Rectangle& place = piece.place;
    pieces.push_back({piece.file, piece.begin, place.row, place.column, place.rows, place.columns});
  }
  return {{"name", tensor.name}, {"shape", tensor.shape}, {"pieces", std::move(pieces)}};
}

// A member a line, and of the long lists an entry a line.
void append_member(std::string& text, std::string_view name, const ordered_json& value) {
  text += fmt::format("{}\"{}\": {}", text.empty() ? "{\n" : ",\n", name, value.dump());
}
template <class Entry>
void append_list(std::string& text, std::string_view name, const std::vector<Entry>& entries) {
  text += fmt::format(",\n\"{}\": [", name);
  for (std::size_t index = 0; index < entries.size(); ++index) {
    text += index == 0 ? "\n" : ",\n";
    text += to_json(entries[index]).dump();
  }
  text += "]";
}

// All but the hash of it and the closing brace.
std::string body_of(const Manifest& manifest) {
  std::string text;
  append_member(text, "format", kFormat);
  append_member(text, "version", Manifest::kVersion);
  append_member(text, "step", manifest.step);
  append_member(text, "tokens", manifest.tokens);
  append_member(text, "layout", manifest.layout);
  append_member(text, "dtype", manifest.dtype);
  append_member(text, "stored", manifest.stored);
  append_member(text, "config", manifest.identity.config);
  append_member(text, "train", manifest.identity.train);
  append_member(text, "valid", manifest.identity.valid);
  append_member(text, "tokenizer", manifest.identity.tokenizer);
  append_member(text, "commit", manifest.identity.commit);
  append_member(text, "state", manifest.state);
  append_member(text, "about", manifest.about);
  append_member(text, "kinds", manifest.kinds);
  append_list(text, "files", manifest.files);
  append_list(text, "tensors", manifest.tensors);
  return text;
}

// Numbers are taken as they stand: nlohmann would turn 1.5 or true into an integer.
std::int64_t integer(const ordered_json& value) {
  if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<std::uint64_t>() >> 63 != 0)) {
    throw Error(ExitCode::bad_checkpoint, fmt::format("{} where a whole number should be", value.dump()));
  }
  return value.get<std::int64_t>();
}

const ordered_json& row_of(const ordered_json& value, std::size_t size) {
  if (!value.is_array() || value.size() != size) {
    throw Error(ExitCode::bad_checkpoint, fmt::format("an entry of {} where {} values should be", value.size(), size));
  }
  return value;
}

Manifest::Tensor tensor_of(const ordered_json& json) {
  Manifest::Tensor tensor{json.at("name").get<std::string>(), {}};
  for (const ordered_json& extent : json.at("shape")) tensor.shape.push_back(integer(extent));
  for (const ordered_json& entry : json.at("pieces")) {
    const ordered_json& row = row_of(entry, 6);
    tensor.pieces.push_back(
        {integer(row[0]), integer(row[1]), {integer(row[2]), integer(row[3]), integer(row[4]), integer(row[5])}});
  }
  return tensor;
}

// Throws nlohmann's exceptions where a member is missing or of another type.
Manifest manifest_of(const ordered_json& json) {
  Manifest manifest;
  manifest.step = integer(json.at("step"));
  manifest.tokens = integer(json.at("tokens"));
  manifest.layout = json.at("layout").get<std::string>();
  manifest.dtype = json.at("dtype").get<std::string>();
  manifest.stored = json.at("stored").get<std::string>();
  manifest.identity = {json.at("config").get<std::string>(), json.at("train").get<std::string>(),
                       json.at("valid").get<std::string>(), json.at("tokenizer").get<std::string>(),
                       json.at("commit").get<std::string>()};
  manifest.state = json.at("state");
  manifest.about = json.at("about");
  for (const ordered_json& kind : json.at("kinds")) manifest.kinds.push_back(kind.get<std::string>());
  for (const ordered_json& file : json.at("files")) manifest.files.push_back(file_of(file));
  for (const ordered_json& tensor : json.at("tensors")) manifest.tensors.push_back(tensor_of(tensor));
  return manifest;
}

bool plain_name(const std::string& name) {
  return !name.empty() && name.front() != '.' && name.find('/') == std::string::npos;
}

std::optional<std::string> contradiction(const Manifest::File& file) {
  if (!plain_name(file.name)) return fmt::format("'{}' is no file of a checkpoint", file.name);
  if (file.bytes < 0) return file.name + " has a negative size";
  for (const Manifest::Stretch& stretch : file.stretches) {
    if (stretch.begin < 0 || stretch.bytes < 0 || stretch.begin > file.bytes - stretch.bytes) {
      return fmt::format("{} does not lie in {}", stretch.dataset, file.name);
    }
  }
  return std::nullopt;
}

// By rows from top to bottom, each piece against those that reach down to it: few, as tensors are cut.
bool overlapping(const std::vector<Manifest::Piece>& pieces) {
  std::vector<Rectangle> places;
  for (const Manifest::Piece& piece : pieces) places.push_back(piece.place);
  std::sort(places.begin(), places.end(), [](const Rectangle& a, const Rectangle& b) { return a.row < b.row; });
  std::vector<Rectangle> reaching;
  for (const Rectangle& place : places) {
    std::erase_if(reaching, [&](const Rectangle& above) { return above.row + above.rows <= place.row; });
    for (const Rectangle& above : reaching) {
      if (intersection(above, place)) return true;
    }
    reaching.push_back(place);
  }
  return false;
}

std::optional<std::string> contradiction(const Manifest::Tensor& tensor, std::size_t files) {
  const auto wrong = [&](const char* what) { return fmt::format("{} {}", tensor.name, what); };
  if (tensor.shape.empty() || tensor.shape.size() > 2) return wrong("is neither vector nor matrix");
  std::int64_t elements = 1;
  for (const std::int64_t extent : tensor.shape) {
    if (extent < 1 || extent > kMostElements / elements) return wrong("has an impossible shape");
    elements *= extent;
  }
  const std::int64_t columns = tensor.shape.size() == 2 ? tensor.shape[1] : 1;
  std::int64_t covered = 0;
  for (const Manifest::Piece& piece : tensor.pieces) {
    const Rectangle& place = piece.place;
    const bool inside = place.row >= 0 && place.column >= 0 && place.rows > 0 && place.columns > 0 &&
                        place.rows <= tensor.shape[0] && place.row <= tensor.shape[0] - place.rows &&
                        place.columns <= columns && place.column <= columns - place.columns;
    if (!inside) return wrong("has a piece that does not lie in it");
    if (piece.begin < 0 || piece.begin > kMostElements) return wrong("has a piece at an impossible place");
    if (piece.file < 0 || static_cast<std::size_t>(piece.file) >= files)
      return wrong("lies in a file that is not there");
    covered += place.elements();
    if (covered > elements) return wrong("has pieces that overlap");
  }
  if (covered != elements) return wrong("is not whole");
  if (overlapping(tensor.pieces)) return wrong("has pieces that overlap");
  return std::nullopt;
}

std::optional<std::string> contradiction(const Manifest& manifest) {
  if (manifest.step < 0 || manifest.tokens < 0) return "a negative step";
  if (manifest.stored != "f32" && manifest.stored != "f64") return "numbers stored as '" + manifest.stored + "'";
  std::set<std::string> names;
  for (const Manifest::File& file : manifest.files) {
    if (!names.insert(file.name).second) return file.name + " is there twice";
    if (auto found = contradiction(file)) return found;
  }
  names.clear();
  for (const Manifest::Tensor& tensor : manifest.tensors) {
    if (!names.insert(tensor.name).second) return tensor.name + " is there twice";
    if (auto found = contradiction(tensor, manifest.files.size())) return found;
  }
  return std::nullopt;
}

}  // namespace

ordered_json to_json(const Manifest::File& file) {
  ordered_json stretches = ordered_json::array();
  for (const Manifest::Stretch& stretch : file.stretches) {
    stretches.push_back({stretch.dataset, stretch.begin, stretch.bytes, stretch.hash});
  }
  return {{"name", file.name}, {"bytes", file.bytes}, {"hash", file.hash}, {"stretches", std::move(stretches)}};
}

Manifest::File file_of(const ordered_json& json) {
  Manifest::File file{json.at("name").get<std::string>(), integer(json.at("bytes")),
                      json.at("hash").get<std::string>()};
  for (const ordered_json& entry : json.at("stretches")) {
    const ordered_json& row = row_of(entry, 4);
    file.stretches.push_back({row[0].get<std::string>(), integer(row[1]), integer(row[2]), row[3].get<std::string>()});
  }
  return file;
}

std::int64_t Manifest::Tensor::elements() const {
  return shape.size() == 2 ? shape[0] * shape[1] : shape[0];
}

std::string to_text(const Manifest& manifest) {
  std::string text = body_of(manifest);
  const std::string hash = hex_hash(text);
  append_member(text, "hash", hash);
  return text + "\n}\n";
}

Manifest parse_manifest(std::string_view text, const std::filesystem::path& path) {
  bool deep = false;  // what writes JSON recurses
  const auto shallow = [&deep](int depth, ordered_json::parse_event_t /*event*/, ordered_json& /*value*/) {
    deep = deep || depth > kDeepest;
    return !deep;
  };
  const ordered_json json = ordered_json::parse(text, shallow, /*allow_exceptions=*/false);
  if (deep || !json.is_object() || json.value("format", ordered_json()) != kFormat) {
    refuse(path, "is not a checkpoint's manifest, or damaged");
  }
  const ordered_json version = json.value("version", ordered_json());
  if (version != Manifest::kVersion) {
    throw Error(
        ExitCode::bad_checkpoint,
        fmt::format("{}: has version {}, this program reads {}", path.string(), version.dump(), Manifest::kVersion),
        "Use the program that wrote it.");
  }
  Manifest manifest;
  try {
    manifest = manifest_of(json);
    // The text is a function of what it says: a byte that was changed shows here, wherever it lies.
    if (to_text(manifest) != text) refuse(path, "is damaged: it is not as it was written");
  } catch (const ordered_json::exception& error) {
    refuse(path, fmt::format("is damaged: {}", error.what()));
  } catch (const DamagedCheckpoint&) {
    throw;
  } catch (const Error& error) {
    refuse(path, fmt::format("is damaged: {}", error.what()));
  }
  if (const auto found = contradiction(manifest)) refuse(path, fmt::format("contradicts itself: {}", *found));
  return manifest;
}

Manifest read_manifest(const std::filesystem::path& checkpoint) {
  const std::filesystem::path path = checkpoint / "manifest.json";
  if (!std::filesystem::exists(path)) refuse(path, "is missing");
  return parse_manifest(read_file(path), path);
}

}  // namespace headroom
