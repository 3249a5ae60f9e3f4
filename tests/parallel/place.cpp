#include "tests/parallel/place.h"

#include "parallel/local_gpu.h"

namespace headroom {

const std::optional<std::string>& why_no_gpu_for_all() {
  static const std::optional<std::string> reason = []() -> std::optional<std::string> {
    try {
      select_local_gpu(*test_runtime().world());
    } catch (const Error& error) {
      return error.what();
    }
    return std::nullopt;
  }();
  return reason;
}

const std::optional<std::string>& why_no_nccl_for_all() {
  static const std::optional<std::string> reason = []() -> std::optional<std::string> {
    try {
      choose_transport(gather_gpus(*test_runtime().world()), Transport::nccl);
    } catch (const Error& error) {
      return error.what();
    }
    return std::nullopt;
  }();
  return reason;
}

}  // namespace headroom
