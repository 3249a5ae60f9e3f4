// How long the main operations of a config's training step take alone, on this device, against the memory traffic and
// the arithmetic that it cannot do without.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "trainer/config.h"

namespace headroom {

struct KernelTiming {
  std::string name;
  double seconds = 0.0;  // median of several rounds, each many calls
  double bytes = 0.0;    // read and written once each; 0 for products and attention, which arithmetic bounds
  double flops = 0.0;    // of products and attention
};

struct KernelTable {
  std::string device;  // as its driver calls it
  DType dtype = DType::f32;
  double copy_bandwidth = 0.0;  // bytes a second, read and written, of a large copy on this device
  std::vector<KernelTiming> kernels;
};

// Times the operations at the shapes of one rank's micro-batch, alone on the device that the config asks for. Throws as
// training would, also when there is no memory for the largest operation.
KernelTable time_kernels(const RunConfig& loaded);

nlohmann::ordered_json to_json(const KernelTable& table);

}  // namespace headroom
