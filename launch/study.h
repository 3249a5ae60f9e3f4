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
  std::filesystem::path out;        // empty: NAME-study in the current directory, by the model's name
  std::string title;                // of the page; empty: the model's name
  study::Options options;
};

// Prints the path of the page. Throws as open_model, model_tokenizer, study::study and study::write_report do, and
// ExitCode::usage for sequences that are too short; a place that cannot take the report is refused before anything is
// computed.
ExitCode run_study(const StudyRequest& request);

}  // namespace headroom
