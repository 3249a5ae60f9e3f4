#include "data/split_plan.h"

#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "base/error.h"
#include "base/file_writer.h"

namespace headroom {
namespace {

// A document's hash, part by part.
class DocumentHash {
 public:
  DocumentHash() : state_(XXH3_createState()) { HEADROOM_CHECK(state_ != nullptr, "no memory for a hash"); }
  ~DocumentHash() { XXH3_freeState(state_); }
  DocumentHash(const DocumentHash&) = delete;
  DocumentHash& operator=(const DocumentHash&) = delete;

  void begin() { XXH3_64bits_reset(state_); }
  void add(const std::string& text) { XXH3_64bits_update(state_, text.data(), text.size()); }
  std::uint64_t value() const { return XXH3_64bits_digest(state_); }

 private:
  XXH3_state_t* state_;
};

}  // namespace

SplitPlan::SplitPlan(const std::vector<std::filesystem::path>& files, const DocumentFormat& format,
                     const SplitOptions& options, const std::filesystem::path& records,
                     const std::function<void(std::uint64_t)>& progress)
    : format_(format), options_(options), records_(records) {
  if (!(options.held_out > 0 && options.held_out <= 0.5)) {
    throw Error(ExitCode::usage, fmt::format("a held-out share of {} is not in (0, 0.5]", options.held_out));
  }
  modulus_ = static_cast<std::uint64_t>(std::llround(1.0 / options.held_out));

  DocumentReader reader(files, format);
  FileWriter writer(records);
  DocumentHash hash;
  DocumentPart part;
  Record record = {};
  std::uint64_t smallest_hash = std::numeric_limits<std::uint64_t>::max();
  while (reader.next(part)) {
    if (part.first) {
      hash.begin();
      record.bytes = 0;
    }
    hash.add(part.text);
    record.bytes += part.text.size();
    if (!part.last) continue;
    record.hash = hash.value();
    writer.write(&record, sizeof record);
    smallest_hash = std::min(smallest_hash, record.hash);
    ++survey_.documents;
    survey_.text_bytes += record.bytes;
    if (progress) progress(reader.bytes_read());
  }
  writer.close();
  survey_.files = reader.files();
  if (survey_.documents == 0) {
    throw Error(ExitCode::bad_data, "the text files hold no text", "Check that they are not empty.");
  }

  const double share = options.held_out * static_cast<double>(survey_.text_bytes);
  largest_ = static_cast<std::uint64_t>(share);
  single_ = survey_.documents == 1;
  if (single_) {
    // Parts of about the held-out share; those that begin in the last share of the text are held out.
    format_.part_bytes = std::clamp<std::size_t>(static_cast<std::size_t>(share / 2), 1, format.part_bytes);
    tail_begin_ = survey_.text_bytes - static_cast<std::uint64_t>(share);
    return;
  }
  std::ifstream stored(records_, std::ios::binary);
  fallback_ = true;
  while (fallback_ && stored.read(reinterpret_cast<char*>(&record), sizeof record)) fallback_ = !candidate(record);
  fallback_hash_ = smallest_hash;
}

bool SplitPlan::candidate(const Record& record) const {
  return record.hash % modulus_ == 0 && record.bytes <= largest_;
}

SplitPlan::Walk::Walk(const SplitPlan& plan) : plan_(plan), records_(plan.records_, std::ios::binary) {}

Split SplitPlan::Walk::place(const DocumentPart& part) {
  if (part.first) {
    Record record = {};
    if (!records_.read(reinterpret_cast<char*>(&record), sizeof record)) {
      throw Error(ExitCode::bad_data, "the text files have changed while they were read", "Start again.");
    }
    const bool held_out = plan_.fallback_ ? record.hash == plan_.fallback_hash_ : plan_.candidate(record);
    current_ = held_out && !plan_.single_ ? Split::valid : Split::train;
    position_ = 0;
    if (plan_.options_.drop_duplicates && !seen_.insert(record.hash).second) {
      current_ = Split::dropped;
      ++duplicates_;
    }
  }
  const bool tail = plan_.single_ && position_ > 0 && (position_ >= plan_.tail_begin_ || part.last);
  position_ += part.text.size();
  return tail ? Split::valid : current_;
}

}  // namespace headroom
