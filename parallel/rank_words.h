// A few words from every rank to every rank, for start-up decisions that all must take alike.
#pragma once

#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace headroom {

// What each rank passes, by rank, on every rank; line breaks become spaces. Collective.
std::vector<std::vector<std::string>> gather_words(Communicator& group, const std::vector<std::string>& words);

}  // namespace headroom
