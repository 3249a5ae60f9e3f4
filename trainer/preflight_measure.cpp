#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/activity.h"
#include "base/file.h"
#include "base/stopwatch.h"
#include "base/system.h"
#include "base/version.h"
#include "parallel/device_communicator.h"
#include "parallel/local_gpu.h"
#include "parallel/rank_words.h"
#include "parallel/runtime.h"
#include "parallel/versions.h"
#include "tensor/backend.h"
#include "tensor/memory.h"
#include "tensor/transfer.h"
#include "trainer/preflight.h"
#include "trainer/preflight_disk.h"
#include "trainer/preflight_verdict.h"
#include "trainer/product_speed.h"
#include "trainer/start_up.h"

namespace headroom {
namespace {

constexpr std::int64_t kDiskBytes = std::int64_t{32} << 20;
constexpr int kDiskRounds = 3;

std::int64_t exchange_bytes(Device device) {
  return (device == Device::cuda ? std::int64_t{64} : std::int64_t{8}) << 20;
}

// "2 x NVIDIA H100 ...; NVIDIA A100 ...".
std::string counted(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t first = 0, next = 0; first < names.size(); first = next) {
    while (next < names.size() && names[next] == names[first]) ++next;
    text += fmt::format("{}{} x {}", text.empty() ? "" : "; ", next - first, names[first]);
  }
  return text;
}

std::string joined(const std::vector<std::string>& parts) {
  return fmt::format("{}", fmt::join(parts, ", "));
}

// What this rank has, as `survey` gathers it.
RankFigures own_figures(const std::string& device) {
  RankFigures own;
  own.program = version_line();
  own.libraries = library_versions();
  own.gpus = "none";
  if (device == "cpu" || (device == "auto" && !gpu_by_default())) return own;
  if (const std::optional<std::string> reason = why_no_gpu()) {
    own.trouble = *reason;
    return own;
  }
  const std::vector<std::string> devices = backend(Device::cuda).devices();
  own.gpus = counted(devices);
  own.gpu_count = static_cast<int>(devices.size());
  own.gpu_software = joined(gpu_parts());
  return own;
}

class Measurement {
 public:
  Measurement(Communicator& world, const PreflightOptions& options, const NodeRehearsal& ordered,
              PreflightFigures& figures)
      : world_(world),
        options_(options),
        ordered_(ordered),
        figures_(figures),
        node_(figures.ranks[static_cast<std::size_t>(world.rank())].node),
        leads_(figures.nodes[node_].ranks.front() == world.rank()),
        device_(choose_device()) {}

  void run() {
    while (ordered_.stuck) {
      const Activity activity("a rehearsed stuck node", Activity::Kind::computation);
      ::pause();
    }
    if (device_ == Device::cuda) select_local_gpu(world_);
    set_threads(0, world_);
    auto node = world_.split(static_cast<int>(node_), world_.rank());
    // One rank a node; the others get a group of one, which they do not use.
    const auto nodes = static_cast<int>(figures_.nodes.size());
    auto leaders = world_.split(leads_ ? 0 : 1 + world_.rank(), world_.rank());
    measure_clocks(*leaders);
    measure_products();
    measure_inside(std::move(node));
    if (nodes > 1) measure_pairs(*leaders);
    if (nodes > 1) measure_across(std::move(leaders));
    measure_disks();
  }

 private:
  // Where training would compute; the CPU where some rank cannot follow the others.
  Device choose_device() {
    const bool all = std::all_of(figures_.ranks.begin(), figures_.ranks.end(),
                                 [](const RankFigures& one) { return one.gpus != "none"; });
    const Device device = all ? Device::cuda : Device::cpu;
    figures_.device = name_of(device);
    figures_.exchange_bytes = exchange_bytes(device);
    figures_.disk_bytes = kDiskBytes;
    return device;
  }

  // One number of each node, told by its leader, on every rank.
  std::vector<double> of_nodes(double own) {
    std::vector<double> all(figures_.nodes.size(), 0.0);
    if (leads_) all[node_] = own;
    world_.all_reduce(std::span<double>(all), Reduction::sum);
    return all;
  }

  void measure_clocks(Communicator& leaders) {
    const Activity activity("the preflight's look at clocks");
    const double ahead = ordered_.skew_seconds;
    std::vector<ClockOffset> offsets(figures_.nodes.size());
    if (leads_) offsets = clock_offsets(leaders, [ahead] { return wall_seconds() + ahead; });
    const std::vector<double> seconds = of_nodes(offsets[node_].seconds);
    const std::vector<double> uncertainty = of_nodes(offsets[node_].uncertainty);
    for (std::size_t i = 0; i < figures_.nodes.size(); ++i) figures_.nodes[i].clock = {seconds[i], uncertainty[i]};
  }

  // On all ranks at once, as in training: cores, memory and power of a node are shared.
  void measure_products() {
    std::string trouble;
    double speed = kNotMeasured;
    world_.barrier();
    try {
      const Activity activity("the preflight's matrix product", Activity::Kind::computation);
      speed = product_speed(device_) / ordered_.slow_ratio;
    } catch (const Error& error) {
      trouble = error.what();
    }
    std::vector<double> speeds(figures_.ranks.size(), 0.0);
    speeds[static_cast<std::size_t>(world_.rank())] = speed;
    world_.all_reduce(std::span<double>(speeds), Reduction::sum);
    const auto told = gather_words(world_, {trouble});
    for (std::size_t rank = 0; rank < speeds.size(); ++rank) {
      figures_.ranks[rank].product = speeds[rank];
      if (!told[rank].at(0).empty()) figures_.ranks[rank].trouble = told[rank].at(0);
    }
  }

  // On all nodes at once: what a node exchanges with itself does not touch the others.
  void measure_inside(std::unique_ptr<Communicator> node) {
    const Activity activity("the preflight's all-reduce inside a node");
    double speed = kNotMeasured;
    if (node->size() > 1) speed = exchange(std::move(node));
    const std::vector<double> speeds = of_nodes(speed);
    for (std::size_t i = 0; i < speeds.size(); ++i) figures_.nodes[i].inner = speeds[i];
  }

  void measure_across(std::unique_ptr<Communicator> leaders) {
    const Activity activity("the preflight's all-reduce over nodes");
    double speed = kNotMeasured;
    if (leads_) speed = exchange(std::move(leaders));
    for (const double one : of_nodes(speed)) figures_.across = std::fmin(figures_.across, one);
  }

  // A ring of nodes, in two or three turns: in each, every node has one partner at most, so that pairs share no
  // adapter.
  void measure_pairs(Communicator& leaders) {
    const Activity activity("the preflight's exchange of two nodes");
    const std::size_t nodes = figures_.nodes.size();
    const std::size_t count = nodes == 2 ? 1 : nodes;
    for (std::size_t i = 0; i < count; ++i) figures_.pairs.push_back({i, (i + 1) % nodes, kNotMeasured});
    const std::size_t turns = std::min<std::size_t>(count, nodes % 2 == 0 ? 2 : 3);
    for (std::size_t turn = 0; turn < turns; ++turn) {
      const auto in_turn = [&](std::size_t pair) {
        const bool odd_one = nodes % 2 == 1 && pair + 1 == nodes;  // it meets the first pair
        return (odd_one ? 2 : pair % 2) == turn;
      };
      double speed = kNotMeasured;
      if (leads_) {
        auto color = static_cast<int>(nodes + node_);  // alone
        for (std::size_t pair = 0; pair < count; ++pair) {
          const bool takes_part = figures_.pairs[pair].first == node_ || figures_.pairs[pair].second == node_;
          if (in_turn(pair) && takes_part) color = static_cast<int>(pair);
        }
        auto partners = leaders.split(color, leaders.rank());
        if (partners->size() == 2) speed = exchange(std::move(partners));
      }
      const std::vector<double> speeds = of_nodes(speed);
      for (std::size_t pair = 0; pair < count; ++pair) {
        PairFigures& one = figures_.pairs[pair];
        if (in_turn(pair)) one.bandwidth = std::fmin(speeds[one.first], speeds[one.second]);
      }
    }
  }

  // All-reduce in a group, bytes/s, by the way that training's tensors would take.
  double exchange(std::unique_ptr<Communicator> group) {
    const DeviceCommunicator made = for_device(std::move(group), device_);
    transport_ = made.transport;
    return time_all_reduce(*made.communicator, figures_.exchange_bytes, device_).bytes_per_second / ordered_.slow_ratio;
  }

  // One node after the other. The run directory is most often one file system for all: writing together, each would
  // measure what the others leave of it, and which one came out slow would be chance. A node that looks slow is given
  // more chances, because a single flush may meet what other jobs write.
  void measure_disks() {
    std::vector<bool> due(figures_.nodes.size(), true);
    for (int round = 0; round < kDiskRounds; ++round) {
      for (std::size_t node = 0; node < due.size(); ++node) {
        if (due[node]) measure_disk(node);
      }
      std::vector<double> write;
      std::vector<double> read;
      for (const NodeFigures& node : figures_.nodes) {
        write.push_back(node.write);
        read.push_back(node.read);
      }
      due.assign(due.size(), false);
      for (const auto& speeds : {write, read}) {
        for (const SlowNode& slow : slow_nodes(speeds, options_.slow_ratio)) due[slow.node] = true;
      }
    }
    tell_trouble();
  }

  void measure_disk(std::size_t node) {
    DiskFigures speed{kNotMeasured, kNotMeasured};
    if (leads_ && node == node_ && figures_.nodes[node].disk_trouble.empty()) {
      const std::string name = fmt::format(".headroom-preflight.{}.{}", figures_.nodes[node].name, ::getpid());
      try {
        if (ordered_.disk_error != 0) throw_write_error(options_.directory / name, "write", ordered_.disk_error);
        speed = time_disk(options_.directory, name, kDiskBytes);
        speed.write /= ordered_.slow_ratio;
        speed.read /= ordered_.slow_ratio;
      } catch (const Error& error) {
        const auto* writing = dynamic_cast<const WriteError*>(&error);
        figures_.nodes[node].disk_trouble = error.what();
        figures_.nodes[node].disk_full = writing != nullptr && writing->full();
      }
    }
    NodeFigures& one = figures_.nodes[node];
    one.write = std::fmax(one.write, of_nodes(speed.write)[node]);
    one.read = std::fmax(one.read, of_nodes(speed.read)[node]);
  }

  void tell_trouble() {
    const NodeFigures& own = figures_.nodes[node_];
    const auto told = gather_words(world_, {own.disk_trouble, transport_, own.disk_full ? "full" : ""});
    for (NodeFigures& node : figures_.nodes) {
      const auto& words = told[static_cast<std::size_t>(node.ranks.front())];
      node.disk_trouble = words.at(0);
      node.disk_full = !words.at(2).empty();
    }
    for (const auto& words : told) {
      if (figures_.transport.empty()) figures_.transport = words.at(1);
    }
  }

  Communicator& world_;
  const PreflightOptions& options_;
  const NodeRehearsal& ordered_;
  PreflightFigures& figures_;
  const std::size_t node_;  // of this rank
  const bool leads_;
  const Device device_;
  std::string transport_;
};

}  // namespace

PreflightFigures survey(Communicator& world, const PreflightOptions& options, const std::string& node) {
  const Activity activity("the preflight's survey of ranks");
  const RankFigures own = own_figures(options.device);
  std::error_code error;
  const bool there = std::filesystem::is_directory(options.directory, error);
  const bool library = options.device != "cpu" && !gpu_parts().empty();
  const auto told =
      gather_words(world, {node, own.program, own.libraries, own.gpu_software, own.gpus, std::to_string(own.gpu_count),
                           own.trouble, there ? "yes" : "", library ? "yes" : ""});
  PreflightFigures figures;
  bool directory_somewhere = false;
  bool computes_somewhere = false;
  bool library_somewhere = false;
  for (std::size_t rank = 0; rank < told.size(); ++rank) {
    const auto& words = told[rank];
    const auto known = std::find_if(figures.nodes.begin(), figures.nodes.end(),
                                    [&](const NodeFigures& one) { return one.name == words.at(0); });
    const auto index = static_cast<std::size_t>(known - figures.nodes.begin());
    if (known == figures.nodes.end()) figures.nodes.emplace_back().name = words.at(0);
    figures.nodes[index].ranks.push_back(static_cast<int>(rank));
    figures.ranks.push_back({.node = index,
                             .program = words.at(1),
                             .libraries = words.at(2),
                             .gpu_software = words.at(3),
                             .gpus = words.at(4),
                             .gpu_count = std::stoi(words.at(5)),
                             .trouble = words.at(6)});
    computes_somewhere = computes_somewhere || words.at(6).empty();
    directory_somewhere = directory_somewhere || !words.at(7).empty();
    library_somewhere = library_somewhere || !words.at(8).empty();
  }
  if (!directory_somewhere) {
    throw Error(ExitCode::usage, fmt::format("there is no directory '{}' on any node", options.directory.string()),
                "Make it, or name with --directory where the runs will be written.");
  }
  // Where no rank's program has its GPU library it is not the nodes' fault.
  if (!computes_somewhere && !library_somewhere) {
    throw Error(ExitCode::usage, "no rank can use a GPU: " + figures.ranks.front().trouble,
                "`headroom doctor` says what was found. Use --device cpu to measure without GPUs.");
  }
  return figures;
}

void measure(Communicator& world, const PreflightOptions& options, const NodeRehearsal& ordered,
             PreflightFigures& figures) {
  Measurement(world, options, ordered, figures).run();
}

}  // namespace headroom
