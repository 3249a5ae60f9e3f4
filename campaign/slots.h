// This machine shared out over a campaign's runs.
#pragma once

#include <string>
#include <vector>

#include "campaign/spec.h"

namespace headroom::campaign {

// What a machine has to share out.
struct Machine {
  std::vector<int> cores;         // that this process may use
  std::vector<std::string> gpus;  // as CUDA_VISIBLE_DEVICES names them
};

// GPUs are looked at only where `with_gpus`. Throws ExitCode::usage, saying why, where there is none then.
Machine this_machine(bool with_gpus);

// Where one run trains at a time.
struct Slot {
  std::vector<int> cores;
  std::vector<std::string> gpus;
  std::string core_list() const;  // "0,1,4": as taskset takes it
  std::string gpu_list() const;   // "0,1": as CUDA_VISIBLE_DEVICES takes it
};

// As many slots as the resources ask for, or as there is room for, but no more than runs; cores shared out evenly,
// neighbours together, GPUs to one slot each. Throws ExitCode::bad_config where a run wants more GPUs than there are,
// or more runs at once than there are GPUs for.
std::vector<Slot> slots_of(const Resources& resources, const Machine& machine, std::size_t runs);

}  // namespace headroom::campaign
