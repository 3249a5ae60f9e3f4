// What the library exports: the GPU as a Backend.
#include "tensor/backend.h"

#include "tensor/cuda/device.h"
#include "tensor/cuda/memory.h"
#include "tensor/cuda/parts.h"
#include "tensor/cuda/runtime.h"
#include "tensor/cuda/table.h"

namespace headroom::cuda {
namespace {

std::vector<std::string> parts() {
  std::vector<std::string> texts = cuda_versions();
  for (std::string& text : added_parts()) texts.push_back(std::move(text));
  return texts;
}

Backend make_backend() {
  Backend gpu;
  gpu.operations = &op_table();
  gpu.allocate = allocate;
  gpu.release = release;
  gpu.available_bytes = available_bytes;
  gpu.peak_bytes = peak_bytes;
  gpu.upload = upload;
  gpu.download = download;
  gpu.synchronize = synchronize;
  gpu.waits = waits;
  gpu.workspace_bytes = workspace_bytes;
  gpu.set_workspace = set_workspace;
  gpu.devices = devices;
  gpu.select_device = select_device;
  gpu.device_id = device_id;
  gpu.parts = parts;
  return gpu;
}

}  // namespace
}  // namespace headroom::cuda

extern "C" __attribute__((visibility("default"))) const headroom::Backend* headroom_backend() {
  static const headroom::Backend gpu = headroom::cuda::make_backend();
  return &gpu;
}
