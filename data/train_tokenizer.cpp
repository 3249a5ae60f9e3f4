// Training a SentencePiece model: the documents go in as a stream of lines, the model comes back in memory.
#include <sentencepiece_trainer.h>

#include <algorithm>
#include <string>
#include <unordered_map>

#include "base/error.h"
#include "base/file.h"
#include "data/tokenizer.h"

namespace headroom {
namespace {

// Longer lines are handed over in pieces: SentencePiece leaves out longer sentences without a word.
constexpr std::size_t kLongestSentence = 4096;

// The lines of a sample of the documents' parts, spread evenly: a part is taken whenever what was taken so far
// falls behind `share` of what was read. (Lines, since SentencePiece trains no piece across a line break.)
class SampledLines : public sentencepiece::SentenceIterator {
 public:
  SampledLines(DocumentReader& reader, double share, const std::function<void(std::uint64_t)>& progress)
      : reader_(reader), share_(share), progress_(progress) {
    Next();
  }

  bool done() const override { return done_; }
  const std::string& value() const override { return line_; }
  sentencepiece::util::Status status() const override { return {}; }

  void Next() override {
    do {
      if (at_ >= part_.text.size() && !take_part()) {
        done_ = true;
        return;
      }
      const std::size_t line_break = std::min(part_.text.find('\n', at_), part_.text.size());
      std::size_t end = line_break;
      if (end - at_ > kLongestSentence) {
        end = part_.text.rfind(' ', at_ + kLongestSentence);
        if (end == std::string::npos || end <= at_) end = std::min(line_break, at_ + kLongestSentence);
        while (end < line_break && (static_cast<unsigned char>(part_.text[end]) & 0xC0) == 0x80) ++end;
      }
      line_.assign(part_.text, at_, end - at_);
      at_ = end == line_break ? end + 1 : end;
    } while (line_.empty());
  }

 private:
  bool take_part() {
    while (reader_.next(part_)) {
      read_ += static_cast<double>(part_.text.size());
      if (taken_ > share_ * read_) continue;
      taken_ += static_cast<double>(part_.text.size());
      at_ = 0;
      if (progress_) progress_(reader_.bytes_read());
      return true;
    }
    return false;
  }

  DocumentReader& reader_;
  double share_;
  const std::function<void(std::uint64_t)>& progress_;
  DocumentPart part_;
  std::size_t at_ = 0;
  double read_ = 0;
  double taken_ = 0;
  std::string line_;
  bool done_ = false;
};

}  // namespace

void train_tokenizer(const std::vector<std::filesystem::path>& texts, const TokenizerTraining& options,
                     const std::filesystem::path& model_file,
                     const std::function<void(std::uint64_t bytes_read)>& progress) {
  std::uint64_t total = 0;
  for (const auto& file : texts) {
    std::error_code unreadable;  // the reader says it better
    const std::uintmax_t size = std::filesystem::file_size(file, unreadable);
    if (!unreadable) total += size;
  }
  const double share = options.sample_bytes == 0 || options.sample_bytes >= total
                           ? 1.0
                           : static_cast<double>(options.sample_bytes) / static_cast<double>(total);
  DocumentReader reader(texts, options.format);
  SampledLines lines(reader, share, progress);
  if (lines.done()) throw Error(ExitCode::bad_data, "the text files hold no text", "Check that they are not empty.");

  // No normalisation and no word boundary put in front, so that decode(encode(text)) == text and a text
  // may be encoded in pieces; bytes for what the vocabulary lacks; digits one by one, as LLaMA's tokenizer does.
  const std::unordered_map<std::string, std::string> arguments = {
      {"model_type", "bpe"},
      {"vocab_size", std::to_string(options.vocab_size)},
      {"hard_vocab_limit", "false"},
      {"byte_fallback", "true"},
      {"character_coverage", "0.9999"},
      {"normalization_rule_name", "identity"},
      {"remove_extra_whitespaces", "false"},
      {"add_dummy_prefix", "false"},
      {"split_digits", "true"},
      {"max_sentence_length", std::to_string(2 * kLongestSentence)},
      {"num_threads", "1"},  // recorded in the model: another number would be another fingerprint
      {"unk_id", "0"},
      {"bos_id", "1"},
      {"eos_id", "2"},
      {"pad_id", "-1"},
      {"minloglevel", "2"},
  };
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(arguments, &lines, &model);
  if (!status.ok()) {
    throw Error(ExitCode::usage,
                fmt::format("cannot train a tokenizer of {} pieces: {}", options.vocab_size, status.ToString()),
                "A vocabulary needs 256 bytes, 3 control pieces and the text's frequent characters: try 1024 or more.");
  }
  write_file_atomically(model_file, model);
}

}  // namespace headroom
