// A communicator of NCCL as an owner, and NCCL's return codes as exceptions.
//
// Communicators are non-blocking: a call of NCCL returns at once, perhaps before it has done its work, so that a rank
// whose peers have gone can find out. All calls of one communicator are made under a lock, since the watchdog's thread
// asks for errors while the main thread starts collectives.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "parallel/cuda/nccl_library.h"

namespace headroom::cuda {

class NcclComm {
 public:
  // Rank `rank` of `size` that all pass the same id. Collective. `limit`: the seconds that this or a later call may
  // take on the host. Throws ExitCode::communication.
  static std::unique_ptr<NcclComm> join(const ncclUniqueId& id, int rank, int size, double limit);

  // The ranks of the same color, ordered by key; null for color NCCL_SPLIT_NOCOLOR. Collective.
  std::unique_ptr<NcclComm> split(int color, int key);

  // Waits until NCCL is done with what it was asked to, unless that is given up or an exception unwinds the stack.
  ~NcclComm();
  NcclComm(const NcclComm&) = delete;
  NcclComm& operator=(const NcclComm&) = delete;

  // Makes a call of NCCL; when it returns, what was asked for is in the stream. Throws ExitCode::communication naming
  // `name` and what NCCL says.
  void call(const char* name, const std::function<ncclResult_t(ncclComm_t)>& function);

  // No more to be used, and not to be waited for.
  void give_up() { broken_ = true; }

  // What NCCL reports of this communicator, if anything is wrong. Never waits: while a call is under way, which may be
  // the one that hangs, it says nothing, and the age of what is unfinished has to tell.
  std::optional<std::string> error();

  // From any thread: gives up everything under way, so that neither this rank nor the device waits for it.
  void abort();

 private:
  explicit NcclComm(double limit) : limit_(limit) {}

  void settle(ncclResult_t result, const char* name);
  ncclResult_t state();
  ncclResult_t state_under_lock() const;
  std::string reason(ncclResult_t result) const;
  void finish();

  double limit_;
  ncclComm_t comm_ = nullptr;
  std::timed_mutex mutex_;
  std::atomic<bool> broken_ = false;
};

}  // namespace headroom::cuda
