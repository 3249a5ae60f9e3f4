// A group of ranks that exchange their GPUs' tensors by NCCL: its communicator, its stream, and the order between its
// collectives and the operations.
//
// Collectives run on a stream of the group's own, beside the operations. An event on the operations' stream before a
// collective, and one on the group's after it, put them in order without the host waiting. Groups of one process (data
// and tensor ranks) have streams of their own, so that a bucket of gradients on its way does not hold up a tensor-
// parallel layer.
//
// Two of NCCL's switches are set unless the environment sets them: NCCL_LAUNCH_ORDER_IMPLICIT=1, without which the
// collectives of two groups may block each other's way on the device for ever; and NCCL_NVLS_ENABLE=0, since the
// network switches' own sums are not the same from one run to the next.
#pragma once

#include <atomic>
#include <deque>
#include <memory>

#include "parallel/communicator.h"
#include "parallel/cuda/events.h"
#include "parallel/cuda/nccl_comm.h"
#include "parallel/watchdog.h"

namespace headroom::cuda {

// A collective in the group's stream, or on its way there.
class NcclWork final : public DeviceWork {
 public:
  explicit NcclWork(std::shared_ptr<EventPool> pool) : done_(std::move(pool)) {}

  bool finished() override { return issued_ && done_.finished(); }
  const LentEvent& done() const { return done_; }

  // NCCL has put it into the stream.
  void issued(cudaStream_t stream) {
    done_.record(stream);
    issued_ = true;
  }

 private:
  LentEvent done_;
  std::atomic<bool> issued_ = false;
};

class NcclGroup {
 public:
  // All ranks of `host`, on the GPUs they have selected. Collective. A watchdog ends the job by `abort_ranks` when a
  // collective fails or takes longer than HEADROOM_NCCL_TIMEOUT seconds.
  static std::shared_ptr<NcclGroup> over(Communicator& host, void (*abort_ranks)(int status));

  // The part of this group that is `part` among the hosts' communicators, split with the same color and key; null for
  // a part of one rank, which needs no NCCL. Collective over this group.
  std::shared_ptr<NcclGroup> split(int color, int key, const Communicator& part);

  ~NcclGroup();
  NcclGroup(const NcclGroup&) = delete;
  NcclGroup& operator=(const NcclGroup&) = delete;

  // Starts a collective after all operations called so far. `issue` calls NCCL's function.
  using Issue = std::function<ncclResult_t(ncclComm_t comm, cudaStream_t stream)>;
  std::shared_ptr<NcclWork> start(const Announcement& call, const Issue& issue);

  // Operations called from now on take place after the collective.
  void order_after(const NcclWork& work);

  // Nobody waits for what is under way; the group is of no further use.
  void give_up() { comm_->give_up(); }

  // Seconds the operations have stood still in order_after, as far as the device has come.
  double seconds_stalled();

 private:
  struct Stall {
    LentEvent begin;
    LentEvent end;
  };

  NcclGroup(std::unique_ptr<NcclComm> comm, int world_rank, int rank, int size, std::shared_ptr<Watchdog> watchdog);

  int world_rank_;
  Stream stream_;
  std::unique_ptr<NcclComm> comm_;  // after the stream, in which it finishes
  std::shared_ptr<EventPool> order_events_;
  std::shared_ptr<EventPool> clock_events_;
  LentEvent ready_;  // the operations before a collective
  std::deque<Stall> stalls_;
  double seconds_stalled_ = 0.0;
  std::shared_ptr<Watchdog> watchdog_;
  std::shared_ptr<WatchedGroup> watched_;
};

}  // namespace headroom::cuda
