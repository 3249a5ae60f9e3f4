#include "trainer/hardware.h"

#include <algorithm>

namespace headroom {

const std::vector<GpuFigures>& known_gpus() {
  constexpr double kGiB = 1073741824.0;
  static const std::vector<GpuFigures> gpus = {
      {"h100-sxm", "NVIDIA H100 80GB HBM3", 989.4e12, 66.9e12, 79.0 * kGiB, 3.35e12, 450e9, 50e9, 8},
      {"h200-sxm", "NVIDIA H200", 989.4e12, 66.9e12, 139.0 * kGiB, 4.8e12, 450e9, 50e9, 8},
      {"a100-sxm", "NVIDIA A100-SXM4-80GB", 312.0e12, 19.5e12, 79.0 * kGiB, 2.039e12, 300e9, 25e9, 8},
  };
  return gpus;
}

const GpuFigures* find_gpu(const std::string& name) {
  const auto& gpus = known_gpus();
  // "NVIDIA H200 NVL" and slices of a GPU begin like the whole, and are something else.
  const std::string device = name.substr(0, name.find(", "));
  const auto found = std::find_if(gpus.begin(), gpus.end(),
                                  [&](const GpuFigures& gpu) { return name == gpu.key || device == gpu.name; });
  return found == gpus.end() ? nullptr : &*found;
}

}  // namespace headroom
