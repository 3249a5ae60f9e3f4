// NCCL, opened when it is asked for: where it is missing, one GPU works as before and several exchange through host
// memory.
#pragma once

#include <nccl.h>

#include <string>

namespace headroom::cuda {

// The functions in use, under their names without "nccl".
struct NcclLibrary {
  decltype(&ncclGetVersion) GetVersion = nullptr;
  decltype(&ncclGetUniqueId) GetUniqueId = nullptr;
  decltype(&ncclCommInitRankConfig) CommInitRankConfig = nullptr;
  decltype(&ncclCommSplit) CommSplit = nullptr;
  decltype(&ncclCommFinalize) CommFinalize = nullptr;
  decltype(&ncclCommDestroy) CommDestroy = nullptr;
  decltype(&ncclCommAbort) CommAbort = nullptr;
  decltype(&ncclCommGetAsyncError) CommGetAsyncError = nullptr;
  decltype(&ncclGetErrorString) GetErrorString = nullptr;
  decltype(&ncclGetLastError) GetLastError = nullptr;
  decltype(&ncclAllReduce) AllReduce = nullptr;
  decltype(&ncclAllGather) AllGather = nullptr;
  decltype(&ncclReduceScatter) ReduceScatter = nullptr;
};

// The library. Throws ExitCode::communication where there is none.
const NcclLibrary& nccl();

// Why there is none; empty if there is.
const std::string& why_no_nccl();

// "NCCL 2.28.9", or why there is none, for tensor/cuda/parts.h.
std::string nccl_part();

}  // namespace headroom::cuda
