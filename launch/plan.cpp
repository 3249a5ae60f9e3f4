// headroom plan: what a run would take on GPUs that are not at hand.
#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/system.h"
#include "launch/verbs.h"
#include "trainer/config_schema.h"
#include "trainer/plan.h"
#include "trainer/verify.h"

namespace headroom {
namespace {

std::string bytes_text(double bytes) {
  return memory_text(static_cast<std::int64_t>(bytes));
}

void row(const std::string& label, const std::string& value) {
  fmt::print("  {:<28} {}\n", label, value);
}

void print_memory(const TrainingPlan& plan) {
  fmt::print("Memory of a rank\n");
  for (const Arena::Category& category : plan.memory) {
    row(category.name, fmt::format("{:>10}  {:5.1f} %  {} bytes", bytes_text(static_cast<double>(category.bytes)),
                                   100.0 * static_cast<double>(category.bytes) / plan.memory_bytes, category.bytes));
  }
  row("driver and libraries", fmt::format("{:>10}  (assumed)", bytes_text(plan.reserved_bytes)));
  row("together", fmt::format("{:>10}  of {} of a {}", bytes_text(plan.memory_bytes + plan.reserved_bytes),
                              bytes_text(plan.gpu.memory_bytes), plan.gpu.name));
}

void print_communication(const TrainingPlan& plan) {
  fmt::print("Sent by a rank in a step\n");
  row("data axis", fmt::format("{:>10}  gradients reduce-scattered, parameters gathered", bytes_text(plan.data_bytes)));
  row("tensor axis",
      fmt::format("{:>10}  hidden states of each half block, the head's sums", bytes_text(plan.tensor_bytes)));
}

void print_time(const TrainingPlan& plan) {
  const StepPrediction& step = plan.step;
  const auto part = [&](const char* label, double seconds, const std::string& assumption) {
    row(label, fmt::format("{:9.1f} ms  {:5.1f} %  {}", seconds * 1e3, 100.0 * seconds / step.seconds(), assumption));
  };
  fmt::print("Predicted time of a step (arithmetic over data-sheet figures, not a measurement)\n");
  part("matrix products, attention", step.products,
       fmt::format("at {:.0f} % of {:.0f} TFLOP/s", 100.0 * kProductShare,
                   plan.gpu.flops(plan.config.train.dtype) * 1e-12));
  part("passes over memory", step.passes,
       fmt::format("at {:.0f} % of {:.2f} TB/s", 100.0 * kMemoryShare, plan.gpu.memory_bandwidth * 1e-12));
  part("optimizer", step.optimizer, "the same");
  part("tensor axis", step.tensor_traffic, fmt::format("at {:.0f} % of the link", 100.0 * kNetworkShare));
  part("data axis", step.data_exposed,
       fmt::format("of {:.1f} ms; the rest behind the backward", step.data_traffic * 1e3));
  row("together", fmt::format("{:9.1f} ms  {:.0f} tokens/s, {:.0f} a GPU, MFU {:.0f} %", step.seconds() * 1e3,
                              plan.tokens_per_second, plan.tokens_per_second / plan.layout.ranks(), 100.0 * plan.mfu));
  const double tokens =
      static_cast<double>(plan.config.train.steps * plan.config.train.global_batch * plan.config.model.seq_len);
  row("the whole run", fmt::format("{:9.1f} h   {:.1f} B tokens in {} steps", tokens / plan.tokens_per_second / 3600.0,
                                   tokens * 1e-9, plan.config.train.steps));
}

// The smallest change of the config that would fit, as --set options; empty if none was found.
std::string what_would_fit(const RunConfig& loaded, const Layout& layout, const GpuFigures& gpu) {
  const char* const levels[] = {"none", "norms", "attention", "block"};
  const std::int64_t share = loaded.train.global_batch / layout.data;
  const std::int64_t now = loaded.train.micro_batch == 0 ? share : loaded.train.micro_batch;
  for (std::int64_t micro_batch = now; micro_batch >= 1; --micro_batch) {
    if (share % micro_batch != 0) continue;
    for (auto level = static_cast<std::size_t>(loaded.train.recompute); level < std::size(levels); ++level) {
      RunConfig changed = loaded;
      changed.train.micro_batch = micro_batch;
      changed.train.recompute = static_cast<Recompute>(level);
      if (!plan_training(changed, layout, gpu).fits()) continue;
      return fmt::format("--set train.micro_batch={} --set train.recompute={}", micro_batch, levels[level]);
    }
  }
  return "";
}

class PlanVerb : public Verb {
 public:
  PlanVerb() : Verb("plan", "Memory, traffic and predicted time of a run on GPUs that are not at hand") {}

  void declare(CLI::App& app) override {
    app.add_option("config", config_, "A run's config, TOML")->required()->type_name("FILE");
    app.add_option("--gpus", gpus_, "How many GPUs, a rank each; by default as many as the config's layout")
        ->check(CLI::Range(1, 1 << 20))
        ->type_name("N");
    app.add_option("--layout", layout_, "Data x tensor ranks, e.g. 32x2; by default parallel.tensor of the config")
        ->type_name("DxT");
    app.add_option("--gpu", gpu_, "Which GPU: " + keys())->type_name("KEY")->capture_default_str();
    app.add_option("--set", overrides_, "Override a key, e.g. --set train.micro_batch=4; may be given many times")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
    app.footer(
        "Lays out the memory of one rank as a run would, without taking it, and says what a rank sends in a step.\n"
        "The time is arithmetic over the data sheet's figures at the stated shares of them. A layout that does not "
        "fit\n"
        "is refused (exit code out of memory) with the settings that would.");
  }

  ExitCode run() override {
    const RunConfig loaded = load_config(config_, overrides_);
    const GpuFigures* gpu = find_gpu(gpu_);
    if (gpu == nullptr) throw Error(ExitCode::usage, fmt::format("unknown GPU '{}'", gpu_), "Known: " + keys() + ".");
    const Layout layout = layout_of(loaded);
    const TrainingPlan plan = plan_training(loaded, layout, *gpu);
    fmt::print("{}: {:.3f} M parameters ({}), {} on {} x {} ranks (data x tensor), each a {}\n", loaded.name,
               static_cast<double>(plan.parameters) * 1e-6, plan.parameters, name_of(loaded.train.dtype), layout.data,
               layout.tensor, gpu->name);
    fmt::print("{} sequences of {} tokens a step, {} a rank at a time\n\n", plan.config.train.global_batch,
               plan.config.model.seq_len, plan.config.train.micro_batch);
    print_memory(plan);
    fmt::print("\n");
    print_communication(plan);
    fmt::print("\n");
    print_time(plan);
    if (plan.fits()) return ExitCode::done;
    const std::string remedy = what_would_fit(loaded, layout, *gpu);
    throw Error(
        ExitCode::out_of_memory,
        fmt::format("this does not fit: a rank needs {}, a {} has {}",
                    bytes_text(plan.memory_bytes + plan.reserved_bytes), gpu->name, bytes_text(gpu->memory_bytes)),
        remedy.empty() ? "Use more ranks: --gpus, or a larger T in --layout." : "This would fit: " + remedy);
  }

 private:
  static std::string keys() {
    std::string keys;
    for (const GpuFigures& gpu : known_gpus()) keys += (keys.empty() ? "" : ", ") + std::string(gpu.key);
    return keys;
  }

  Layout layout_of(const RunConfig& loaded) const {
    if (layout_.empty()) {
      const int tensor = loaded.parallel.tensor;
      const int gpus = gpus_ != 0 ? gpus_ : std::max(1, loaded.parallel.data) * tensor;
      if (gpus % tensor != 0) {
        throw Error(ExitCode::usage, fmt::format("{} GPUs do not divide by parallel.tensor = {}", gpus, tensor),
                    "Give --layout DxT.");
      }
      return {gpus / tensor, tensor};
    }
    const Layout layout = parse_layout(layout_);
    if (gpus_ != 0 && layout.ranks() != gpus_) {
      throw Error(ExitCode::usage, fmt::format("a layout of {} has {} ranks, not {}", layout_, layout.ranks(), gpus_),
                  "Leave out --gpus, or make the product agree.");
    }
    return layout;
  }

  std::string config_;
  std::string layout_;
  std::string gpu_ = "h100-sxm";
  int gpus_ = 0;
  std::vector<std::string> overrides_;
};

}  // namespace

std::unique_ptr<Verb> make_plan_verb() {
  return std::make_unique<PlanVerb>();
}

}  // namespace headroom
