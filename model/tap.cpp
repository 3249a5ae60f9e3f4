#include "model/tap.h"

namespace headroom {

std::string_view name_of(Site site) {
  switch (site) {
    case Site::embedding_output:
      return "embedding_output";
    case Site::attention_norm_output:
      return "attention_norm_output";
    case Site::attention_output:
      return "attention_output";
    case Site::mlp_norm_output:
      return "mlp_norm_output";
    case Site::mlp_output:
      return "mlp_output";
    case Site::block_output:
      return "block_output";
    case Site::final_norm_output:
      return "final_norm_output";
  }
  return "";
}

}  // namespace headroom
