// Accesses outside of memory, in words.
#pragma once

namespace headroom::emulation {

// From now on a kernel's access outside of device memory, and an index outside of an array where the compiler looks
// (-fsanitize=bounds), ends the process saying which kernel, block and thread it was, and what memory is near.
// Done once; other accesses go to whoever handled them before.
void report_faults();

}  // namespace headroom::emulation
