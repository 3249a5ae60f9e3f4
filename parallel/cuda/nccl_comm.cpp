#include "parallel/cuda/nccl_comm.h"

#include <chrono>
#include <cstdio>
#include <exception>
#include <thread>

#include "base/error.h"

namespace headroom::cuda {
namespace {

constexpr const char* kHint =
    "A rank, a GPU or the network between them failed; look at the first error of all ranks' logs. NCCL_DEBUG=INFO "
    "shows what NCCL does.";

constexpr std::chrono::microseconds kBetweenLooks{50};
constexpr std::chrono::seconds kForTheLock{2};  // of a thread that may itself hang in NCCL

ncclConfig_t non_blocking() {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  return config;
}

}  // namespace

std::unique_ptr<NcclComm> NcclComm::join(const ncclUniqueId& id, int rank, int size, double limit) {
  std::unique_ptr<NcclComm> made(new NcclComm(limit));
  ncclConfig_t config = non_blocking();
  made->call("ncclCommInitRankConfig",
             [&](ncclComm_t) { return nccl().CommInitRankConfig(&made->comm_, size, id, rank, &config); });
  return made;
}

std::unique_ptr<NcclComm> NcclComm::split(int color, int key) {
  std::unique_ptr<NcclComm> part(new NcclComm(limit_));
  ncclConfig_t config = non_blocking();
  call("ncclCommSplit", [&](ncclComm_t comm) { return nccl().CommSplit(comm, color, key, &part->comm_, &config); });
  if (color == NCCL_SPLIT_NOCOLOR) return nullptr;
  part->settle(part->state(), "ncclCommSplit");
  return part;
}

void NcclComm::call(const char* name, const std::function<ncclResult_t(ncclComm_t)>& function) {
  ncclResult_t result = ncclSuccess;
  {
    const std::lock_guard lock(mutex_);
    result = function(comm_);
  }
  settle(result, name);
}

ncclResult_t NcclComm::state() {
  const std::lock_guard lock(mutex_);
  return state_under_lock();
}

ncclResult_t NcclComm::state_under_lock() const {
  if (comm_ == nullptr) return ncclInvalidUsage;  // aborted
  ncclResult_t state = ncclSuccess;
  const ncclResult_t result = nccl().CommGetAsyncError(comm_, &state);
  return result == ncclSuccess ? state : result;
}

void NcclComm::settle(ncclResult_t result, const char* name) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  while (result == ncclInProgress) {
    const double waited = std::chrono::duration<double>(Clock::now() - begin).count();
    if (waited > limit_) {
      broken_ = true;
      throw Error(ExitCode::communication, fmt::format("{} has not finished for {:.0f} s", name, waited), kHint);
    }
    std::this_thread::sleep_for(kBetweenLooks);
    result = state();
  }
  if (result == ncclSuccess) return;
  broken_ = true;
  throw Error(ExitCode::communication, fmt::format("{} failed: {}", name, reason(result)), kHint);
}

std::string NcclComm::reason(ncclResult_t result) const {
  const char* const last = nccl().GetLastError(comm_);
  const std::string kind = nccl().GetErrorString(result);
  return last == nullptr || *last == '\0' ? kind : fmt::format("{} ({})", kind, last);
}

std::optional<std::string> NcclComm::error() {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return std::nullopt;
  const ncclResult_t now = state_under_lock();
  if (now == ncclSuccess || now == ncclInProgress) return std::nullopt;
  return reason(now);
}

void NcclComm::abort() {
  const std::unique_lock lock(mutex_, kForTheLock);  // and then without it: the thread that holds it will not return
  if (comm_ != nullptr) nccl().CommAbort(comm_);
  comm_ = nullptr;
  broken_ = true;
}

void NcclComm::finish() {
  call("ncclCommFinalize", [](ncclComm_t comm) { return nccl().CommFinalize(comm); });
  const std::lock_guard lock(mutex_);
  nccl().CommDestroy(comm_);
  comm_ = nullptr;
}

NcclComm::~NcclComm() {
  if (comm_ == nullptr) return;
  if (broken_ || std::uncaught_exceptions() > 0) {
    abort();
    return;
  }
  try {
    finish();
  } catch (const std::exception& error) {  // the results are there; only the parting failed
    std::fprintf(stderr, "warning: %s\n", error.what());
    abort();
  }
}

}  // namespace headroom::cuda
