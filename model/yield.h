// A backward gives way between its large products: whatever runs meanwhile (the reduction of gradients that are final)
// moves only while someone looks at it, and a product is a long time not to look.
#pragma once

#include <functional>

namespace headroom {

using Yield = std::function<void()>;

}  // namespace headroom
