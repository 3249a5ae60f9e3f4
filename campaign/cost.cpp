#include "campaign/cost.h"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>

#include "base/error.h"
#include "base/system.h"
#include "campaign/slots.h"
#include "data/corpus.h"
#include "parallel/mesh.h"
#include "tensor/backend.h"
#include "trainer/engine.h"
#include "trainer/hardware.h"
#include "trainer/plan.h"
#include "trainer/product_speed.h"
#include "trainer/start_up.h"

namespace headroom::campaign {
namespace {

constexpr double kGigabyte = 1e9;

// FLOP/s of one core in matrix products.
double core_speed() {
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const double speed = product_speed(Device::cpu);
  omp_set_num_threads(threads);
  return speed;
}

// The corpus as the jobs will find it; its vocabulary sizes the model.
std::int64_t vocabulary_of(const RunConfig& config) {
  if (config.data.corpus.empty()) {
    throw Error(ExitCode::bad_config, "there is no corpus", "Set data.corpus.");
  }
  return Corpus::open(config.data.corpus, config.data.valid).vocab_size;
}

class Estimate {
 public:
  Estimate(const Spec& spec, std::size_t runs, const std::optional<Site>& site) : spec_(spec), site_(site) {
    // A file may be planned where it could not run.
    const bool gpus = spec.resources.gpus_per_node > 0;
    const bool here = !site && spec.resources.nodes == 1 && !(gpus && why_no_gpu());
    if (here) slots_ = slots_of(spec.resources, this_machine(gpus), runs);
  }

  // Runs at a time; 0 where that is not known.
  std::size_t at_once() const { return slots_.size(); }

  RunCost of(const PlannedRun& run) {
    const RunConfig& config = run.config;
    const Layout layout = layout_for(config, spec_.resources.ranks());
    RunCost cost;
    cost.tokens = static_cast<double>(config.train.steps * config.train.global_batch * config.model.seq_len);
    if (spec_.resources.gpus_per_node > 0) {
      on_gpus(config, layout, cost);
    } else {
      on_cpus(config, layout, cost);
    }
    if (cost.memory_limit > 0.0 && cost.memory_bytes > cost.memory_limit) {
      throw Error(ExitCode::out_of_memory,
                  fmt::format("needs {} of {}, where there are {}", memory_text(std::int64_t(cost.memory_bytes)),
                              spec_.resources.gpus_per_node > 0 ? "a GPU" : "a node",
                              memory_text(std::int64_t(cost.memory_limit))),
                  "Use more ranks, a smaller train.micro_batch, or train.recompute = \"block\".");
    }
    return cost;
  }

  std::string basis() {
    if (spec_.resources.gpus_per_node > 0) {
      return fmt::format("arithmetic over the data sheet of {}, as `headroom plan` explains",
                         find_gpu(spec_.resources.gpu)->name);
    }
    return fmt::format("{:.0f} % of the {:.0f} GFLOP/s that a core of this machine makes in matrix products",
                       100.0 * kCpuShare, speed() * 1e-9);
  }

 private:
  void on_gpus(const RunConfig& config, const Layout& layout, RunCost& cost) const {
    const TrainingPlan plan = plan_training(config, layout, *find_gpu(spec_.resources.gpu));
    cost.parameters = static_cast<double>(plan.parameters);
    cost.memory_bytes = plan.memory_bytes + plan.reserved_bytes;
    cost.memory_limit = plan.gpu.memory_bytes;
    cost.seconds = cost.tokens / plan.tokens_per_second;
  }

  void on_cpus(const RunConfig& loaded, const Layout& layout, RunCost& cost) {
    const RunConfig config = resolved_for(loaded, layout, vocabulary_of(loaded));
    const EnginePlan plan = Engine::plan(config, Mesh::imagined(layout, 0), Device::cpu, 0);
    cost.parameters = static_cast<double>(plan.logical_parameters);
    double rank_bytes = 0.0;
    for (const Arena::Category& category : plan.memory) rank_bytes += static_cast<double>(category.bytes);
    cost.memory_bytes = rank_bytes * spec_.resources.ranks_per_node;
    cost.memory_limit = memory_limit();
    cost.seconds = cost.tokens * plan.flops_per_token / (kCpuShare * speed() * cores_of_a_run());
  }

  double memory_limit() const {
    if (spec_.resources.memory_gb > 0) return kGigabyte * spec_.resources.memory_gb;
    if (site_) return kGigabyte * site_->memory_gb;
    if (slots_.empty()) return 0.0;
    return static_cast<double>(available_memory_bytes()) / static_cast<double>(slots_.size());
  }

  double cores_of_a_run() const {
    const Resources& resources = spec_.resources;
    if (!slots_.empty()) return static_cast<double>(slots_.front().cores.size());
    return static_cast<double>(resources.ranks() * std::max(1, resources.threads));
  }

  double speed() {
    if (core_speed_ == 0.0) core_speed_ = core_speed();
    return core_speed_;
  }

  const Spec& spec_;
  const std::optional<Site>& site_;
  std::vector<Slot> slots_;  // of this machine
  double core_speed_ = 0.0;
};

void refuse_beyond_budget(const Spec& spec, const CampaignCost& cost) {
  const Budget& budget = spec.budget;
  if (budget.tokens > 0.0 && cost.tokens > budget.tokens) {
    throw Error(ExitCode::bad_config,
                fmt::format("{}: the runs train {:.3g} tokens together, budget.tokens allows {:.3g}",
                            spec.file.string(), cost.tokens, budget.tokens),
                "Fewer variants, seeds or steps, or a larger budget.");
  }
  if (budget.node_hours > 0.0 && cost.node_hours > budget.node_hours) {
    throw Error(ExitCode::bad_config,
                fmt::format("{}: the runs are predicted to take {:.3g} node hours together, budget.node_hours allows "
                            "{:.3g}",
                            spec.file.string(), cost.node_hours, budget.node_hours),
                "Fewer variants, seeds or steps, or a larger budget.");
  }
}

}  // namespace

CampaignCost cost_of(const Spec& spec, const std::vector<PlannedRun>& runs, const std::optional<Site>& site) {
  CampaignCost cost;
  double longest = 0.0;
  double work = 0.0;
  Estimate estimate(spec, runs.size(), site);
  for (const PlannedRun& run : runs) {
    try {
      cost.runs.push_back(estimate.of(run));
    } catch (const Error& error) {
      throw Error(error.code(), fmt::format("{}: run {}: {}", spec.file.string(), run.name, error.what()),
                  error.hint());
    }
    cost.tokens += cost.runs.back().tokens;
    cost.node_hours += cost.runs.back().seconds / 3600.0 * spec.resources.nodes;
    longest = std::max(longest, cost.runs.back().seconds);
    work += cost.runs.back().seconds;
  }
  cost.basis = estimate.basis();
  if (estimate.at_once() > 0) cost.seconds = std::max(longest, work / static_cast<double>(estimate.at_once()));
  refuse_beyond_budget(spec, cost);
  return cost;
}

}  // namespace headroom::campaign
