#include "parallel/cuda/nccl_group.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "base/system.h"
#include "tensor/cuda/runtime.h"

namespace headroom::cuda {
namespace {

constexpr std::size_t kManyStalls = 256;
constexpr std::chrono::seconds kToEndInOrder{10};

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The group's id, made by its first rank. Collective; every rank throws if that one fails.
ncclUniqueId shared_id(Communicator& host) {
  ncclUniqueId id{};
  std::span<const std::byte> message;
  if (host.rank() == 0 && nccl().GetUniqueId(&id) == ncclSuccess) message = std::as_bytes(std::span(&id, 1));
  const std::vector<std::byte> received = host.broadcast_bytes(message, 0);
  if (received.size() != sizeof id) {
    throw Error(ExitCode::communication, "ncclGetUniqueId failed on rank 0",
                "NCCL_SOCKET_IFNAME names the network interface to use; NCCL_DEBUG=INFO shows what NCCL does.");
  }
  std::memcpy(&id, received.data(), sizeof id);
  return id;
}

// Aborting may itself hang, in NCCL or in the host's library; the job ends all the same.
void report_and_end_soon(const Trouble& trouble) {
  std::fprintf(stderr, "%s\n", trouble.message.c_str());
  std::fflush(nullptr);
  std::thread([] {
    std::this_thread::sleep_for(kToEndInOrder);
    std::_Exit(static_cast<int>(ExitCode::communication));
  }).detach();
}

std::shared_ptr<Watchdog> make_watchdog(double limit, void (*abort_ranks)(int status)) {
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  Watchdog::Settings settings;
  settings.limit = limit;
  settings.interval = std::min(settings.interval, limit / 4.0);
  settings.now = seconds_now;
  settings.begin = [device] { cudaSetDevice(device); };
  settings.report = report_and_end_soon;
  settings.end_job = [abort_ranks](ExitCode code) {
    abort_ranks(static_cast<int>(code));
    std::_Exit(static_cast<int>(code));
  };
  return std::make_shared<Watchdog>(std::move(settings));
}

}  // namespace

std::shared_ptr<NcclGroup> NcclGroup::over(Communicator& host, void (*abort_ranks)(int status)) {
  setenv("NCCL_LAUNCH_ORDER_IMPLICIT", "1", 0);
  setenv("NCCL_NVLS_ENABLE", "0", 0);
  const double limit = collective_time_limit(std::getenv("HEADROOM_NCCL_TIMEOUT"));
  auto comm = NcclComm::join(shared_id(host), host.rank(), host.size(), limit);
  return std::shared_ptr<NcclGroup>(
      new NcclGroup(std::move(comm), host.rank(), host.rank(), host.size(), make_watchdog(limit, abort_ranks)));
}

std::shared_ptr<NcclGroup> NcclGroup::split(int color, int key, const Communicator& part) {
  auto comm = comm_->split(part.size() == 1 ? NCCL_SPLIT_NOCOLOR : color, key);
  if (comm == nullptr) return nullptr;
  return std::shared_ptr<NcclGroup>(new NcclGroup(std::move(comm), world_rank_, part.rank(), part.size(), watchdog_));
}

NcclGroup::NcclGroup(std::unique_ptr<NcclComm> comm, int world_rank, int rank, int size,
                     std::shared_ptr<Watchdog> watchdog)
    : world_rank_(world_rank),
      comm_(std::move(comm)),
      order_events_(std::make_shared<EventPool>(cudaEventDisableTiming)),
      clock_events_(std::make_shared<EventPool>(cudaEventDefault)),
      ready_(order_events_),
      watchdog_(std::move(watchdog)),
      watched_(std::make_shared<WatchedGroup>(
          fmt::format("rank {} ({} of {} in its group) on {}", world_rank, rank, size, host_name()),
          WatchedGroup::Library{[this] { return comm_->error(); }, [this] { comm_->abort(); }})) {
  watchdog_->watch(watched_);
}

NcclGroup::~NcclGroup() {
  watched_->close();
}

std::shared_ptr<NcclWork> NcclGroup::start(const Announcement& call, const Issue& issue) {
  auto work = std::make_shared<NcclWork>(order_events_);
  watched_->started(call, work, watchdog_->settings().now());  // before NCCL's call, which may hang itself
  ready_.record(cuda::stream());
  ready_.hold(stream_.get());
  comm_->call(name_of(call.collective), [&](ncclComm_t comm) { return issue(comm, stream_.get()); });
  work->issued(stream_.get());
  return work;
}

void NcclGroup::order_after(const NcclWork& work) {
  if (stalls_.size() >= kManyStalls) seconds_stalled();
  Stall stall{LentEvent(clock_events_), LentEvent(clock_events_)};
  stall.begin.record(cuda::stream());
  work.done().hold(cuda::stream());
  stall.end.record(cuda::stream());
  stalls_.push_back(std::move(stall));
}

double NcclGroup::seconds_stalled() {
  while (!stalls_.empty() && stalls_.front().end.finished()) {
    seconds_stalled_ += stalls_.front().end.seconds_since(stalls_.front().begin);
    stalls_.pop_front();
  }
  return seconds_stalled_;
}

}  // namespace headroom::cuda
