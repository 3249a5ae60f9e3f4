// What a study found, as a directory: index.html, figures/*.svg, tables/*.csv and *.json, of which tables/study.json
// has all of it with its provenance.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "analysis/study/study.h"
#include "data/tokenizer.h"

namespace headroom::study {

struct Subject {
  struct Text {
    std::string file;
    std::string use;  // "text" or "held out"
    std::string hash;
    std::int64_t tokens = 0;  // of what was read of it
  };

  std::string title;   // of the page
  std::string name;    // the model's, a run's with its step
  std::string source;  // the directory of its files
  decoder::Config config;
  std::vector<Text> texts;
  std::string tokenizer;             // its fingerprint
  std::vector<std::string> notes;    // what could not be had
  std::vector<Sequences> sequences;  // of each condition
  double seconds = 0.0;              // of the passes
};

// Writes the directory beside its place and renames it, over an earlier report only; returns index.html. Throws
// ExitCode::usage for a place that is something else, ExitCode::disk_full.
std::filesystem::path write_report(const std::filesystem::path& place, const Subject& subject,
                                   const std::vector<Condition>& conditions, const Options& options,
                                   const Tokenizer& tokenizer);

}  // namespace headroom::study
