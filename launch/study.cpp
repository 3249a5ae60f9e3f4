#include "launch/study.h"

#include <fmt/core.h>

#include "analysis/report/format.h"
#include "analysis/study/report.h"
#include "analysis/study/texts.h"
#include "base/file.h"
#include "base/progress.h"
#include "base/stopwatch.h"
#include "trainer/open_model.h"

namespace headroom {
namespace {

// Of a text that is far longer than what is looked at, stretches of whole lines spread evenly over it.
std::string sample(std::string text, std::size_t bytes) {
  constexpr std::size_t kStretches = 64;
  if (text.size() <= bytes) return text;
  std::string some;
  for (std::size_t i = 0; i < kStretches; ++i) {
    const std::size_t line = i == 0 ? 0 : text.find('\n', i * (text.size() / kStretches));
    if (line == std::string::npos) break;
    const std::size_t begin = i == 0 ? 0 : line + 1;
    some += text.substr(begin, text.find('\n', begin + bytes / kStretches) - begin) + "\n";
  }
  return some.size() < text.size() ? some : text;
}

std::vector<std::int32_t> ids_of(const std::vector<std::filesystem::path>& files, const Tokenizer& tokenizer,
                                 const study::Options& options) {
  // A token has rarely more bytes than this on average.
  constexpr std::size_t kBytesOfToken = 16;
  const std::size_t sequences =
      static_cast<std::size_t>(options.mean_sequences) + static_cast<std::size_t>(options.evaluation_sequences);
  const std::size_t enough = 2 * sequences * static_cast<std::size_t>(options.tokens) * kBytesOfToken;
  std::vector<std::int32_t> all;
  for (const std::filesystem::path& file : files) {
    const std::vector<std::int32_t> ids = tokenizer.encode(sample(read_file(file), enough));
    all.insert(all.end(), ids.begin(), ids.end());
  }
  return all;
}

Tokenizer tokenizer_of(const StudyRequest& request, const OpenedModel& model) {
  if (!request.tokenizer.empty()) return Tokenizer::load(request.tokenizer);
  if (model.tokenizer.empty()) {
    throw Error(ExitCode::usage, fmt::format("the tokenizer of {} is not known", request.model.string()),
                "Name it with --tokenizer.");
  }
  return Tokenizer::load(model.tokenizer);
}

}  // namespace

ExitCode run_study(const StudyRequest& request) {
  const Stopwatch watch;
  OpenedModel model = open_model(request.model);
  const Tokenizer tokenizer = tokenizer_of(request, model);
  const decoder::Config& config = model.decoder->config();
  if (tokenizer.vocab_size() > config.vocab_size) {
    throw Error(ExitCode::bad_data,
                fmt::format("the tokenizer has {} ids, the model {}", tokenizer.vocab_size(), config.vocab_size),
                "Tokenizer and model do not belong together.");
  }
  study::Options options = request.options;
  study::Subject subject;
  if (config.max_positions < options.tokens) {
    subject.notes.push_back(fmt::format("Sequences are of {} tokens, the model's context.", config.max_positions));
    options.tokens = static_cast<int>(config.max_positions);
  }
  const std::vector<std::int32_t> text = ids_of(request.texts, tokenizer, options);
  const std::vector<std::int32_t> held_out = ids_of(request.held_out, tokenizer, options);
  subject.name = model.name;
  subject.source = request.model.string();
  subject.config = config;
  for (const auto* files : {&request.texts, &request.held_out}) {
    for (const std::filesystem::path& file : *files) subject.texts.push_back(file.string());
  }
  subject.tokenizer = tokenizer.fingerprint();
  std::vector<std::string> notes;
  if (tokenizer.has_bos()) subject.sequences.push_back(cut_sequences(text, held_out, tokenizer, true, options, notes));
  if (!tokenizer.has_bos())
    subject.notes.emplace_back("The tokenizer has no BOS: the model is studied without one only.");
  subject.sequences.push_back(cut_sequences(text, held_out, tokenizer, false, options, subject.notes));

  Progress progress("study", static_cast<std::uint64_t>(config.n_layers) * subject.sequences.size());
  std::vector<study::Condition> conditions;
  for (const study::Sequences& sequences : subject.sequences) {
    conditions.push_back(study::study(*model.decoder, sequences, options,
                                      [&] { progress.advance(1, sequences.bos ? "with BOS" : "without BOS"); }));
  }
  progress.finish();
  subject.seconds = watch.seconds();
  const std::filesystem::path out =
      request.out.empty() ? std::filesystem::path(report::file_stem(model.name) + "-study") : request.out;
  fmt::print("{}\n", study::write_report(out, subject, conditions, options, tokenizer).string());
  return ExitCode::done;
}

}  // namespace headroom
