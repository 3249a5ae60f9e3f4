#include "trainer/benchmark.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "analysis/monitor.h"
#include "analysis/snapshot.h"
#include "base/random.h"
#include "base/system.h"
#include "tensor/backend.h"
#include "tensor/cpu/product_log.h"
#include "trainer/communication_formula.h"
#include "trainer/engine.h"
#include "trainer/hardware.h"
#include "trainer/median.h"
#include "trainer/start_up.h"

namespace headroom {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kWarmUp = 2;         // steps: pages, threads and connections
constexpr std::int64_t kVocabulary = 8192;  // when the config leaves it to a corpus
constexpr int kReplays = 5;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

Batch random_batch(std::int64_t sequences, std::int64_t seq, std::int64_t vocab, std::uint64_t key) {
  Batch batch{sequences, seq, {}, {}};
  const RandomStream stream(key, "benchmark tokens");
  for (std::int64_t token = 0; token < sequences * seq; ++token) {
    const auto words = stream.bits(static_cast<std::uint64_t>(token));
    batch.ids.push_back(static_cast<std::int32_t>(words[0] % static_cast<std::uint64_t>(vocab)));
    batch.targets.push_back(static_cast<std::int32_t>(words[1] % static_cast<std::uint64_t>(vocab)));
  }
  return batch;
}

// The monitor, and how long it takes.
class TimedMonitor final : public ActivationTap {
 public:
  TimedMonitor(const ModelConfig& model, Device device) : monitor_(model.n_layers, model.hidden_size, device) {}

  void hidden(Site site, std::int64_t layer, const Tensor& rows, std::int64_t first_row) override {
    const auto begin = Clock::now();
    monitor_.hidden(site, layer, rows, first_row);
    seconds_ += seconds_since(begin);
  }
  void attention(std::int64_t layer, const AttentionView& view) override { monitor_.attention(layer, view); }

  Monitor& monitor() { return monitor_; }
  void collect(const Mesh& mesh) {
    const auto begin = Clock::now();
    monitor_.collect(mesh);
    seconds_ += seconds_since(begin);
  }
  double seconds() const { return seconds_; }
  void reset() { seconds_ = 0.0; }

 private:
  Monitor monitor_;
  double seconds_ = 0.0;
};

// As many sequences as the config's snapshots have, of random tokens.
ProbeSet random_probe(const RunConfig& config) {
  ProbeSet probe;
  const std::int64_t tokens = std::min(config.snapshot.calibration_tokens, config.model.seq_len);
  const auto count =
      2 * (static_cast<std::int64_t>(config.snapshot.sentences.size()) + config.snapshot.calibration_sequences);
  for (std::int64_t index = 0; index < count; ++index) {
    const Batch batch = random_batch(1, tokens, config.model.vocab_size, static_cast<std::uint64_t>(index));
    probe.sequences.push_back({batch.ids, false, ProbeKind::calibration, {}, {}});
    for (const std::int32_t id : batch.ids) probe.sequences.back().pieces.push_back(std::to_string(id));
  }
  return probe;
}

double time_snapshot(const RunConfig& config, Transformer& model, const Mesh& mesh) {
  const auto begin = Clock::now();
  const ProbeSet probe = random_probe(config);
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / fmt::format("headroom-bench-{}.h5", getpid());
  SnapshotSession session(mesh, config.model, probe, config.snapshot);
  session.run([&](const Batch& batch, ActivationTap& tap) { model.evaluate(batch, &tap); });
  session.write(path, {}, model.parameters());
  const double seconds = seconds_since(begin);
  std::filesystem::remove(path);
  return seconds;
}

}  // namespace

BenchmarkResult run_benchmark(const RunConfig& loaded, ParallelRuntime& runtime) {
  const StartedRanks started = start_ranks(loaded, runtime);
  const Device device = started.device;
  const Mesh& mesh = started.mesh;
  const Layout layout = mesh.layout();
  const RunConfig config =
      resolved_for(loaded, layout, loaded.model.vocab_size == 0 ? kVocabulary : loaded.model.vocab_size);
  const std::int64_t tokens = config.train.global_batch * config.model.seq_len;

  Engine engine(config, mesh, device);
  TimedMonitor monitor(config.model, device);
  std::vector<Batch> batches;
  for (std::int64_t done = 0; done < config.train.global_batch / layout.data; done += config.train.micro_batch) {
    batches.push_back(random_batch(config.train.micro_batch, config.model.seq_len, config.model.vocab_size,
                                   static_cast<std::uint64_t>(mesh.data().rank() * config.train.global_batch + done)));
  }
  const bool on_gpu = device == Device::cuda;
  const auto traffic = [&] { return mesh.data().traffic().bytes + mesh.tensor().traffic().bytes; };
  // A GPU works behind the host's back, so there the monitor's cost shows in whole steps only: every other step is made
  // without it. The GPU gets the monitor itself, whose summaries are by-products; TimedMonitor is shown the rows.
  const auto step = [&](std::int64_t number, bool watched) {
    const auto begin = Clock::now();
    monitor.monitor().begin_step();
    ActivationTap* const tap = on_gpu ? static_cast<ActivationTap*>(&monitor.monitor()) : &monitor;
    engine.step(number, config.optim.lr, batches, watched ? tap : nullptr,
                [&](std::size_t) { monitor.monitor().begin_micro_batch(0, config.model.seq_len); });
    if (watched) monitor.collect(mesh);
    return seconds_since(begin);
  };
  for (std::int64_t number = 1; number <= kWarmUp; ++number) step(number, config.monitor.enabled);
  monitor.reset();
  const std::int64_t before = traffic();
  const std::int64_t waits_before = backend(device).waits();
  std::vector<double> seconds;
  std::vector<double> unwatched;
  for (std::int64_t number = 1; number <= config.train.steps; ++number) {
    mesh.world().barrier();
    seconds.push_back(step(kWarmUp + number, config.monitor.enabled));
    if (!on_gpu || !config.monitor.enabled) continue;
    mesh.world().barrier();
    unwatched.push_back(step(kWarmUp + number, false));
  }
  const std::int64_t sent = (traffic() - before) / (config.train.steps + static_cast<std::int64_t>(unwatched.size()));
  const auto waits = static_cast<double>(backend(device).waits() - waits_before);
  mesh.world().all_reduce(std::span<double>(seconds), Reduction::max);
  mesh.world().all_reduce(std::span<double>(unwatched), Reduction::max);

  BenchmarkResult result{.steps = config.train.steps, .layout = layout, .threads = started.threads};
  result.step_seconds = median(seconds);
  result.tokens_per_second = static_cast<double>(tokens) / result.step_seconds;
  result.flops_per_second = engine.model().flops_per_token(config.model.seq_len) * result.tokens_per_second;
  result.communicated_bytes = sent;
  result.host_waits = waits / static_cast<double>(config.train.steps + static_cast<std::int64_t>(unwatched.size()));
  const CommunicationFormula formula = communication_formula(config, layout);
  result.communicated_formula = formula.data_bytes + formula.tensor_bytes;
  result.monitor_share = unwatched.empty()
                             ? monitor.seconds() / static_cast<double>(config.train.steps) / result.step_seconds
                             : result.step_seconds / median(unwatched) - 1.0;
  result.parameters = engine.model().parameters().logical_elements();
  result.peak_memory_bytes = static_cast<std::int64_t>(backend(device).peak_bytes());
  mesh.world().all_reduce(std::span<std::int64_t>(&result.peak_memory_bytes, 1), Reduction::max);

  if (on_gpu) {
    const GpuFigures* const gpu = find_gpu(backend(device).devices().front());
    if (gpu != nullptr) {
      result.product_seconds =
          result.flops_per_second * result.step_seconds / layout.ranks() / gpu->flops(config.train.dtype);
    }
  } else {
    std::vector<cpu::Product> products;
    {
      const cpu::ProductLog log;
      step(kWarmUp + config.train.steps + 1, config.monitor.enabled);
      products = log.products();
    }
    mesh.world().barrier();
    result.product_seconds = cpu::replay_seconds(products, kReplays);
    mesh.world().all_reduce(std::span<double>(&result.product_seconds, 1), Reduction::max);
  }
  result.speed_of_light = result.product_seconds / result.step_seconds;
  result.snapshot_seconds = time_snapshot(config, engine.model(), mesh);
  return result;
}

nlohmann::ordered_json to_json(const BenchmarkResult& result) {
  return {{"tokens_per_second", result.tokens_per_second},
          {"step_seconds", result.step_seconds},
          {"gemm_seconds", result.product_seconds},
          {"speed_of_light", result.speed_of_light},
          {"peak_memory_bytes", result.peak_memory_bytes},
          {"flops_per_second", result.flops_per_second},
          {"comm_bytes", result.communicated_bytes},
          {"comm_bytes_formula", result.communicated_formula},
          {"host_waits", result.host_waits},
          {"monitor_share", result.monitor_share},
          {"snapshot_seconds", result.snapshot_seconds},
          {"parameters", result.parameters},
          {"layout", fmt::format("{}x{}", result.layout.data, result.layout.tensor)},
          {"threads", result.threads},
          {"steps", result.steps}};
}

}  // namespace headroom
