#include "launch/study.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "analysis/report/format.h"
#include "analysis/report/place.h"
#include "analysis/study/report.h"
#include "analysis/study/texts.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/progress.h"
#include "base/stopwatch.h"
#include "trainer/model_tokenizer.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;

// Of a text that is far longer than what is looked at, stretches of whole lines spread evenly over it. No part comes
// twice, however long its lines are.
std::string sample(const std::string& text, std::size_t bytes) {
  constexpr std::size_t kStretches = 64;
  if (text.size() <= bytes) return text;
  std::string some;
  std::size_t end = 0;  // of the last stretch
  for (std::size_t i = 0; i < kStretches; ++i) {
    const std::size_t line = i == 0 ? 0 : text.find('\n', i * (text.size() / kStretches));
    if (line == std::string::npos) break;
    const std::size_t begin = std::max(i == 0 ? 0 : line + 1, end);
    if (begin >= text.size()) break;
    end = std::min(text.find('\n', std::min(begin + bytes / kStretches, text.size())), text.size());
    some.append(text, begin, end - begin).push_back('\n');
  }
  return some;
}

// What of a text is tokenized: twice what the sequences that are wanted of it can hold, spread over all of it.
study::TextIds ids_of(const fs::path& file, const Tokenizer& tokenizer, const study::Options& options, int sequences,
                      std::vector<study::Subject::Text>& texts, const char* use) {
  // A token has rarely more bytes than this on average.
  constexpr std::size_t kBytesOfToken = 16;
  const std::size_t enough = static_cast<std::size_t>(sequences) * static_cast<std::size_t>(options.tokens);
  const std::string text = read_file(file);
  study::TextIds ids{file.string(), tokenizer.encode(sample(text, 2 * enough * kBytesOfToken))};
  texts.push_back({file.string(), use, hex_hash(text), std::ssize(ids.ids)});
  return ids;
}

// Models of one name in different directories must not take each other's default place.
fs::path default_place(const OpenedModel& model) {
  const fs::path place = report::file_stem(model.name) + "-study";
  const fs::path earlier = place / "tables" / "study.json";
  if (!fs::exists(earlier)) return place;
  const auto json = nlohmann::json::parse(read_file(earlier), nullptr, /*allow_exceptions=*/false);
  const auto directory = nlohmann::json::json_pointer("/model/directory");
  const std::string other = json.is_object() ? json.value(directory, "") : "";
  if (other == fs::weakly_canonical(model.directory)) return place;
  throw Error(ExitCode::usage, fmt::format("{} is the study of another model, {}", place.string(), other),
              "Choose another directory with --out.");
}

}  // namespace

ExitCode run_study(const StudyRequest& request) {
  OpenedModel model = open_model(request.model);
  const fs::path out = request.out.empty() ? default_place(model) : request.out;
  const fs::path place = fs::weakly_canonical(fs::absolute(out));
  report::Workplace::check(place, report::ReportKind::study);  // before anything is computed
  const Tokenizer tokenizer = model_tokenizer(model, request.tokenizer);
  const decoder::Config& config = model.decoder->config();
  study::Options options = request.options;
  study::Subject subject;
  subject.name = model.name;
  subject.title = request.title.empty() ? model.name : request.title;
  subject.source = fs::weakly_canonical(model.directory).string();
  subject.config = config;
  subject.tokenizer = tokenizer.fingerprint();
  if (config.max_positions < options.tokens) {
    subject.notes.push_back(fmt::format("Sequences are of {} tokens, the model's context.", config.max_positions));
    options.tokens = static_cast<int>(config.max_positions);
  }
  if (options.tokens < study::kSinkTokens) {
    subject.notes.push_back(fmt::format("Sinks are looked for among {} tokens only: shares are larger than among {}.",
                                        options.tokens, study::kSinkTokens));
  }
  if (study::text_tokens(tokenizer, options) < 2) {
    throw Error(ExitCode::usage, fmt::format("sequences of {} tokens leave nothing to predict", options.tokens),
                "Take longer ones (--tokens).");
  }
  const int of_text = options.mean_sequences + (request.held_out.empty() ? options.evaluation_sequences : 0);
  std::vector<study::TextIds> texts;
  for (const fs::path& file : request.texts) {
    texts.push_back(ids_of(file, tokenizer, options, of_text, subject.texts, "text"));
  }
  std::vector<study::TextIds> held_out;
  for (const fs::path& file : request.held_out) {
    held_out.push_back(ids_of(file, tokenizer, options, options.evaluation_sequences, subject.texts, "held out"));
  }
  for (const study::Subject::Text& text : subject.texts) {
    const auto same = [&](const study::Subject::Text& other) { return other.hash == text.hash && &other != &text; };
    if (std::any_of(subject.texts.begin(), subject.texts.end(), same)) {
      subject.notes.push_back(fmt::format("{} ({}) holds what another text holds.", text.file, text.use));
    }
  }
  if (tokenizer.has_bos()) {
    subject.sequences.push_back(cut_sequences(texts, held_out, tokenizer, true, options, subject.notes));
  } else {
    subject.notes.emplace_back("The tokenizer has no BOS: the model is studied without one only.");
  }
  std::vector<std::string> same_notes;  // the same text again
  subject.sequences.push_back(
      cut_sequences(texts, held_out, tokenizer, false, options, tokenizer.has_bos() ? same_notes : subject.notes));

  const Stopwatch watch;
  Progress progress("study", static_cast<std::uint64_t>(config.n_layers) * subject.sequences.size());
  std::vector<study::Condition> conditions;
  for (const study::Sequences& sequences : subject.sequences) {
    conditions.push_back(study::study(*model.decoder, sequences, options,
                                      [&] { progress.advance(1, sequences.bos ? "with BOS" : "without BOS"); }));
  }
  progress.finish();
  subject.seconds = watch.seconds();
  fmt::print("{}\n", study::write_report(place, subject, conditions, options, tokenizer).string());
  return ExitCode::done;
}

}  // namespace headroom
