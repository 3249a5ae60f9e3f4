// Which documents are trained on and which are held out: decided from every document's size and hash, once the files
// have been read through a first time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <unordered_set>
#include <vector>

#include "data/documents.h"

namespace headroom {

struct SplitOptions {
  double held_out = 0.01;        // share of the text, in (0, 0.5]
  bool drop_duplicates = false;  // keep only the first of documents with the same text
};

enum class Split { train, valid, dropped };

// What the first reading of the files showed.
struct TextSurvey {
  std::vector<TextFile> files;
  std::uint64_t documents = 0;
  std::uint64_t text_bytes = 0;  // of the documents
};

// A document is held out when its hash modulo round(1 / held_out) is 0: the same text falls on the same side whatever
// stands around it, and copies of a document never lie on both sides. Documents larger than all that is to be held out
// are trained on. When nothing falls out of that, the document with the smallest hash is held out (with its copies),
// and of a text that is one single document its last lines.
class SplitPlan {
 public:
  // Reads all the text; a record of 16 bytes a document goes to the file `records` (rewritten), so that memory does not
  // grow with the corpus. `progress` hears the raw bytes read. Throws ExitCode::bad_data when there is no text.
  SplitPlan(const std::vector<std::filesystem::path>& files, const DocumentFormat& format, const SplitOptions& options,
            const std::filesystem::path& records, const std::function<void(std::uint64_t)>& progress);

  const TextSurvey& survey() const { return survey_; }
  // How to read the files the second time: a single document comes in parts small enough to hold the last ones out.
  const DocumentFormat& format() const { return format_; }

  // Walks through the documents in order.
  class Walk {
   public:
    explicit Walk(const SplitPlan& plan);
    // Where the next part of the text goes; parts are given in order. Throws ExitCode::bad_data when the
    // text is not the one that was surveyed.
    Split place(const DocumentPart& part);
    std::uint64_t duplicates() const { return duplicates_; }

   private:
    const SplitPlan& plan_;
    std::ifstream records_;
    std::unordered_set<std::uint64_t> seen_;  // only with drop_duplicates: 8 bytes and more a document
    std::uint64_t duplicates_ = 0;
    Split current_ = Split::train;
    std::uint64_t position_ = 0;  // bytes of the current document so far
  };

 private:
  struct Record {
    std::uint64_t hash;
    std::uint64_t bytes;
  };

  bool candidate(const Record& record) const;

  DocumentFormat format_;
  SplitOptions options_;
  std::filesystem::path records_;
  TextSurvey survey_;
  std::uint64_t modulus_ = 0;
  std::uint64_t largest_ = 0;  // bytes of a document that may be held out
  bool fallback_ = false;      // nothing was a candidate: fallback_hash_ is held out
  std::uint64_t fallback_hash_ = 0;
  bool single_ = false;
  std::uint64_t tail_begin_ = 0;  // of a single document: where the held-out part begins
};

}  // namespace headroom
