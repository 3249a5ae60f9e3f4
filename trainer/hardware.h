// What GPUs can do by their makers' data sheets; for plans and for model-FLOP utilisation, never for a promise.
#pragma once

#include <string>
#include <vector>

#include "tensor/dtype.h"

namespace headroom {

struct GpuFigures {
  const char* key;    // "h100-sxm"
  const char* name;   // as its driver calls it
  double bf16_flops;  // dense, a second, with tensor cores
  double f32_flops;   // a second, without
  double memory_bytes;
  double memory_bandwidth;   // bytes a second
  double node_bandwidth;     // bytes a second that one GPU sends to others of its node
  double network_bandwidth;  // and to other nodes, at one adapter a GPU
  int gpus_per_node;

  double flops(DType dtype) const { return dtype == DType::bf16 ? bf16_flops : f32_flops; }
};

// Sources: NVIDIA's data sheets of H100, H200 (SXM) and A100 (SXM, 80 GB), NVLink counted in one direction; networks
// are the adapters of NVIDIA's DGX systems, 400 Gb/s a GPU (200 for A100).
const std::vector<GpuFigures>& known_gpus();

// The figures of a key, or of a device as its driver names it; null if unknown.
const GpuFigures* find_gpu(const std::string& name);

}  // namespace headroom
