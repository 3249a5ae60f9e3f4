// Which way the tensors of a device are exchanged.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace headroom {

// nccl: from GPU to GPU; needs NCCL and a GPU a rank. staged: through host memory, anywhere. automatic: NCCL where it
// serves every rank.
enum class Transport : std::uint8_t { automatic, nccl, staged };

constexpr std::string_view name_of(Transport transport) {
  switch (transport) {
    case Transport::automatic:
      return "automatic";
    case Transport::nccl:
      return "nccl";
    case Transport::staged:
      return "staged";
  }
  return "unknown";
}

// What a rank says of its GPU.
struct RankGpu {
  std::string host;
  std::string gpu;          // Backend::device_id
  std::string why_no_nccl;  // empty where NCCL can be used
};

// Every rank's, on every rank. Collective; asks the backend, so a GPU must be selected.
std::vector<RankGpu> gather_gpus(Communicator& host);

// "ranks 0, 1 and 2 share a GPU (GPU-1a2b on n1)" for every GPU of several ranks, with semicolons; empty if none is.
std::string shared_gpus(const std::vector<RankGpu>& ranks);

// nccl or staged, and why, in words for the start-up: "NCCL", "MPI through host memory: ranks 0 and 1 share a GPU
// (GPU-1a2b on n1)".
struct ChosenTransport {
  Transport transport;
  std::string text;
};

// Throws ExitCode::bad_config when NCCL is asked for and impossible, saying which ranks share which GPU or lack NCCL.
ChosenTransport choose_transport(const std::vector<RankGpu>& ranks, Transport wanted);

// The communicator for tensors on a device, and how it exchanges them, in words (as ChosenTransport::text; "MPI" for
// the CPU's; empty for a group of one).
struct DeviceCommunicator {
  std::unique_ptr<Communicator> communicator;
  std::string transport;
};

// `host` itself for the CPU, and where it is a group of one; else one that gives tensors the chosen way and control
// messages to `host`. Collective, with the same arguments on every rank; for a GPU it throws as choose_transport does,
// on every rank.
DeviceCommunicator for_device(std::unique_ptr<Communicator> host, Device device,
                              Transport transport = Transport::automatic);

}  // namespace headroom
