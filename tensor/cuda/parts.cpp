#include "tensor/cuda/parts.h"

#include <algorithm>

namespace headroom::cuda {
namespace {

std::vector<Part>& parts() {
  static auto& made = *new std::vector<Part>;  // static initialisers of other files come in any order
  return made;
}

}  // namespace

bool add_part(Part part) {
  parts().push_back(part);
  return true;
}

std::vector<std::string> added_parts() {
  std::vector<std::string> texts;
  for (const Part part : parts()) texts.push_back(part());
  std::sort(texts.begin(), texts.end());
  return texts;
}

}  // namespace headroom::cuda
