#include "trainer/checkpoint_writer.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <new>
#include <system_error>

#include "base/hash.h"
#include "base/hdf5.h"
#include "parallel/agreement.h"
#include "tensor/transfer.h"
#include "trainer/checkpoint_files.h"

namespace headroom {
namespace {

using nlohmann::ordered_json;

void copy_to_host(const Tensor& from, const Tensor& to) {
  if (from.device() != Device::cpu) {
    download_bytes(from, {static_cast<std::byte*>(to.raw()), static_cast<std::size_t>(to.bytes())});
    return;
  }
  // By all threads: one does not fill the memory's bandwidth.
  constexpr std::int64_t kChunk = std::int64_t{1} << 20;
  const auto* const source = static_cast<const std::byte*>(from.raw());
  auto* const target = static_cast<std::byte*>(to.raw());
  const std::int64_t bytes = from.bytes();
#pragma omp parallel for schedule(static)
  for (std::int64_t begin = 0; begin < bytes; begin += kChunk) {
    std::memcpy(target + begin, source + begin, static_cast<std::size_t>(std::min(kChunk, bytes - begin)));
  }
}

// Numbers [begin, begin + count) of a host tensor.
template <class Stored, class Kept>
void append_row(const Tensor& host, std::int64_t begin, std::int64_t count, std::vector<Stored>& numbers) {
  const Kept* const row = host.data<Kept>() + begin;
  std::transform(row, row + count, std::back_inserter(numbers), [](Kept value) {
    if constexpr (std::is_same_v<Kept, bf16>) {
      return static_cast<Stored>(static_cast<float>(value));
    } else {
      return static_cast<Stored>(value);
    }
  });
}

// The pieces of one parameter as they stand in its dataset.
template <class Stored>
std::vector<Stored> gathered(const Tensor& host, std::span<const ShardPiece> pieces) {
  std::vector<Stored> numbers;
  for (const ShardPiece& piece : pieces) {
    for (std::int64_t row = 0; row < piece.place.rows; ++row) {
      const std::int64_t begin = piece.state + row * piece.stride;
      switch (host.dtype()) {
        case DType::bf16:
          append_row<Stored, bf16>(host, begin, piece.place.columns, numbers);
          break;
        case DType::f32:
          append_row<Stored, float>(host, begin, piece.place.columns, numbers);
          break;
        default:
          append_row<Stored, double>(host, begin, piece.place.columns, numbers);
      }
    }
  }
  return numbers;
}

// Calls visit(pieces) for the pieces of each parameter.
template <class Visit>
void for_each_parameter(const std::vector<ShardPiece>& pieces, const Visit& visit) {
  for (auto begin = pieces.begin(); begin != pieces.end();) {
    const auto end =
        std::find_if(begin, pieces.end(), [&](const ShardPiece& piece) { return piece.parameter != begin->parameter; });
    visit(std::span<const ShardPiece>(begin, end));
    begin = end;
  }
}

// What goes wrong on the way to the disk, as an Error that all ranks can share: nothing that a thread throws may be
// less.
std::string write_or_fail(const std::function<std::string()>& work) {
  try {
    return work();
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw Error(ExitCode::out_of_memory, "no memory to write a checkpoint from");
  } catch (const std::system_error& error) {
    throw Error(ExitCode::disk_full, error.what());
  } catch (const std::exception& error) {
    throw Error(ExitCode::internal, error.what());
  }
}

// What a rank tells rank 0 of its file: the file, and of each piece [parameter, begin, row, column, rows, columns].
ordered_json part_of(const Manifest::File& file, const std::vector<ShardPiece>& pieces) {
  ordered_json places = ordered_json::array();
  for_each_parameter(pieces, [&](std::span<const ShardPiece> own) {
    std::int64_t begin = 0;
    for (const ShardPiece& piece : own) {
      const Rectangle& place = piece.place;
      places.push_back({piece.parameter, begin, place.row, place.column, place.rows, place.columns});
      begin += place.elements();
    }
  });
  return {{"file", to_json(file)}, {"pieces", std::move(places)}};
}

void add_part(const std::string& text, std::int64_t index, Manifest& manifest) {
  const ordered_json part = ordered_json::parse(text);
  manifest.files.push_back(file_of(part.at("file")));
  for (const ordered_json& row : part.at("pieces")) {
    manifest.tensors[row[0].get<std::size_t>()].pieces.push_back({index, row[1], {row[2], row[3], row[4], row[5]}});
  }
}

}  // namespace

CheckpointWriter::CheckpointWriter(CheckpointDirectory directory, Engine& engine, const Mesh& mesh, Retention retention)
    : directory_(std::move(directory)),
      store_(&engine.model().parameters()),
      mesh_(&mesh),
      retention_(retention),
      stored_(accumulator_of(store_->dtype())),
      pieces_(pieces_of(*store_, engine.shard())) {
  // What every tensor rank holds alike, the first one writes.
  std::erase_if(pieces_, [&](const ShardPiece& piece) {
    return mesh.tensor().rank() != 0 && (*store_)[piece.parameter].partition == Partition::replicated;
  });
  const AdamW& optimizer = engine.optimizer();
  std::vector<Tensor> weights;
  if (optimizer.master().present()) {
    weights.push_back(optimizer.master());
  } else {
    for (const Bucket& bucket : store_->buckets()) {
      const Bucket own = engine.shard().slot(bucket);
      weights.push_back(store_->values().flat_range(own.offset, own.size));
    }
  }
  const auto add = [&](const char* kind, std::vector<Tensor> sources) {
    std::int64_t bytes = 0;
    for (const Tensor& source : sources) bytes += source.bytes();
    Buffer memory(static_cast<std::size_t>(bytes), Device::cpu, "the copy that checkpoints are written from");
    // Touched now: a page that is new costs a step more than its copy.
    std::memset(memory.data(), 0, memory.bytes());
    const DType dtype = sources.front().dtype();
    const Tensor host = memory.tensor({bytes / static_cast<std::int64_t>(size_of(dtype))}, dtype);
    copies_.push_back({kind, std::move(sources), std::move(memory), host});
  };
  add("weights", std::move(weights));
  add("first_moment", {optimizer.first_moment()});
  add("second_moment", {optimizer.second_moment()});
}

std::int64_t CheckpointWriter::copy_bytes() const {
  std::int64_t bytes = 0;
  for (const Copy& copy : copies_) bytes += copy.host.bytes();
  return bytes;
}

void CheckpointWriter::begin(CheckpointText text) {
  HEADROOM_CHECK(!busy(), "a checkpoint of step {} while that of {} is under way", text.step, text_.step);
  on_root(mesh_->world(), [&] {
    directory_.begin(text.step);
    return std::string();
  });
  begun_ = Stopwatch();
  for (const Copy& copy : copies_) {
    std::int64_t begin = 0;
    for (const Tensor& source : copy.sources) {
      copy_to_host(source, copy.host.flat_range(begin, source.elements()));
      begin += source.elements();
    }
  }
  copy_seconds_ = begun_.seconds();
  text_ = std::move(text);
  stage_ = Stage::writing;
  work_ = std::async(std::launch::async, [this] { return write_or_fail([this] { return write_rank_file(); }); });
}

bool CheckpointWriter::ready() const {
  return !work_.valid() || work_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

std::optional<CheckpointReceipt> CheckpointWriter::advance() {
  HEADROOM_CHECK(busy(), "no checkpoint is under way");
  Communicator& world = mesh_->world();
  std::string result;
  std::optional<Error> own;
  if (work_.valid()) {
    try {
      result = work_.get();
    } catch (const Error& error) {
      own = error;
    }
  }
  if (const std::optional<Error> failure = first_failure(world, own)) {
    stage_ = Stage::idle;
    if (world.rank() == 0) directory_.give_up(text_.step);
    throw Error(*failure);
  }
  if (stage_ == Stage::writing) {
    const auto bytes = std::as_bytes(std::span<const char>(result.data(), result.size()));
    std::vector<std::string> parts;
    for (const std::vector<std::byte>& part : world.gather_bytes(bytes, 0)) {
      parts.emplace_back(reinterpret_cast<const char*>(part.data()), part.size());
    }
    stage_ = Stage::publishing;
    if (world.rank() == 0) {
      work_ = std::async(std::launch::async, [this, all = std::move(parts)] {
        return write_or_fail([this, &all] { return publish(all); });
      });
    }
    return std::nullopt;
  }
  stage_ = Stage::idle;
  const auto told = ordered_json::parse(on_root(world, [&] { return result; }));
  return CheckpointReceipt{.path = directory_.complete(text_.step),
                           .bytes = told.at("bytes"),
                           .copy_seconds = copy_seconds_,
                           .total_seconds = begun_.seconds(),
                           .trouble = told.at("trouble")};
}

CheckpointReceipt CheckpointWriter::finish() {
  constexpr auto kLook = std::chrono::seconds(1);
  for (;;) {
    // A rank whose own part is done meets the others every now and then: waiting for a slow disk is no hang.
    std::int64_t under_way = 1;
    while (under_way != 0) {
      if (work_.valid()) work_.wait_for(kLook);
      under_way = ready() ? 0 : 1;
      mesh_->world().all_reduce(std::span<std::int64_t>(&under_way, 1), Reduction::max);
    }
    if (const std::optional<CheckpointReceipt> receipt = advance()) return *receipt;
  }
}

std::string CheckpointWriter::write_rank_file() const {
  const std::filesystem::path path = directory_.partial(text_.step) / rank_file(mesh_->world().rank());
  H5File file = H5File::create(path);
  std::vector<Manifest::Stretch> stretches;
  const auto write = [&]<class Stored>(const Copy& copy, std::span<const ShardPiece> own) {
    const std::string dataset = copy.kind + "/" + (*store_)[own.front().parameter].name;
    const std::vector<Stored> numbers = gathered<Stored>(copy.host, own);
    file.write<Stored>(dataset, numbers, {std::ssize(numbers)});
    const auto bytes = std::as_bytes(std::span<const Stored>(numbers));
    stretches.push_back({dataset, file.place_in_file(dataset), std::ssize(bytes), hex_digits(hash_of(bytes))});
  };
  for (const Copy& copy : copies_) {
    for_each_parameter(pieces_, [&](std::span<const ShardPiece> own) {
      stored_ == DType::f64 ? write.operator()<double>(copy, own) : write.operator()<float>(copy, own);
    });
  }
  file.commit();

  return part_of(read_back(path, std::move(stretches)), pieces_).dump();
}

// Returns {bytes, trouble} for the receipt.
std::string CheckpointWriter::publish(const std::vector<std::string>& parts) const {
  const std::filesystem::path partial = directory_.partial(text_.step);
  Manifest manifest{.step = text_.step,
                    .tokens = text_.tokens,
                    .layout = fmt::format("{}x{}", mesh_->layout().data, mesh_->layout().tensor),
                    .dtype = std::string(name_of(store_->dtype())),
                    .stored = std::string(name_of(stored_)),
                    .identity = text_.identity,
                    .state = text_.state,
                    .about = text_.about,
                    .kinds = {},
                    .files = {},
                    .tensors = {}};
  for (const Copy& copy : copies_) manifest.kinds.push_back(copy.kind);
  for (const Parameter& parameter : store_->all()) {
    Manifest::Tensor tensor{parameter.name, {}};
    for (int axis = 0; axis < parameter.logical.rank(); ++axis) tensor.shape.push_back(parameter.logical[axis]);
    manifest.tensors.push_back(std::move(tensor));
  }
  for (std::size_t rank = 0; rank < parts.size(); ++rank) {
    add_part(parts[rank], static_cast<std::int64_t>(rank), manifest);
  }
  const std::int64_t bytes = complete_files(partial, std::move(manifest), text_.config_toml);
  directory_.publish(text_.step);
  // The checkpoint is complete; what comes behind it is tried again with the next.
  std::string trouble;
  try {
    directory_.point_latest();
    directory_.prune(retention_, text_.step);
  } catch (const Error& error) {
    trouble = error.what();
  }
  return ordered_json({{"bytes", bytes}, {"trouble", trouble}}).dump();
}

}  // namespace headroom
