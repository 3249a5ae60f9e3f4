// headroom bench: a config's training step, or a model's forward, on this machine.
#include <fmt/core.h>

#include <filesystem>
#include <string>
#include <vector>

#include "launch/mpi_verb.h"
#include "launch/verbs.h"
#include "trainer/benchmark.h"
#include "trainer/checkpoint_benchmark.h"
#include "trainer/config_schema.h"
#include "trainer/hardware.h"
#include "trainer/kernel_table.h"
#include "trainer/model_benchmark.h"
#include "trainer/open_model.h"

namespace headroom {
namespace {

void print_table(const BenchmarkResult& result) {
  const auto row = [](const char* label, const std::string& value) { fmt::print("{:<34} {}\n", label, value); };
  row("layout (data x tensor), threads",
      fmt::format("{}x{}, {} a rank", result.layout.data, result.layout.tensor, result.threads));
  row("parameters", fmt::format("{:.2f} M", static_cast<double>(result.parameters) * 1e-6));
  row("step (median)", fmt::format("{:.1f} ms over {} steps", result.step_seconds * 1e3, result.steps));
  row("tokens/s", fmt::format("{:.0f}", result.tokens_per_second));
  row("model FLOP/s", fmt::format("{:.1f} GFLOP/s", result.flops_per_second * 1e-9));
  if (result.product_seconds > 0.0) {
    row("its matrix products alone", fmt::format("{:.1f} ms", result.product_seconds * 1e3));
    row("speed of light (products / step)", fmt::format("{:.3f}", result.speed_of_light));
  }
  row("peak memory of a rank", fmt::format("{:.0f} MiB", static_cast<double>(result.peak_memory_bytes) / 1048576.0));
  row("sent by a rank a step",
      fmt::format("{:.3f} MB, formula {:.3f} MB", static_cast<double>(result.communicated_bytes) * 1e-6,
                  result.communicated_formula * 1e-6));
  if (result.host_waits > 0.0) row("the host waits for the GPU", fmt::format("{:.1f} times a step", result.host_waits));
  row("monitor", fmt::format("{:.2f} % of the step", result.monitor_share * 100.0));
  row("a snapshot", fmt::format("{:.2f} s", result.snapshot_seconds));
}

void print_kernels(const KernelTable& table) {
  const GpuFigures* const gpu = find_gpu(table.device);
  fmt::print("{}: a large copy moves {:.0f} GB/s\n\n{:<36} {:>10}  {}\n", table.device, table.copy_bandwidth * 1e-9,
             "operation", "time", "against its limit");
  for (const KernelTiming& kernel : table.kernels) {
    std::string rate;
    if (kernel.bytes > 0.0) {
      const double bandwidth = kernel.bytes / kernel.seconds;
      rate = fmt::format("{:8.0f} GB/s     {:4.0f} % of the copy", bandwidth * 1e-9,
                         100.0 * bandwidth / table.copy_bandwidth);
    } else {
      rate = fmt::format("{:8.1f} TFLOP/s", kernel.flops / kernel.seconds * 1e-12);
      if (gpu != nullptr) {
        rate += fmt::format("  {:4.0f} % of {}'s peak", 100.0 * kernel.flops / kernel.seconds / gpu->flops(table.dtype),
                            name_of(table.dtype));
      }
    }
    fmt::print("{:<36} {:>7.1f} us  {}\n", kernel.name, kernel.seconds * 1e6, rate);
  }
}

void print_checkpoints(const CheckpointBenchmark& result) {
  const auto row = [](const char* label, const std::string& value) { fmt::print("{:<46} {}\n", label, value); };
  const auto rate = [](double bytes, double seconds) {
    return fmt::format("{:8.1f} ms  {:6.2f} GB/s", seconds * 1e3, bytes / seconds * 1e-9);
  };
  const auto copied = static_cast<double>(result.copy_bytes);
  const auto written = static_cast<double>(result.bytes);
  row("parameters", fmt::format("{:.2f} M", static_cast<double>(result.parameters) * 1e-6));
  row("a rank's state", fmt::format("{:.1f} MB", copied * 1e-6));
  row("plain copy of it (one thread)", rate(copied, result.plain_copy_seconds));
  row("what a step waits for", rate(copied, result.stall_seconds));
  row("  against the plain copy", fmt::format("{:.2f}", result.stall_seconds / result.plain_copy_seconds));
  row("until the checkpoint is complete", rate(written, result.write_seconds));
  row("plain read of its files", rate(written, result.read_seconds));
  row("going on: every byte against its hash", rate(written, result.verify_seconds));
  row("going on: tensors into the engine", rate(written, result.load_seconds));
}

void print_model(const ModelBenchmark& result) {
  const auto row = [](const char* label, const std::string& value) { fmt::print("{:<34} {}\n", label, value); };
  row("forward and losses", fmt::format("{:.3f} s for {} tokens", result.forward_seconds, result.tokens));
  row("tokens/s", fmt::format("{:.0f}", static_cast<double>(result.tokens) / result.forward_seconds));
  row("its matrix products alone", fmt::format("{:.3f} s", result.product_seconds));
  row("forward / products", fmt::format("{:.3f}", result.to_products()));
  row("with a study's statistics", fmt::format("{:.3f} s", result.watched_seconds));
  row("  which cost", fmt::format("{:.1f} % of the forward", result.statistics_share() * 100.0));
}

class BenchVerb : public Verb {
 public:
  BenchVerb() : Verb("bench", "Time a config's training step, or a model's forward, against its own matrix products") {}

  void declare(CLI::App& app) override {
    app.add_option("what", what_,
                   "A run's config, TOML, of which train.steps steps are timed; or a MODEL, whose forward is")
        ->required()
        ->type_name("FILE|MODEL");
    of_config_.push_back(
        app.add_option("--set", overrides_, "Override a key, e.g. --set parallel.threads=2; may be given many times")
            ->type_name("KEY=VALUE")
            ->allow_extra_args(false));
    of_config_.push_back(app.add_flag(
        "--kernels", kernels_,
        "Time the main operations of the step alone, against memory bandwidth or arithmetic, on one rank"));
    of_config_.push_back(
        app.add_option(
               "--checkpoint", checkpoint_,
               "Instead: what saving and loading the config's state cost, in this directory, which is made and removed")
            ->excludes("--kernels")
            ->type_name("DIR"));
    of_model_.push_back(app.add_option("--sequences", size_.sequences, "Of a MODEL: so many at a time")
                            ->check(CLI::Range(1, 1'000'000))
                            ->capture_default_str());
    of_model_.push_back(app.add_option("--tokens", size_.tokens, "Of a MODEL: of each sequence")
                            ->check(CLI::Range(2, 1'000'000))
                            ->capture_default_str());
    of_model_.push_back(app.add_option("--rounds", size_.rounds, "Of a MODEL: passes that count")
                            ->check(CLI::Range(1, 1000))
                            ->capture_default_str());
    app.footer(
        "Works on random tokens; needs no corpus and writes no run directory. Prints a table, then the same as one\n"
        "line of JSON. A config's step runs on several ranks with mpirun -n N headroom bench FILE; a model's forward,\n"
        "a Hugging Face directory's, a run's or a checkpoint's, on one, with as many threads as OMP_NUM_THREADS says.");
  }

  ExitCode run() override {
    const bool model = std::filesystem::is_directory(what_);
    for (const CLI::Option* option : model ? of_config_ : of_model_) {
      if (option->count() == 0) continue;
      throw Error(ExitCode::usage,
                  fmt::format("{} goes with {}", option->get_name(), model ? "a config" : "a model's directory"),
                  "`headroom bench --help` says what belongs to which.");
    }
    if (model) return bench_model();
    if (kernels_) {
      const KernelTable table = time_kernels(load_config(what_, overrides_));
      print_kernels(table);
      fmt::print("{}\n", to_json(table).dump());
      return ExitCode::done;
    }
    if (!checkpoint_.empty()) return bench_checkpoints();
    return run_on_all_ranks([&](ParallelRuntime& runtime) {
      const BenchmarkResult result = run_benchmark(load_config(what_, overrides_), runtime);
      if (runtime.rank() == 0) {
        print_table(result);
        fmt::print("{}\n", to_json(result).dump());
      }
      return ExitCode::done;
    });
  }

 private:
  ExitCode bench_model() const {
    OpenedModel model = open_model(what_);
    const ModelBenchmark result = benchmark_model(*model.decoder, size_);
    print_model(result);
    fmt::print("{}\n", to_json(result).dump());
    return ExitCode::done;
  }

  ExitCode bench_checkpoints() {
    constexpr int kRounds = 5;
    if (std::filesystem::exists(checkpoint_)) {
      throw Error(ExitCode::usage, fmt::format("'{}' exists already", checkpoint_), "Name a directory to be made.");
    }
    return run_on_all_ranks([&](ParallelRuntime& runtime) {
      const CheckpointBenchmark result =
          benchmark_checkpoints(load_config(what_, overrides_), checkpoint_, kRounds, runtime);
      if (runtime.rank() == 0) {
        print_checkpoints(result);
        fmt::print("{}\n", to_json(result).dump());
      }
      return ExitCode::done;
    });
  }

  std::string what_;
  std::vector<std::string> overrides_;
  std::string checkpoint_;
  bool kernels_ = false;
  ModelBenchmarkSize size_;
  std::vector<const CLI::Option*> of_config_;
  std::vector<const CLI::Option*> of_model_;
};

}  // namespace

std::unique_ptr<Verb> make_bench_verb() {
  return std::make_unique<BenchVerb>();
}

}  // namespace headroom
