#include "tensor/ops.h"

#include "tensor/backend.h"
#include "tensor/cpu/table.h"

namespace headroom {

const OpTable& op_table(Device device) {
  return device == Device::cpu ? cpu::op_table() : *backend(device).operations;
}

}  // namespace headroom
