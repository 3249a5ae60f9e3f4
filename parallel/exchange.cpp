#include "parallel/exchange.h"

#include <algorithm>
#include <cstdio>
#include <exception>

namespace headroom {
namespace {

constexpr int kMaxInFlight = 16;  // receives posted a peer; bounds the list that every poll looks through

const char* name_of_collective(std::int32_t collective) {
  switch (static_cast<Collective>(collective)) {
    case Collective::all_gather:
      return "all_gather";
    case Collective::reduce_scatter:
      return "reduce_scatter";
    case Collective::all_reduce:
      return "all_reduce";
  }
  return "another collective";
}

std::int64_t segments_of(std::int64_t bytes, std::int64_t segment_bytes) {
  return (bytes + segment_bytes - 1) / segment_bytes;
}

}  // namespace

Exchange::Exchange(std::shared_ptr<MpiGroup> group, const Announcement& announcement, const std::vector<Route>& routes,
                   std::int64_t segment_bytes, std::shared_ptr<Inbox> inbox)
    : group_(std::move(group)),
      header_{static_cast<std::int32_t>(announcement.collective), static_cast<std::int16_t>(announcement.dtype),
              static_cast<std::int16_t>(announcement.reduction), announcement.elements},
      segment_bytes_(segment_bytes),
      inbox_(std::move(inbox)),
      tag_(group_->next_tag()),
      unwinding_at_start_(std::uncaught_exceptions()) {
  // Each rank begins with its right neighbour, so that not all send to rank 0 first.
  for (int distance = 1; distance < group_->size(); ++distance) {
    Peer peer;
    peer.rank = (group_->rank() + distance) % group_->size();
    peer.route = routes[static_cast<std::size_t>(peer.rank)];
    to_receive_ += 1 + segments_of(peer.route.receive_bytes, segment_bytes_);
    peers_.push_back(peer);
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
  return fmt::format("{} in {}", call, name_of_collective(header_.collective));
}

void Exchange::start() {
  for (std::size_t i = 0; i < peers_.size(); ++i) receive(&peers_[i].header, sizeof(Header), {i, -1});
  post_sends();
}

void Exchange::post_sends() {
  const auto send = [&](const void* data, std::int64_t bytes, int rank) {
    const int code = MPI_Isend(data, static_cast<int>(bytes), MPI_BYTE, rank, tag_, group_->comm(),
                               &sends_.emplace_back(MPI_REQUEST_NULL));
    if (code != MPI_SUCCESS) group_->check(code, name("MPI_Isend"));
  };
  for (const Peer& peer : peers_) send(&header_, sizeof(Header), peer.rank);
  // Segment by segment over all peers, so that each has something to begin with.
  bool more = true;
  for (std::int64_t begin = 0; more; begin += segment_bytes_) {
    more = false;
    for (const Peer& peer : peers_) {
      if (begin >= peer.route.send_bytes) continue;
      send(peer.route.send + begin, std::min(segment_bytes_, peer.route.send_bytes - begin), peer.rank);
      more = true;
    }
  }
}

void Exchange::receive(void* place, std::int64_t bytes, Purpose purpose) {
  purposes_.push_back(purpose);
  const int code = MPI_Irecv(place, static_cast<int>(bytes), MPI_BYTE, peers_[purpose.peer].rank, tag_, group_->comm(),
                             &receives_.emplace_back(MPI_REQUEST_NULL));
  if (code != MPI_SUCCESS) group_->check(code, name("MPI_Irecv"));
}

void Exchange::post_receives() {
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    Peer& peer = peers_[i];
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
  Peer& peer = peers_[purpose.peer];
  --to_receive_;
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
  const Header& theirs = peer.header;
  if (theirs.collective == header_.collective && theirs.dtype == header_.dtype &&
      theirs.reduction == header_.reduction && theirs.elements == header_.elements) {
    return;
  }
  const auto text = [](const Header& header) {
    const bool max = static_cast<Reduction>(header.reduction) == Reduction::max;
    return fmt::format("{}{} of {} {} elements", name_of_collective(header.collective), max ? " (max)" : "",
                       header.elements, name_of(static_cast<DType>(header.dtype)));
  };
  throw Error(ExitCode::communication,
              fmt::format("calls do not match in a group of {} ranks: rank {} calls {}, rank {} calls {}",
                          group_->size(), group_->rank(), text(header_), peer.rank, text(theirs)),
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
  const std::shared_ptr<MpiGroup::Underway> underway = group_->underway();
  while (!progress()) {
    // Another rank may first need something of this one for an exchange that it waits for. From the back, because one
    // that completes leaves the queue.
    for (std::size_t i = underway->size(); i-- > 0;) {
      if ((*underway)[i] != this) (*underway)[i]->advance();
    }
  }
}

// After a failure: frees what can be freed and keeps the memory that a late message may still be written to. The
// program is about to end.
void Exchange::give_up() noexcept {
  state_ = State::given_up;
  leave_queue();
  for (MPI_Request& request : receives_) {
    if (request == MPI_REQUEST_NULL) continue;
    MPI_Cancel(&request);
    MPI_Request_free(&request);
  }
  for (MPI_Request& request : sends_) {
    if (request != MPI_REQUEST_NULL) MPI_Request_free(&request);
  }
  group_->keep(std::move(inbox_));
  group_->keep(std::make_shared<std::vector<Peer>>(std::move(peers_)));
}

void Exchange::leave_queue() noexcept {
  std::erase(*group_->underway(), this);
}

}  // namespace headroom
