// The engine under the collectives: every rank sends each other rank one block of bytes, all at once, in segments.
//
// Before its blocks a rank announces which collective of which tensor it is in; a receiver compares that with its own
// call, so that ranks whose calls do not match find out at once and overwrite nothing. Sends are posted at the start;
// receives as the inbox has room, so that a reduction needs little memory and adds up one segment while the next is on
// its way.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "parallel/announcement.h"
#include "parallel/mpi_group.h"

namespace headroom {

// The blocks between this rank and one other.
struct Route {
  const std::byte* send = nullptr;
  std::int64_t send_bytes = 0;
  std::int64_t receive_bytes = 0;
};

// Where received segments go and what becomes of them: the part in which the collectives differ.
class Inbox {
 public:
  virtual ~Inbox() = default;

  // Where a segment goes; nullptr while there is no room for it. Asked again after each arrival.
  virtual std::byte* place(int rank, std::int64_t segment) = 0;
  virtual void arrived(int rank, std::int64_t segment) = 0;
};

class Exchange final : public Pending {
 public:
  // Starts at once. `routes` has an entry a rank of the group (the own one is ignored). The memory to send must stay
  // until the end. Blocks are cut into segments of `segment_bytes`, which must be the same on all ranks.
  Exchange(std::shared_ptr<MpiGroup> group, const Announcement& announcement, const std::vector<Route>& routes,
           std::int64_t segment_bytes, std::shared_ptr<Inbox> inbox);
  ~Exchange() override;
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  bool progress() override;
  void wait() override;

  // The call, and who has not made it yet: "all_reduce of 12 f32 elements (not called by rank 2)". Ranks are the
  // world's. From any thread, while this one waits.
  std::string describe_waiting() const;

 private:
  enum class State : std::uint8_t { moving, complete, given_up };

  // One rank that this one exchanges blocks with.
  struct Peer {
    int rank = 0;
    std::atomic<bool> heard = false;  // its announcement is here and matches
    Announcement announcement{};
    Route route;
    std::int64_t next_segment = 0;  // to post a receive for
    int in_flight = 0;              // receives posted
  };

  // What a receive is for; segment -1 is the announcement.
  struct Purpose {
    std::size_t peer;
    std::int64_t segment;
  };

  void start();
  void post_sends();
  void post_receives();
  void receive(void* place, std::int64_t bytes, Purpose purpose);
  bool receive_some();
  void take_in(const Purpose& purpose, const MPI_Status& status);
  void compare(const Peer& peer) const;
  bool sends_done();
  void advance();
  void give_up() noexcept;
  void cancel_receives() noexcept;
  void leave_queue() noexcept;
  std::string name(const char* call) const;

  std::shared_ptr<MpiGroup> group_;
  std::shared_ptr<const Announcement> announcement_;  // shared: may have to outlive a given-up exchange
  std::int64_t segment_bytes_;
  std::shared_ptr<Inbox> inbox_;
  int tag_;
  int unwinding_at_start_;
  State state_ = State::moving;
  std::shared_ptr<std::vector<Peer>> peers_;  // shared: as the announcement
  std::int64_t to_receive_ = 0;               // announcements and segments still to come
  std::vector<MPI_Request> sends_;
  std::vector<MPI_Request> receives_;
  std::vector<Purpose> purposes_;  // of receives_, entry by entry
  std::vector<int> finished_;      // MPI_Testsome's results
  std::vector<MPI_Status> statuses_;
};

}  // namespace headroom
