// Where threads wait for each other: barriers and warp operations.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>

#include "tests/emulation/fault.h"
#include "tests/emulation/scheduling.h"

namespace headroom::emulation {
namespace {

const char* name_of(WarpOp operation) {
  switch (operation) {
    case WarpOp::sync:
      return "__syncwarp";
    case WarpOp::shuffle:
      return "a shuffle";
    case WarpOp::ballot:
      return "a vote";
    case WarpOp::match:
      return "__match_any_sync";
    default:
      return "a warp reduction";
  }
}

}  // namespace

int Scheduler::barrier(Barrier kind, int predicate, Place place) {
  if (!inside_) throw Fault("__syncthreads outside of a kernel");
  Thread& own = threads_[current_];
  own.place = place;
  own.predicate = predicate;
  if (at_barrier_ == 0) {
    barrier_ = kind;
    first_at_barrier_ = current_;
  }
  const Place& met = threads_[first_at_barrier_].place;
  if (met.line != place.line || std::strcmp(met.file, place.file) != 0) {
    fail(fmt::format("comes to the barrier of {} while thread {} waits at that of {}", text(place),
                     text(coordinates(first_at_barrier_, blockDim)), text(met)));
  }
  if (++at_barrier_ == threads_.size()) {
    own.state = State::at_barrier;
    release_barrier();
  }
  wait(threads_[current_].state == State::ready ? State::ready : State::at_barrier);
  return own.predicate;
}

void Scheduler::release_barrier() {
  int count = 0;
  for (const Thread& thread : threads_) count += thread.predicate != 0 ? 1 : 0;
  int result = count;
  if (barrier_ == Barrier::any) result = count > 0 ? 1 : 0;
  if (barrier_ == Barrier::all) result = count == static_cast<int>(threads_.size()) ? 1 : 0;
  at_barrier_ = 0;
  for (const unsigned thread : turns_) {
    threads_[thread].predicate = result;
    threads_[thread].state = State::ready;
    ready_.push_back(thread);
  }
}

std::uint64_t Scheduler::warp_operation(WarpOp operation, unsigned mask, std::uint64_t value, int source, Place place) {
  if (!inside_) throw Fault("a warp operation outside of a kernel");
  const unsigned first = current_ / kWarp * kWarp;
  const unsigned lanes = std::min<unsigned>(kWarp, static_cast<unsigned>(threads_.size()) - first);
  Thread* const warp = threads_.data() + first;
  Thread& own = threads_[current_];
  const unsigned own_bit = 1U << (current_ - first);
  if ((mask & own_bit) == 0)
    fail(fmt::format("{}: calls {} with a mask {:#x} without its own lane", text(place), name_of(operation), mask));
  if (lanes < kWarp && (mask >> lanes) != 0) {
    fail(fmt::format("{}: calls {} with mask {:#x}, but its warp has {} lanes", text(place), name_of(operation), mask,
                     lanes));
  }
  own.place = place;
  own.operation = operation;
  own.mask = mask;
  own.value = value;
  own.source = source;
  unsigned arrived = own_bit;
  for (unsigned other = 0; other < lanes; ++other) {
    const Thread& waiting = warp[other];
    if (waiting.state != State::at_warp_operation || ((mask | waiting.mask) & (1U << other)) == 0) continue;
    const bool concerned = (mask & (1U << other)) != 0 || (waiting.mask & own_bit) != 0;
    if (!concerned) continue;
    if (waiting.operation != operation || waiting.mask != mask) {
      fail(fmt::format("calls {} with mask {:#x} ({}) while lane {} waits at {} with mask {:#x} ({})",
                       name_of(operation), mask, text(place), other, name_of(waiting.operation), waiting.mask,
                       text(waiting.place)));
    }
    arrived |= 1U << other;
  }
  if (arrived != mask) {
    wait(State::at_warp_operation);
  } else {
    complete(warp, mask);
    let_go_on(first, mask);
    wait(State::ready);
  }
  return own.value;
}

// The lanes' turns come next, so that a warp runs far ahead of others where no barrier holds it back. When shuffled,
// now and then another warp overtakes it.
void Scheduler::let_go_on(unsigned first, unsigned mask) {
  std::vector<unsigned> lanes;
  const auto turns_of_warp = turns_.begin() + turns_of_warp_[first / kWarp];
  std::copy_if(turns_of_warp, turns_of_warp + std::min<std::ptrdiff_t>(kWarp, turns_.end() - turns_of_warp),
               std::back_inserter(lanes), [&](unsigned thread) {
                 return thread / kWarp == first / kWarp && (mask & (1U << (thread - first))) != 0;
               });
  for (const unsigned thread : lanes) threads_[thread].state = State::ready;
  const bool overtaken = order_.kind == Order::Kind::shuffled && random_() % 4 == 0;
  ready_.insert(overtaken ? ready_.end() : ready_.begin(), lanes.begin(), lanes.end());
}

void Scheduler::complete(Thread* warp, unsigned mask) {
  std::uint64_t brought[kWarp] = {};
  std::uint64_t together = 0;
  const WarpOp operation = warp[std::countr_zero(mask)].operation;
  bool first = true;
  for (int lane = 0; lane < kWarp; ++lane) {
    if ((mask & (1U << lane)) == 0) continue;
    const std::uint64_t value = warp[lane].value;
    brought[lane] = value;
    if (operation == WarpOp::ballot) {
      together |= value << lane;
    } else if (first) {
      together = value;
    } else if (operation == WarpOp::sum) {
      together += value;
    } else if (operation == WarpOp::least) {
      together = std::min(together, value);
    } else if (operation == WarpOp::most) {
      together = std::max(together, value);
    } else if (operation == WarpOp::bit_and) {
      together &= value;
    } else if (operation == WarpOp::bit_or) {
      together |= value;
    } else if (operation == WarpOp::bit_xor) {
      together ^= value;
    }
    first = false;
  }
  for (int lane = 0; lane < kWarp; ++lane) {
    if ((mask & (1U << lane)) == 0) continue;
    Thread& thread = warp[lane];
    if (operation == WarpOp::shuffle) {
      thread.value = (mask & (1U << thread.source)) != 0 ? brought[thread.source] : ~std::uint64_t{0};
    } else if (operation == WarpOp::match) {
      std::uint64_t same = 0;
      for (int other = 0; other < kWarp; ++other) {
        if ((mask & (1U << other)) != 0 && brought[other] == brought[lane]) same |= std::uint64_t{1} << other;
      }
      thread.value = same;
    } else {
      thread.value = together;
    }
  }
}

void Scheduler::fail(const std::string& what) const {
  throw Fault(position() + ": " + what);
}

// Nobody can go on: somebody waits for threads that wait elsewhere or have left.
void Scheduler::report_standstill() const {
  const auto waits = [&](State state) {
    return std::find_if(threads_.begin(), threads_.end(), [&](const Thread& thread) { return thread.state == state; });
  };
  const auto number = [&](auto thread) { return static_cast<unsigned>(thread - threads_.begin()); };
  const auto at_operation = waits(State::at_warp_operation);
  if (at_operation != threads_.end()) {
    const unsigned first = number(at_operation) / kWarp * kWarp;
    for (unsigned lane = 0; lane < kWarp; ++lane) {
      const bool wanted = (at_operation->mask & (1U << lane)) != 0;
      if (!wanted || threads_[first + lane].state == State::at_warp_operation) continue;
      throw Fault(fmt::format("{}: waits at {} ({}, mask {:#x}) for lane {}, which {}",
                              position_of(number(at_operation)), name_of(at_operation->operation),
                              text(at_operation->place), at_operation->mask, lane,
                              threads_[first + lane].state == State::done
                                  ? "has left the kernel"
                                  : "waits at the barrier of " + text(threads_[first + lane].place)));
    }
    throw Fault(position_of(number(at_operation)) + ": lanes wait for each other at " + text(at_operation->place));
  }
  const auto at_barrier = waits(State::at_barrier);
  const auto left = waits(State::done);
  throw Fault(fmt::format("{}: waits at the barrier of {} while thread {} has left the kernel",
                          position_of(number(at_barrier)), text(at_barrier->place),
                          text(coordinates(number(left), blockDim))));
}

int lane() {
  return scheduler().lane();
}

int source_lane(Shuffle kind, int argument, int width) {
  const int own = lane();
  const int section = own / width * width;
  int source = own;
  switch (kind) {
    case Shuffle::index:
      return section + (argument & (width - 1));
    case Shuffle::up:
      source = own - argument;
      return source < section ? own : source;
    case Shuffle::down:
      source = own + argument;
      return source >= section + width ? own : source;
    case Shuffle::exclusive_or:
      source = own ^ argument;
      return source >= section + width ? own : source;
  }
  return own;
}

int block_barrier(Barrier kind, int predicate, Place place) {
  return scheduler().barrier(kind, predicate, place);
}

std::uint64_t warp_operation(WarpOp operation, unsigned mask, std::uint64_t value, int source, Place place) {
  return scheduler().warp_operation(operation, mask, value, source, place);
}

}  // namespace headroom::emulation
