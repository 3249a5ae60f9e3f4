// Lists the libraries of NVIDIA that this build of the backend works with. Not part of the emulated backend, which has
// none of them.
#include "tensor/cuda/parts.h"
#include "tensor/cuda/product.h"
#ifdef HEADROOM_WITH_CUDNN
#include "tensor/cuda/fused_attention.h"
#endif
#ifdef HEADROOM_WITH_NCCL
#include "parallel/cuda/nccl_library.h"
#endif

namespace headroom::cuda {
namespace {

#ifndef HEADROOM_WITH_CUDNN
std::string fused_attention_part() {
  return "cuDNN: not part of this build";
}
#endif
#ifndef HEADROOM_WITH_NCCL
std::string nccl_part() {
  return "NCCL: not part of this build";
}
#endif

[[maybe_unused]] const bool listed = add_part(cublaslt_part) && add_part(fused_attention_part) && add_part(nccl_part);

}  // namespace
}  // namespace headroom::cuda
