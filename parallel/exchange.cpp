#include "parallel/exchange.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>

#include "base/activity.h"

namespace headroom {
namespace {

constexpr int kMaxInFlight = 16;  // receives posted a peer; bounds the list that every poll looks through

constexpr std::size_t kMostNamed = 8;  // missing ranks in a message

// How long a failing rank waits for messages that are on their way into memory that is about to go.
constexpr std::chrono::milliseconds kLastMessages{500};

std::int64_t segments_of(std::int64_t bytes, std::int64_t segment_bytes) {
  return (bytes + segment_bytes - 1) / segment_bytes;
}

}  // namespace

Exchange::Exchange(std::shared_ptr<MpiGroup> group, const Announcement& announcement, const std::vector<Route>& routes,
                   std::int64_t segment_bytes, std::shared_ptr<Inbox> inbox)
    : group_(std::move(group)),
      announcement_(std::make_shared<const Announcement>(announcement)),
      segment_bytes_(segment_bytes),
      inbox_(std::move(inbox)),
      tag_(group_->next_tag()),
      unwinding_at_start_(std::uncaught_exceptions()),
      peers_(std::make_shared<std::vector<Peer>>(static_cast<std::size_t>(group_->size() - 1))) {
  // Each rank begins with its right neighbour, so that not all send to rank 0 first.
  for (int distance = 1; distance < group_->size(); ++distance) {
    Peer& peer = (*peers_)[static_cast<std::size_t>(distance - 1)];
    peer.rank = (group_->rank() + distance) % group_->size();
    peer.route = routes[static_cast<std::size_t>(peer.rank)];
    to_receive_ += 1 + segments_of(peer.route.receive_bytes, segment_bytes_);
  }
  try {
    start();
  } catch (...) {
    give_up();
    throw;
  }
  group_->underway()->push_back(this);
}

Exchange::~Exchange() {
  if (state_ != State::moving) return;
  if (std::uncaught_exceptions() > unwinding_at_start_) {
    give_up();
    return;
  }
  try {
    wait();
  } catch (const std::exception& error) {  // nobody is left to catch it
    std::fprintf(stderr, "error: rank %d of %d: %s\n", group_->rank(), group_->size(), error.what());
    MPI_Abort(group_->comm(), static_cast<int>(ExitCode::communication));
  }
}

std::string Exchange::name(const char* call) const {
  return fmt::format("{} in {}", call, name_of(announcement_->collective));
}

std::string Exchange::describe_waiting() const {
  std::vector<int> missing;
  for (const Peer& peer : *peers_) {
    if (!peer.heard) missing.push_back(group_->world_rank(peer.rank));
  }
  const std::string call = describe(*announcement_);
  if (missing.empty()) return fmt::format("{} (called by all {} ranks)", call, group_->size());
  std::sort(missing.begin(), missing.end());
  std::string names;
  for (std::size_t i = 0; i < std::min(missing.size(), kMostNamed); ++i) {
    names += fmt::format("{}{}", i == 0 ? "" : ", ", missing[i]);
  }
  if (missing.size() > kMostNamed) names += fmt::format(" and {} more", missing.size() - kMostNamed);
  return fmt::format("{} (not called by rank{} {})", call, missing.size() == 1 ? "" : "s", names);
}

void Exchange::start() {
  for (std::size_t i = 0; i < peers_->size(); ++i) receive(&(*peers_)[i].announcement, sizeof(Announcement), {i, -1});
  post_sends();
}

void Exchange::post_sends() {
  const auto send = [&](const void* data, std::int64_t bytes, int rank) {
    const int code = MPI_Isend(data, static_cast<int>(bytes), MPI_BYTE, rank, tag_, group_->comm(),
                               &sends_.emplace_back(MPI_REQUEST_NULL));
    if (code != MPI_SUCCESS) group_->check(code, name("MPI_Isend"));
  };
  for (const Peer& peer : *peers_) send(announcement_.get(), sizeof(Announcement), peer.rank);
  // Segment by segment over all peers, so that each has something to begin with.
  bool more = true;
  for (std::int64_t begin = 0; more; begin += segment_bytes_) {
    more = false;
    for (const Peer& peer : *peers_) {
      if (begin >= peer.route.send_bytes) continue;
      const std::int64_t bytes = std::min(segment_bytes_, peer.route.send_bytes - begin);
      send(peer.route.send + begin, bytes, peer.rank);
      group_->traffic.bytes += bytes;
      more = true;
    }
  }
}

void Exchange::receive(void* place, std::int64_t bytes, Purpose purpose) {
  purposes_.push_back(purpose);
  const int code = MPI_Irecv(place, static_cast<int>(bytes), MPI_BYTE, (*peers_)[purpose.peer].rank, tag_,
                             group_->comm(), &receives_.emplace_back(MPI_REQUEST_NULL));
  if (code != MPI_SUCCESS) group_->check(code, name("MPI_Irecv"));
}

void Exchange::post_receives() {
  for (std::size_t i = 0; i < peers_->size(); ++i) {
    Peer& peer = (*peers_)[i];
    const std::int64_t bytes = peer.route.receive_bytes;
    while (peer.heard && peer.in_flight < kMaxInFlight && peer.next_segment * segment_bytes_ < bytes) {
      std::byte* const place = inbox_->place(peer.rank, peer.next_segment);
      if (place == nullptr) break;
      receive(place, std::min(segment_bytes_, bytes - peer.next_segment * segment_bytes_), {i, peer.next_segment});
      ++peer.next_segment;
      ++peer.in_flight;
    }
  }
}

// True if something arrived.
bool Exchange::receive_some() {
  finished_.resize(receives_.size());
  statuses_.resize(receives_.size());
  int count = 0;
  const int code =
      MPI_Testsome(static_cast<int>(receives_.size()), receives_.data(), &count, finished_.data(), statuses_.data());
  if (code != MPI_SUCCESS && code != MPI_ERR_IN_STATUS) group_->check(code, name("MPI_Testsome"));
  if (count == MPI_UNDEFINED || count == 0) return false;
  for (int i = 0; i < count; ++i) {
    const MPI_Status& status = statuses_[static_cast<std::size_t>(i)];
    if (code == MPI_ERR_IN_STATUS) group_->check(status.MPI_ERROR, name("a receive"));
    take_in(purposes_[static_cast<std::size_t>(finished_[static_cast<std::size_t>(i)])], status);
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < receives_.size(); ++i) {
    if (receives_[i] == MPI_REQUEST_NULL) continue;
    receives_[kept] = receives_[i];
    purposes_[kept++] = purposes_[i];
  }
  receives_.resize(kept);
  purposes_.resize(kept);
  post_receives();
  return true;
}

void Exchange::take_in(const Purpose& purpose, const MPI_Status& status) {
  Peer& peer = (*peers_)[purpose.peer];
  --to_receive_;
  note_progress();
  if (purpose.segment < 0) {
    compare(peer);
    peer.heard = true;
    return;
  }
  const std::int64_t expected = std::min(segment_bytes_, peer.route.receive_bytes - purpose.segment * segment_bytes_);
  int bytes = 0;
  group_->check(MPI_Get_count(&status, MPI_BYTE, &bytes), "MPI_Get_count");
  HEADROOM_CHECK(bytes == expected, "a segment of {} bytes where {} were expected", bytes, expected);
  --peer.in_flight;
  inbox_->arrived(peer.rank, purpose.segment);
}

void Exchange::compare(const Peer& peer) const {
  if (peer.announcement == *announcement_) return;
  throw Error(
      ExitCode::communication,
      fmt::format("calls do not match in a group of {} ranks: rank {} calls {}, rank {} calls {}", group_->size(),
                  group_->rank(), describe(*announcement_), peer.rank, describe(peer.announcement)),
      "All ranks must run the same program with the same config and the same data.");
}

bool Exchange::sends_done() {
  int done = 0;
  const int code = MPI_Testall(static_cast<int>(sends_.size()), sends_.data(), &done, MPI_STATUSES_IGNORE);
  if (code != MPI_SUCCESS) group_->check(code, name("MPI_Testall"));
  return done != 0;
}

// Does what can be done now.
void Exchange::advance() {
  if (state_ != State::moving) return;
  try {
    while (to_receive_ > 0 && receive_some()) {
    }
    if (to_receive_ > 0 || !sends_done()) return;
  } catch (...) {
    give_up();
    throw;
  }
  state_ = State::complete;
  leave_queue();
  inbox_.reset();
}

bool Exchange::progress() {
  HEADROOM_CHECK(state_ != State::given_up, "an exchange that failed before");
  advance();
  return state_ == State::complete;
}

void Exchange::wait() {
  if (state_ == State::complete) return;
  const WaitingClock clock(*group_);
  const Activity activity(
      Activity::Kind::communication,
      [](const void* exchange) { return static_cast<const Exchange*>(exchange)->describe_waiting(); }, this);
  const std::shared_ptr<MpiGroup::Underway> underway = group_->underway();
  while (!progress()) {
    // Another rank may first need something of this one for an exchange that it waits for. From the back, because one
    // that completes leaves the queue.
    for (std::size_t i = underway->size(); i-- > 0;) {
      if ((*underway)[i] != this) (*underway)[i]->advance();
    }
  }
}

// After a failure: takes back what can be taken back and keeps the memory that a late message may still need. The
// program is about to end.
void Exchange::give_up() noexcept {
  state_ = State::given_up;
  leave_queue();
  cancel_receives();
  // Sends cannot be taken back; a peer that still listens reads the caller's memory.
  for (MPI_Request& request : sends_) {
    if (request != MPI_REQUEST_NULL) MPI_Request_free(&request);
  }
  group_->keep(std::move(inbox_));
  group_->keep(peers_);
  group_->keep(std::const_pointer_cast<Announcement>(announcement_));
}

// A receive that no message has reached yet is cancelled. One whose message is on its way ends with the message, whose
// sender may have failed as well: so the wait is short, and what is left then is let go.
void Exchange::cancel_receives() noexcept {
  for (MPI_Request& request : receives_) {
    if (request != MPI_REQUEST_NULL) MPI_Cancel(&request);
  }
  const auto deadline = std::chrono::steady_clock::now() + kLastMessages;
  int done = 0;
  do {
    const int code = MPI_Testall(static_cast<int>(receives_.size()), receives_.data(), &done, MPI_STATUSES_IGNORE);
    if (code != MPI_SUCCESS) break;
  } while (done == 0 && std::chrono::steady_clock::now() < deadline);
  for (MPI_Request& request : receives_) {
    if (request != MPI_REQUEST_NULL) MPI_Request_free(&request);
  }
}

void Exchange::leave_queue() noexcept {
  std::erase(*group_->underway(), this);
}

}  // namespace headroom
