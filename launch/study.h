// headroom analyze MODEL --text: the study of one model's massive activations.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "analysis/study/options.h"
#include "base/error.h"

namespace headroom {

struct StudyRequest {
  std::filesystem::path model;
  std::vector<std::filesystem::path> texts;
  std::vector<std::filesystem::path> held_out;
  std::filesystem::path tokenizer;  // empty: the model's own
  std::filesystem::path out;        // empty: MODEL-study in the current directory
  study::Options options;
};

// Prints the path of the page. Throws as open_model, Tokenizer::load and study::write_report do.
ExitCode run_study(const StudyRequest& request);

}  // namespace headroom
