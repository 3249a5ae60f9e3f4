#include "analysis/probe.h"

#include <algorithm>
#include <optional>
#include <span>

#include "base/error.h"

namespace headroom {
namespace {

// Makes sequences of ids presentable: BOS in front or not, text and pieces.
class SequenceMaker {
 public:
  SequenceMaker(const Tokenizer* tokenizer, std::int64_t vocab_size) : tokenizer_(tokenizer), vocab_size_(vocab_size) {
    if (tokenizer != nullptr && tokenizer->has_bos()) bos_ = tokenizer->bos();
  }

  std::optional<std::int32_t> bos() const { return bos_; }

  ProbeSequence make(std::vector<std::int32_t> ids, bool with_bos, ProbeKind kind) const {
    ProbeSequence sequence;
    sequence.bos = with_bos;
    sequence.kind = kind;
    if (tokenizer_ != nullptr) sequence.text = tokenizer_->decode(ids);
    if (with_bos) ids.insert(ids.begin(), *bos_);
    for (const std::int32_t id : ids) {
      if (id < 0 || id >= vocab_size_) {
        throw Error(ExitCode::bad_config,
                    fmt::format("a probe sequence has token id {}, the model's vocabulary {} tokens", id, vocab_size_),
                    "Use the tokenizer the corpus was made with, and a model.vocab_size that covers it.");
      }
      sequence.pieces.push_back(tokenizer_ != nullptr ? tokenizer_->piece(id) : std::to_string(id));
    }
    sequence.ids = std::move(ids);
    return sequence;
  }

 private:
  const Tokenizer* tokenizer_;
  std::int64_t vocab_size_;
  std::optional<std::int32_t> bos_;
};

void add_sentences(const SnapshotConfig& config, const Tokenizer* tokenizer, const SequenceMaker& maker,
                   std::int64_t seq_len, ProbeSet& probe) {
  if (tokenizer == nullptr) {
    if (config.sentences.empty()) return;
    if (config.sentences != SnapshotConfig{}.sentences) {
      throw Error(ExitCode::bad_config, "snapshot.sentences needs a tokenizer, and the corpus brings none",
                  "Set data.tokenizer to its tokenizer, or snapshot.sentences = [].");
    }
    probe.notes.emplace_back("no tokenizer: snapshots have no probe sentences");
    return;
  }
  for (const std::string& sentence : config.sentences) {
    const std::vector<std::int32_t> ids = tokenizer->encode(sentence);
    const auto length = static_cast<std::int64_t>(ids.size()) + 1;
    if (ids.empty() || length > seq_len) {
      throw Error(ExitCode::bad_config,
                  fmt::format("snapshot.sentences: \"{}\" is {} tokens with BOS, allowed are 2 to model.seq_len = {}",
                              sentence, length, seq_len));
    }
    if (maker.bos()) probe.sequences.push_back(maker.make(ids, true, ProbeKind::sentence));
    probe.sequences.push_back(maker.make(ids, false, ProbeKind::sentence));
  }
}

// The stretches of the file that windows are cut from: documents without their BOS, or the whole file.
struct Stretch {
  std::uint64_t begin;
  std::uint64_t end;
};

std::vector<Stretch> document_stretches(const TokenFile& file, std::optional<std::int32_t> bos,
                                        std::int64_t vocab_size) {
  std::vector<Stretch> stretches;
  const std::span<const std::uint64_t> documents = file.documents();
  for (std::size_t i = 0; i < documents.size(); ++i) {
    std::uint64_t begin = documents[i];
    const std::uint64_t end = i + 1 < documents.size() ? documents[i + 1] : file.size();
    std::int32_t first = -1;
    if (begin < end) file.read(begin, std::span(&first, 1), vocab_size);
    if (bos && first == *bos) ++begin;
    if (begin < end) stretches.push_back({begin, end});
  }
  return stretches;
}

std::uint64_t windows_in(const Stretch& stretch, std::uint64_t length) {
  return (stretch.end - stretch.begin) / length;
}

// First tokens of at most `wanted` windows of `length` tokens, evenly spread over all there are.
std::vector<std::uint64_t> spread_windows(const std::vector<Stretch>& stretches, std::uint64_t length,
                                          std::uint64_t wanted) {
  std::uint64_t total = 0;
  for (const Stretch& stretch : stretches) total += windows_in(stretch, length);
  const std::uint64_t count = std::min(wanted, total);
  std::vector<std::uint64_t> begins;
  std::uint64_t passed = 0;  // windows of the stretches before
  auto stretch = stretches.begin();
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t index = i * total / count;
    while (index >= passed + windows_in(*stretch, length)) passed += windows_in(*stretch++, length);
    begins.push_back(stretch->begin + (index - passed) * length);
  }
  return begins;
}

void add_calibration(const SnapshotConfig& config, const TokenFile& held_out, const SequenceMaker& maker,
                     std::int64_t seq_len, std::int64_t vocab_size, ProbeSet& probe) {
  if (config.calibration_sequences == 0) return;
  const std::int64_t length = std::min(config.calibration_tokens, seq_len);
  if (length < 2) {
    throw Error(ExitCode::bad_config, fmt::format("snapshot.calibration_tokens = {} and model.seq_len = {} leave no "
                                                  "window of 2 tokens",
                                                  config.calibration_tokens, seq_len));
  }
  const auto size = static_cast<std::uint64_t>(length);
  const auto wanted = static_cast<std::uint64_t>(config.calibration_sequences);
  std::vector<std::uint64_t> begins =
      spread_windows(document_stretches(held_out, maker.bos(), vocab_size), size, wanted);
  if (begins.empty()) {
    begins = spread_windows({{0, held_out.size()}}, size, wanted);
    probe.notes.push_back(fmt::format("{}: {}; calibration windows may cross documents", held_out.path().string(),
                                      held_out.documents().empty()
                                          ? std::string("the file does not say where documents begin")
                                          : fmt::format("no document has {} tokens", length)));
  }
  if (begins.empty()) {
    throw Error(ExitCode::bad_data,
                fmt::format("{} has {} tokens, one calibration window needs {}", held_out.path().string(),
                            held_out.size(), length),
                "Lower snapshot.calibration_tokens, or set snapshot.calibration_sequences = 0.");
  }
  if (begins.size() < wanted) {
    probe.notes.push_back(fmt::format("{}: only {} of {} calibration windows of {} tokens", held_out.path().string(),
                                      begins.size(), wanted, length));
  }
  for (const std::uint64_t begin : begins) {
    std::vector<std::int32_t> ids(size);
    held_out.read(begin, ids, vocab_size);
    if (maker.bos()) probe.sequences.push_back(maker.make({ids.begin(), ids.end() - 1}, true, ProbeKind::calibration));
    probe.sequences.push_back(maker.make(ids, false, ProbeKind::calibration));
  }
}

}  // namespace

std::string_view name_of(ProbeKind kind) {
  return kind == ProbeKind::sentence ? "sentence" : "calibration";
}

ProbeSet build_probe_set(const SnapshotConfig& config, const TokenFile& held_out, const Tokenizer* tokenizer,
                         std::int64_t seq_len, std::int64_t vocab_size) {
  ProbeSet probe;
  const SequenceMaker maker(tokenizer, vocab_size);
  if (tokenizer == nullptr) {
    probe.notes.emplace_back("no tokenizer: probe sequences have no BOS");
  } else if (!maker.bos()) {
    probe.notes.emplace_back("the tokenizer has no BOS: probe sequences have none");
  }
  add_sentences(config, tokenizer, maker, seq_len, probe);
  add_calibration(config, held_out, maker, seq_len, vocab_size, probe);
  if (probe.sequences.empty()) {
    throw Error(ExitCode::bad_config, "a snapshot has nothing to look at: no sentences and no calibration windows",
                "Set snapshot.sentences or snapshot.calibration_sequences.");
  }
  return probe;
}

}  // namespace headroom
