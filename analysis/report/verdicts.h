// "Mitigated?": what the layers' verdicts with and without BOS say together, against the baseline's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "analysis/report/study.h"

namespace headroom::report {

// Each of the two sets, with and without BOS, is massive, clean where the baseline's is massive, clean where the
// baseline's is clean too, or unknown.
enum class Mitigated : std::uint8_t {
  yes,               // clean in both, and the baseline is not
  no,                // massive, and nothing is won over the baseline
  only_with_bos,     // clean with BOS where the baseline is massive, but massive without
  only_without_bos,  // the reverse
  none_seen,         // clean in both, and so is the baseline, or there is none
  unknown            // not massive, but a max or median is not finite
};

// nullopt without a snapshot.
std::optional<Mitigated> mitigated(const Study& study, std::size_t run);

// As the files have it: "yes", "no", "only_with_bos", ...
std::string key_of(Mitigated verdict);
// As the page has it: "yes", "no", "only with BOS", ...
std::string words_of(Mitigated verdict);

// Whether any layer is massive, with or without BOS; nullopt when that is unknown or there is no snapshot.
std::optional<bool> any_massive(const Study& study, std::size_t run);

// Which layers of the main set and of its counterpart without BOS are massive or unknown, e.g. "massive: layers 1-3; no
// BOS: layer 2"; of a clean run how many were looked at.
std::string layers_note(const Study& study, std::size_t run);

}  // namespace headroom::report
