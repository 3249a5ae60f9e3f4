// Runs the threads of kernels as fibers, one at a time, block after block.
//
// A fiber runs thread after thread as long as they end without waiting for others. A thread that meets a barrier or a
// warp operation keeps its fiber and waits there; others go on. Nothing is ever preempted, so a run is a function of
// the order alone, and a kernel whose result depends on the order lacks a barrier.
#pragma once

#include <cstdint>
#include <string>

namespace headroom::emulation {

// The order in which blocks, and threads of a block, get their turn. At the start it is that of the environment's
// HEADROOM_EMULATION_ORDER: "forward" (also when it is not set), "reverse", "shuffled" or "shuffled:SEED".
struct Order {
  enum class Kind : std::uint8_t { forward, reverse, shuffled } kind = Kind::forward;
  std::uint64_t seed = 1;
};
void set_order(Order order);

// "kernel scale<float>, block (0, 0, 0), thread (17, 0, 0)", or empty outside of kernels.
std::string position();
// Whether the running thread has used up its stack by touching this address.
bool stack_overflows_at(const void* address);

}  // namespace headroom::emulation
