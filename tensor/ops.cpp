#include "tensor/ops.h"

#include "tensor/cpu/table.h"

namespace headroom {

const OpTable& op_table(Device device) {
  if (device == Device::cpu) return cpu::op_table();
  throw Error(ExitCode::usage, "this build has no operations for that device", "Set device = \"cpu\".");
}

}  // namespace headroom
