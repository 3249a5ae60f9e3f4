#include "data/build_corpus.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/system.h"
#include "data/corpus.h"
#include "data/corpus_directory.h"
#include "data/ordered_workers.h"
#include "data/token_writer.h"
#include "data/word_cut.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;

// What one thread encodes at a time: enough that handing it over costs nothing.
constexpr std::size_t kJobBytes = std::size_t{1} << 18;
// Jobs in flight for a thread: enough that none waits for the writer.
constexpr std::size_t kJobsPerThread = 4;

struct EncodeJob {
  struct Item {
    DocumentPart part;
    Split split;
    bool begins;  // the first part of its document in this split: BOS goes before it
  };
  std::vector<Item> items;
  std::vector<std::vector<std::int32_t>> ids;  // of each item, filled by a worker
  std::size_t bytes = 0;
};

std::vector<std::int32_t> encode_part(const Tokenizer& tokenizer, const DocumentPart& part, bool begins) {
  if (!begins) return tokenizer.encode_continuation(part.text);
  std::string_view text = part.text;
  // The held-out end of a single document begins at the line break it was cut at.
  if (!part.first && text.starts_with('\n')) text.remove_prefix(1);
  return tokenizer.encode(text);
}

class Builder {
 public:
  Builder(const BuildOptions& options, const BuildProgress& progress)
      : options_(options), progress_(progress), texts_(text_files(options.texts)) {
    if (options.threads < 1) throw Error(ExitCode::usage, fmt::format("{} threads cannot encode", options.threads));
    for (const fs::path& text : texts_) {
      std::error_code error;
      const std::uintmax_t bytes = fs::file_size(text, error);
      if (!error) total_bytes_ += bytes;  // a file whose size cannot be told fails when it is read
    }
  }

  BuildResult run() {
    std::optional<Tokenizer> given;
    if (!options_.tokenizer_path.empty()) {
      given = Tokenizer::load(options_.tokenizer_path);
      given->bos();  // without one nothing need be read
    }
    CorpusDirectory directory(options_.output, options_.overwrite, texts_);
    DocumentFormat format;
    format.separator = options_.separator;
    const SplitPlan plan(texts_, format, options_.split, directory.partial() / "documents.records",
                         stage_progress("reading"));
    result_.files = plan.survey().files;
    warn_about_text();
    if (given) {
      tokenizer_file_ = given->copy_to(directory.partial());
    } else {
      TokenizerTraining training = options_.tokenizer;
      training.format = format;
      train_tokenizer(texts_, training, directory.partial() / tokenizer_file_, stage_progress("training tokenizer"));
    }
    const Tokenizer tokenizer = Tokenizer::load(directory.partial() / tokenizer_file_);
    result_.vocab_size = tokenizer.vocab_size();
    result_.tokenizer_fingerprint = tokenizer.fingerprint();
    if (options_.tokenizer_path.empty() && tokenizer.vocab_size() < options_.tokenizer.vocab_size) {
      result_.warnings.push_back(fmt::format("the text gives only {} pieces, not the {} asked for",
                                             tokenizer.vocab_size(), options_.tokenizer.vocab_size));
    }
    encode(plan, tokenizer, directory.partial());
    describe(directory.partial());
    directory.publish();
    return std::move(result_);
  }

 private:
  std::function<void(std::uint64_t)> stage_progress(const std::string& stage) const {
    if (!progress_) return {};
    return [this, stage](std::uint64_t done) { progress_(stage, std::min(done, total_bytes_), total_bytes_); };
  }

  void warn_about_text() {
    for (const TextFile& file : result_.files) {
      if (file.invalid_utf8 > 0) {
        result_.warnings.push_back(fmt::format(
            "{}: {} invalid UTF-8 sequence{} replaced by U+FFFD, the first at byte {} (line {})", file.path.string(),
            file.invalid_utf8, file.invalid_utf8 == 1 ? "" : "s", file.first_invalid_byte, file.first_invalid_line));
      }
      if (file.documents == 0) result_.warnings.push_back(fmt::format("{}: no text in it", file.path.string()));
    }
  }

  void encode(const SplitPlan& plan, const Tokenizer& tokenizer, const fs::path& directory) {
    const std::int32_t bos = tokenizer.bos();
    TokenWriter train(directory / "train.tokens", tokenizer.vocab_size(), tokenizer.fingerprint());
    TokenWriter valid(directory / "valid.tokens", tokenizer.vocab_size(), tokenizer.fingerprint());
    const auto progress = stage_progress("encoding");
    DocumentReader reader(texts_, plan.format());
    SplitPlan::Walk walk(plan);
    OrderedWorkers<EncodeJob, EncodeJob> workers(options_.threads, [&](EncodeJob& job) {
      for (const EncodeJob::Item& item : job.items) job.ids.push_back(encode_part(tokenizer, item.part, item.begins));
      return std::move(job);
    });
    const auto write_oldest = [&] {
      const EncodeJob job = workers.take();
      for (std::size_t i = 0; i < job.items.size(); ++i) {
        const EncodeJob::Item& item = job.items[i];
        TokenWriter& writer = item.split == Split::train ? train : valid;
        BuildResult::Part& count = item.split == Split::train ? result_.train : result_.valid;
        if (item.begins) {
          writer.begin_document();
          writer.write({&bos, 1});
        }
        writer.write(job.ids[i]);
        count.text_bytes += item.part.text.size();
      }
      if (progress) progress(reader.bytes_read());
    };

    EncodeJob job;
    Split previous = Split::dropped;
    const auto give_job = [&] {
      while (workers.pending() >= kJobsPerThread * static_cast<std::size_t>(options_.threads)) write_oldest();
      workers.give(std::exchange(job, EncodeJob{}));
    };
    const auto add = [&](DocumentPart part, Split split, bool begins) {
      job.bytes += part.text.size();
      job.items.push_back({std::move(part), split, begins});
      if (job.bytes >= kJobBytes) give_job();
    };
    DocumentPart rest;  // what follows a part's last word cut, to be encoded with the next part
    for (DocumentPart part; reader.next(part);) {
      const Split split = walk.place(part);
      const bool begins = part.first || split != previous;
      if (begins && !rest.text.empty()) add(std::exchange(rest, {}), previous, false);
      previous = split;
      if (split == Split::dropped) continue;
      part.text.insert(0, std::exchange(rest, {}).text);
      if (!part.last) {
        const std::size_t cut = last_word_cut(part.text);
        rest.text = part.text.substr(cut);
        part.text.resize(cut);
      }
      add(std::move(part), split, begins);
    }
    if (!job.items.empty()) give_job();
    while (workers.pending() > 0) write_oldest();

    check_unchanged(reader.files());
    finish(train, result_.train, "to train on");
    finish(valid, result_.valid, "to hold out");
    result_.duplicates = walk.duplicates();
  }

  void check_unchanged(const std::vector<TextFile>& files) const {
    for (std::size_t i = 0; i < files.size(); ++i) {
      if (files[i].hash != result_.files[i].hash) {
        throw Error(ExitCode::bad_data, fmt::format("{} has changed while it was read", files[i].path.string()),
                    "Start again when nothing writes to it.");
      }
    }
  }

  static void finish(TokenWriter& writer, BuildResult::Part& count, const char* purpose) {
    count.documents = writer.documents();
    count.tokens = writer.tokens();
    if (count.tokens == 0) {
      throw Error(ExitCode::bad_data, fmt::format("the text is too small: nothing is left {}", purpose),
                  "Give more documents, or a text of several lines.");
    }
    writer.finish();
  }

  // corpus.json: what the corpus holds and how it came about.
  void describe(const fs::path& directory) const {
    using nlohmann::ordered_json;
    const auto split = [&](const char* name, const BuildResult::Part& part) {
      const TokenFile tokens = TokenFile::open(directory / name);
      return ordered_json{{"file", name},
                          {"documents", part.documents},
                          {"tokens", part.tokens},
                          {"text_bytes", part.text_bytes},
                          {"fingerprint", fmt::format("{:016x}", tokens.fingerprint())}};
    };
    ordered_json sources = ordered_json::array();
    for (const TextFile& file : result_.files) {
      sources.push_back({{"file", file.path.string()},
                         {"bytes", file.bytes},
                         {"xxh64", file.hash},
                         {"documents", file.documents},
                         {"invalid_utf8", file.invalid_utf8}});
    }
    ordered_json tokenizer = {
        {"file", tokenizer_file_}, {"fingerprint", result_.tokenizer_fingerprint}, {"vocab_size", result_.vocab_size}};
    if (options_.tokenizer_path.empty()) {
      tokenizer["trained"] = {{"vocab_size", options_.tokenizer.vocab_size},
                              {"sample_bytes", options_.tokenizer.sample_bytes}};
    } else {
      tokenizer["copied_from"] = options_.tokenizer_path.string();
    }
    const ordered_json json = {{"format", "headroom-corpus"},
                               {"version", 1},
                               {"created", utc_time()},
                               {"tokenizer", tokenizer},
                               {"train", split("train.tokens", result_.train)},
                               {"valid", split("valid.tokens", result_.valid)},
                               {"options",
                                {{"separator", options_.separator},
                                 {"held_out", options_.split.held_out},
                                 {"drop_duplicates", options_.split.drop_duplicates}}},
                               {"duplicates_dropped", result_.duplicates},
                               {"sources", sources}};
    // A file name need not be UTF-8; JSON must be.
    write_file_atomically(directory / "corpus.json",
                          json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n");
  }

  const BuildOptions& options_;
  const BuildProgress& progress_;
  std::vector<fs::path> texts_;
  std::uint64_t total_bytes_ = 0;
  std::string tokenizer_file_ = "tokenizer.model";  // its name in the corpus
  BuildResult result_;
};

}  // namespace

BuildResult build_corpus(const BuildOptions& options, const BuildProgress& progress) {
  return Builder(options, progress).run();
}

}  // namespace headroom
