// Where a text may be cut so that the ids of its two parts are those of the whole.
#pragma once

#include <cstddef>
#include <string_view>

namespace headroom {

// The last place where a blank stands between two letters: no tokenizer that is read here (data/tokenizer.h) joins a
// letter to a blank behind it, and what a word becomes does not depend on the words around it. (An added token that
// holds such a blank would be an exception.) The text's size when there is no such place. `text` is valid UTF-8.
std::size_t last_word_cut(std::string_view text);

}  // namespace headroom
