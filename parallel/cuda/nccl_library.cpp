#include "parallel/cuda/nccl_library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <type_traits>

#include "base/error.h"

// Where the build found it; the second place to look.
#ifndef HEADROOM_NCCL_LIBRARY
#define HEADROOM_NCCL_LIBRARY "libnccl.so.2"
#endif

namespace headroom::cuda {
namespace {

// The first that runs the collectives of several communicators in the order of their calls, which groups with streams
// of their own rely on (NCCL_LAUNCH_ORDER_IMPLICIT).
constexpr int kOldest = 22600;

struct Opened {
  NcclLibrary functions;
  std::string failure;
  std::string version;
};

std::string version_text(int version) {
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

void* open_first(std::string& failure) {
  const char* const named = std::getenv("HEADROOM_NCCL");
  for (const char* file : {named != nullptr ? named : "libnccl.so.2", HEADROOM_NCCL_LIBRARY}) {
    if (void* const handle = dlopen(file, RTLD_NOW | RTLD_LOCAL)) return handle;
    if (failure.empty()) failure = dlerror();
    if (named != nullptr) break;
  }
  return nullptr;
}

Opened open_library() {
  Opened opened;
  void* const handle = open_first(opened.failure);
  if (handle == nullptr) return opened;
  opened.failure.clear();
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, name));
    if (function == nullptr && opened.failure.empty()) opened.failure = fmt::format("this NCCL has no {}", name);
  };
  NcclLibrary& functions = opened.functions;
  find(functions.GetVersion, "ncclGetVersion");
  find(functions.GetUniqueId, "ncclGetUniqueId");
  find(functions.CommInitRankConfig, "ncclCommInitRankConfig");
  find(functions.CommSplit, "ncclCommSplit");
  find(functions.CommFinalize, "ncclCommFinalize");
  find(functions.CommDestroy, "ncclCommDestroy");
  find(functions.CommAbort, "ncclCommAbort");
  find(functions.CommGetAsyncError, "ncclCommGetAsyncError");
  find(functions.GetErrorString, "ncclGetErrorString");
  find(functions.GetLastError, "ncclGetLastError");
  find(functions.AllReduce, "ncclAllReduce");
  find(functions.AllGather, "ncclAllGather");
  find(functions.ReduceScatter, "ncclReduceScatter");
  int version = 0;
  if (functions.GetVersion != nullptr) functions.GetVersion(&version);
  opened.version = version_text(version);
  if (opened.failure.empty() && version < kOldest) {
    opened.failure = fmt::format("NCCL {} is too old ({} is needed)", opened.version, version_text(kOldest));
  }
  return opened;
}

const Opened& library() {
  static const Opened opened = open_library();
  return opened;
}

}  // namespace

const NcclLibrary& nccl() {
  if (!library().failure.empty()) throw Error(ExitCode::communication, "no NCCL: " + library().failure);
  return library().functions;
}

const std::string& why_no_nccl() {
  return library().failure;
}

std::string nccl_part() {
  if (library().failure.empty()) return "NCCL " + library().version;
  return "NCCL: " + library().failure + "; several GPUs exchange through host memory";
}

}  // namespace headroom::cuda
