// Unicode's four normal forms, as the `tokenizers` library makes them: by the tables of Unicode 9.
#pragma once

#include <cstdint>
#include <string>

namespace headroom {

enum class UnicodeForm : std::uint8_t { nfc, nfd, nfkc, nfkd };

// Puts `text` (valid UTF-8) into the form, in place.
void normalize(UnicodeForm form, std::string& text);

}  // namespace headroom
