#include "trainer/checkpoint_benchmark.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <vector>

#include "base/descriptor.h"
#include "base/file.h"
#include "base/file_hash.h"
#include "base/stopwatch.h"
#include "parallel/agreement.h"
#include "tensor/transfer.h"
#include "trainer/checkpoint_reader.h"
#include "trainer/checkpoint_writer.h"
#include "trainer/median.h"
#include "trainer/start_up.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;

double seconds_of(const std::function<void()>& work) {
  const Stopwatch watch;
  work();
  return watch.seconds();
}

// Every byte once, into the same memory again and again.
void read_through(const fs::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::vector<char> block(std::size_t{1} << 20);
  ssize_t count = file ? 0 : -1;
  for (std::uint64_t place = 0; count >= 0; place += static_cast<std::uint64_t>(count)) {
    count = read_at(file.get(), block.data(), block.size(), place);
    if (count == 0) return;
  }
  throw_read_error(path, errno);
}

// The rank's state with nothing around it: what a copy cannot be faster than by one thread.
class PlainCopy {
 public:
  explicit PlainCopy(Engine& engine) {
    const AdamW& optimizer = engine.optimizer();
    sources_ = {optimizer.first_moment(), optimizer.second_moment()};
    if (optimizer.master().present()) sources_.push_back(optimizer.master());
    for (const Bucket& bucket : engine.model().parameters().buckets()) {
      const Bucket own = engine.shard().slot(bucket);
      if (!optimizer.master().present()) {
        sources_.push_back(engine.model().parameters().values().flat_range(own.offset, own.size));
      }
    }
    for (const Tensor& source : sources_) targets_.emplace_back(static_cast<std::size_t>(source.bytes()), std::byte{1});
  }

  void run() {
    for (std::size_t index = 0; index < sources_.size(); ++index) {
      if (sources_[index].device() == Device::cpu) {
        std::memcpy(targets_[index].data(), sources_[index].raw(), targets_[index].size());
      } else {
        download_bytes(sources_[index], targets_[index]);
      }
    }
  }

 private:
  std::vector<Tensor> sources_;
  std::vector<std::vector<std::byte>> targets_;
};

}  // namespace

CheckpointBenchmark benchmark_checkpoints(const RunConfig& loaded, const fs::path& directory, int rounds,
                                          ParallelRuntime& runtime) {
  constexpr std::int64_t kVocabulary = 8192;  // where the config leaves it to a corpus
  const StartedRanks started = start_ranks(loaded, runtime);
  const Mesh& mesh = started.mesh;
  const RunConfig config =
      resolved_for(loaded, mesh.layout(), loaded.model.vocab_size == 0 ? kVocabulary : loaded.model.vocab_size);
  Engine engine(config, mesh, started.device);
  on_root(mesh.world(), [&] {
    make_directories(directory);
    return std::string();
  });
  CheckpointWriter writer(CheckpointDirectory(directory), engine, mesh, {.newest = 1});
  PlainCopy plain(engine);

  CheckpointBenchmark result;
  result.parameters = engine.model().parameters().logical_elements();
  result.copy_bytes = writer.copy_bytes();
  std::vector<double> plain_copies;
  std::vector<double> stalls;
  std::vector<double> writes;
  std::vector<double> reads;
  std::vector<double> verifications;
  std::vector<double> loads;
  fs::path path;
  for (int round = 0; round < rounds; ++round) {
    plain_copies.push_back(seconds_of([&] { plain.run(); }));
    stalls.push_back(seconds_of([&] { writer.begin({.step = round + 1, .config_toml = "# a benchmark's\n"}); }));
    const CheckpointReceipt receipt = writer.finish();
    path = receipt.path;
    result.bytes = receipt.bytes;
    writes.push_back(receipt.total_seconds);
    const Manifest written = read_manifest(path);
    reads.push_back(seconds_of([&] {
      for (const Manifest::File& file : written.files) read_through(path / file.name);
    }));
    VerifiedCheckpoint verified;
    verifications.push_back(seconds_of([&] { verified = verify_checkpoint(path, mesh.world()); }));
    HEADROOM_CHECK(verified.damage.empty(), "{}", verified.damage);
    loads.push_back(seconds_of([&] { load_tensors(path, verified.manifest, engine, mesh); }));
  }
  double slowest[] = {median(plain_copies), median(stalls),        median(writes),
                      median(reads),        median(verifications), median(loads)};
  mesh.world().all_reduce(std::span<double>(slowest), Reduction::max);
  result.plain_copy_seconds = slowest[0];
  result.stall_seconds = slowest[1];
  result.write_seconds = slowest[2];
  result.read_seconds = slowest[3];
  result.verify_seconds = slowest[4];
  result.load_seconds = slowest[5];
  mesh.world().barrier();
  if (mesh.world().rank() == 0) fs::remove_all(directory);
  return result;
}

nlohmann::ordered_json to_json(const CheckpointBenchmark& result) {
  return {{"parameters", result.parameters},
          {"copy_bytes", result.copy_bytes},
          {"bytes", result.bytes},
          {"plain_copy_seconds", result.plain_copy_seconds},
          {"stall_seconds", result.stall_seconds},
          {"stall_ratio", result.stall_seconds / result.plain_copy_seconds},
          {"write_seconds", result.write_seconds},
          {"read_seconds", result.read_seconds},
          {"verify_seconds", result.verify_seconds},
          {"load_seconds", result.load_seconds},
          {"resume_ratio", (result.verify_seconds + result.load_seconds) / result.read_seconds}};
}

}  // namespace headroom
