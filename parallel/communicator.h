// A group of ranks that exchange tensors. Code above parallel/ sees this interface and never the library behind it.
//
// Every call is collective: each rank of the group makes the same calls in the same order. Blocking calls return when
// the rank's own tensors may be used; asynchronous ones hand back a Pending, and their tensors must stay untouched
// until it is waited for.
//
// Tensors of a GPU: a collective has its turn in the device's work. It takes place after all operations that were
// called before it; operations that are called after a blocking call has returned, or after a Pending was waited for,
// take place after it. The host need not have waited for any of that: to look at a result is to download it
// (tensor/transfer.h), which waits. Every rank's tensors are in host memory, or every rank's on its GPU.
//
// Sums: through host memory their order depends on the number of ranks alone, bf16 is added up in f32 and rounded once,
// and a maximum over a NaN is NaN. NCCL's order depends on the tensor's size and the hardware between the ranks as
// well, it rounds bf16 at every step on the way, and makes of a NaN among maxima what it likes. Either way the same
// layout on the same machines gives the same bits, on every rank.
//
// A failing library, or ranks whose calls do not match (another collective, dtype, size or root), is an
// Error(ExitCode::communication) on the ranks that see it; the group is of no further use then. NCCL looks at no one
// else's calls: there ranks that do not match hang, until a watchdog ends the job with that exit code
// (parallel/watchdog.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "tensor/tensor.h"

namespace headroom {

enum class Reduction : std::uint8_t { sum, max };

// An asynchronous collective under way. Destroying an unfinished one waits for it, except while an exception unwinds
// the stack: then it is given up, because the other ranks may never take part.
class Pending {
 public:
  virtual ~Pending() = default;
  // Moves the exchange along without blocking; true when it is complete, and its tensors may be used. Call it between
  // pieces of computation: host communication moves only while someone looks at it.
  virtual bool progress() = 0;
  virtual void wait() = 0;
};

// What this rank has sent since the group was made, counted where it is handed to the library: the bytes of tensors,
// numbers and messages, once for each rank they go to. Announcements (16 bytes a call and rank) are not in it. NCCL
// does not say what it sends; of n ranks each is counted to send (n-1)/n of the whole tensor in an all_gather or a
// reduce_scatter, and twice that in an all_reduce, as in a ring.
struct Traffic {
  std::int64_t bytes = 0;
};

// Through host memory an all-reduce of up to this many bytes over all ranks sends all of them everywhere: fewer
// messages one after another. A larger one sends each rank its part, and then everyone the part's result.
inline constexpr std::int64_t kSmallAllReduce = std::int64_t{64} << 10;

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  // x = reduction over ranks of x, elementwise, in place.
  virtual void all_reduce(Tensor x, Reduction reduction) = 0;

  // whole [size * n] = the shards [n] in rank order. `shard` may be the rank's own place in `whole`.
  virtual void all_gather(const Tensor& shard, Tensor whole) = 0;
  virtual std::unique_ptr<Pending> all_gather_async(const Tensor& shard, Tensor whole) = 0;

  // shard [n] = sum over ranks of their whole[rank*n, (rank+1)*n). `shard` may be the rank's own place in `whole`.
  virtual void reduce_scatter(const Tensor& whole, Tensor shard) = 0;
  virtual std::unique_ptr<Pending> reduce_scatter_async(const Tensor& whole, Tensor shard) = 0;

  // Control messages: bytes of any length. Only `root` gets the vector of all ranks' messages, others an empty one.
  virtual std::vector<std::vector<std::byte>> gather_bytes(std::span<const std::byte> message, int root) = 0;
  // Every rank returns root's message.
  virtual std::vector<std::byte> broadcast_bytes(std::span<const std::byte> message, int root) = 0;

  // Host numbers, for decisions and bookkeeping; the same result on every rank.
  virtual void all_reduce(std::span<double> values, Reduction reduction) = 0;
  virtual void all_reduce(std::span<std::int64_t> values, Reduction reduction) = 0;

  virtual void barrier() = 0;

  // A subgroup of the ranks that pass the same color, ordered by key.
  virtual std::unique_ptr<Communicator> split(int color, int key) = 0;

  virtual Traffic traffic() const = 0;

  // Seconds this rank has waited for others, inside blocking calls and Pending::wait, since the group was made. Where
  // NCCL exchanges tensors: seconds that the device's own work has stood still for a collective that was not finished,
  // as far as the device has come.
  virtual double seconds_waiting() const = 0;
};

// A group of one, without any library, for tensors on every device: single-process runs, offline analysis and tests.
std::unique_ptr<Communicator> make_self_communicator();

}  // namespace headroom
