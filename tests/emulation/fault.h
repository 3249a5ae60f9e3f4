// What a kernel did that a GPU would answer with undefined behaviour.
#pragma once

#include <stdexcept>

namespace headroom::emulation {

// Thrown by the launch. Accesses outside of memory cannot be thrown: they end the process with the same words.
class Fault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace headroom::emulation
