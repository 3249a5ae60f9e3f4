// headroom eval: how well a checkpoint predicts texts and answers questions.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "analysis/evaluation/choice_task.h"
#include "analysis/evaluation/decoder_scorer.h"
#include "analysis/evaluation/perplexity.h"
#include "analysis/evaluation/results_json.h"
#include "analysis/report/place.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/progress.h"
#include "base/stopwatch.h"
#include "base/system.h"
#include "base/version.h"
#include "launch/verbs.h"
#include "trainer/model_tokenizer.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;
using namespace evaluation;
using nlohmann::ordered_json;

// Of models that say they take more, in tokens: what a window costs in attention grows with its square.
constexpr std::int64_t kDefaultWindow = 2048;

std::string file_hash(const fs::path& file) {
  return hex_hash(read_file(file));
}

std::string number_text(double value) {
  return std::isfinite(value) ? fmt::format("{:.4f}", value) : "not finite";
}

class EvalVerb : public Verb {
 public:
  EvalVerb() : Verb("eval", "Measure a checkpoint: perplexity of texts, multiple-choice tasks") {}

  void declare(CLI::App& app) override {
    app.add_option("MODEL", model_, "a Hugging Face directory, a run, or one of its checkpoints")->required();
    app.add_option("--perplexity", texts_, "text files (UTF-8) to take the perplexity of")->type_name("FILE");
    app.add_option("--task", tasks_, "multiple-choice tasks, one item a line")->type_name("FILE.jsonl");
    app.add_option("--tokenizer", tokenizer_, "use this one instead of the model's own: a file, or a directory")
        ->type_name("PATH");
    auto* bos = app.add_flag("--bos", bos_, "put BOS before every text (default: what the model's convention puts)");
    app.add_flag("--no-bos", no_bos_, "put nothing around a text")->excludes(bos);
    app.add_option(
           "--window", window_,
           fmt::format("tokens that the model reads at once (default: of a task what the model was made for, of "
                       "a perplexity that or {})",
                       kDefaultWindow))
        ->check(CLI::Range(2, 1 << 24));
    auto* stride =
        app.add_option("--stride", stride_, "tokens from one window's beginning to the next's (default: half a window)")
            ->check(CLI::Range(1, 1 << 24));
    app.add_flag("--packed", packed_, "documents joined by BOS and cut into windows, as a run's held-out text is")
        ->excludes(stride);
    app.add_option("--limit", limit_, "only the first so many items of a task, or windows of a text")
        ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40));
    app.add_option("--batch", batch_, "tokens that go through the model together (default: what 128 MiB hold)")
        ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 24));
    app.add_option("-o,--out", out_, "write all that was found as JSON, every item's scores included")
        ->type_name("FILE.json");
    app.footer(
        "Tasks are scored as lm-evaluation-harness scores them. docs/evaluation.md has the form of a task's file, how\n"
        "HellaSwag, PIQA, SIQA, WinoGrande, ARC and TruthfulQA are written in it, and what the numbers mean.");
  }

  ExitCode run() override {
    if (texts_.empty() && tasks_.empty()) {
      throw Error(ExitCode::usage, "nothing to evaluate", "Name a text with --perplexity, or a task with --task.");
    }
    // All that can be wrong comes first: a mistake should not show after hours.
    check_out();
    std::vector<Task> tasks;
    for (const fs::path& file : tasks_) tasks.push_back(read_named(file, tasks));
    for (const fs::path& file : texts_) {
      if (!fs::is_regular_file(file)) {
        throw Error(ExitCode::bad_data, fmt::format("'{}' is no file", file.string()));
      }
    }
    const Stopwatch watch;
    const OpenedModel model = open_model(model_);
    const Tokenizer tokenizer = model_tokenizer(model, tokenizer_);
    const TextEncoding encoding(tokenizer, special(model, tokenizer));
    DecoderScorer scorer(*model.decoder, batch_);
    const std::int64_t positions = model.decoder->config().max_positions;
    check_window(model.decoder->config());
    const PerplexityOptions options = perplexity_options(positions);
    const std::int64_t task_window = window_ > 0 ? window_ : positions > 0 ? positions : kDefaultWindow;
    std::vector<PreparedTask> prepared;
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      prepared.push_back(prepare_task(std::move(tasks[i]), tasks_[i].string(), encoding, task_window));
    }

    const std::string heading =
        fmt::format("{}; texts begin {}", model.name, encoding.before().empty() ? "with nothing" : "with BOS");
    Results results;
    const auto write = [&] {
      if (out_.empty()) return;
      ordered_json json = provenance(model, encoding);
      json["seconds"] = watch.seconds();
      json["tasks"] = results.tasks;
      json["perplexity"] = results.texts;
      write_file_atomically(out_, report::dump(json));
    };
    try {
      for (std::size_t i = 0; i < prepared.size(); ++i) {
        score_task(prepared[i], tasks_[i], task_window, scorer, results);
        write();
      }
      for (const fs::path& file : texts_) {
        score_text(file, encoding, options, scorer, results);
        write();
      }
    } catch (...) {  // what was found before is not lost
      results.print(heading);
      throw;
    }
    results.print(heading);
    if (!out_.empty()) fmt::print("{}\n", out_);
    return ExitCode::done;
  }

 private:
  struct Results {
    ordered_json tasks = ordered_json::array();
    ordered_json texts = ordered_json::array();
    std::vector<std::vector<std::string>> task_rows;
    std::vector<std::vector<std::string>> text_rows;

    void print(const std::string& heading) const {
      if (task_rows.empty() && text_rows.empty()) return;
      fmt::print("{}\n", heading);
      if (!task_rows.empty()) print_table({"task", "items", "metric", "value", "stderr"}, task_rows);
      if (!text_rows.empty()) {
        print_table({"text", "windows", "tokens", "nll/token", "perplexity", "bits/byte"}, text_rows);
      }
    }
  };

  // Progress that begins when the scorer says how much there is to do.
  class Bar {
   public:
    explicit Bar(std::string label) : label_(std::move(label)) {}
    Scorer::Advance advance() {
      return [this](std::uint64_t done, std::uint64_t total) {
        if (!progress_) progress_.emplace(label_, total);
        progress_->set(done);
      };
    }
    void finish() {
      if (progress_) progress_->finish();
    }

   private:
    std::string label_;
    std::optional<Progress> progress_;
  };

  static void score_task(const PreparedTask& prepared, const fs::path& file, std::int64_t window, Scorer& scorer,
                         Results& results) {
    const Task& task = prepared.task;
    const std::string hash = file_hash(file);
    Bar bar(task.name);
    const TaskResult result = evaluate_task(prepared, scorer, bar.advance());
    bar.finish();
    for (const Metric& metric : result.metrics) {
      results.task_rows.push_back({task.name, std::to_string(task.items.size()), metric.name, number_text(metric.value),
                                   metric.standard_error ? number_text(*metric.standard_error) : "-"});
    }
    ordered_json json = to_json(task, result);
    json["window"] = window;
    json["file"] = file.string();
    json["file_hash"] = hash;
    results.tasks.push_back(std::move(json));
  }

  static void score_text(const fs::path& file, const TextEncoding& encoding, const PerplexityOptions& options,
                         Scorer& scorer, Results& results) {
    const std::string hash = file_hash(file);
    Bar bar(file.filename().string());
    const PerplexityResult result = perplexity(file, encoding, options, scorer, bar.advance());
    bar.finish();
    results.text_rows.push_back({file.filename().string(),
                                 options.kind == PerplexityKind::packed
                                     ? fmt::format("packed {}", options.window)
                                     : fmt::format("sliding {}/{}", options.window, options.stride),
                                 std::to_string(result.scored), number_text(result.mean_nll()),
                                 number_text(result.perplexity()), number_text(result.bits_per_byte())});
    ordered_json json = to_json(options, result);
    json["file"] = file.string();
    json["file_hash"] = hash;
    results.texts.push_back(std::move(json));
  }

  // Results and their files are told apart by the tasks' names.
  Task read_named(const fs::path& file, const std::vector<Task>& others) const {
    Task task = read_task(file, limit_);
    const auto same = [&](const Task& other) { return other.name == task.name; };
    if (std::any_of(others.begin(), others.end(), same)) {
      throw Error(ExitCode::usage, fmt::format("the name '{}' of {} is taken", task.name, file.string()),
                  "A task is called as its file is, without the extension: rename one.");
    }
    return task;
  }

  // Where the results go: over earlier ones only, and where a file can be made.
  void check_out() const {
    if (out_.empty()) return;
    const fs::path place(out_);
    if (fs::exists(place)) {
      const bool file = fs::is_regular_file(place);
      const ordered_json json =
          file ? ordered_json::parse(read_file(place), nullptr, /*allow_exceptions=*/false) : ordered_json();
      if (!json.is_object() || !json.contains("tasks") || !json.contains("perplexity")) {
        throw Error(ExitCode::usage, fmt::format("'{}' exists and holds no results of eval", out_),
                    "Name another file with --out.");
      }
    } else if (!fs::is_directory(fs::absolute(place).parent_path())) {
      throw Error(ExitCode::usage, fmt::format("there is no directory for '{}'", out_),
                  "Make it first, or name another file with --out.");
    }
  }

  // Our own models have seen BOS before every document (data/build_corpus.h), whatever a tokenizer's own convention is.
  SpecialTokens special(const OpenedModel& model, const Tokenizer& tokenizer) const {
    if (bos_ || no_bos_) return bos_ ? SpecialTokens::bos : SpecialTokens::none;
    return model.kind == ModelKind::own && tokenizer.has_bos() ? SpecialTokens::bos : SpecialTokens::convention;
  }

  void check_window(const decoder::Config& config) const {
    if (window_ <= config.max_positions || config.max_positions == 0) return;
    if (config.learned_positions) {
      throw Error(ExitCode::usage,
                  fmt::format("--window {}: the model has {} learned positions", window_, config.max_positions));
    }
    fmt::print(stderr, "warning: a window of {} tokens; the model was made for {}\n", window_, config.max_positions);
  }

  PerplexityOptions perplexity_options(std::int64_t positions) const {
    PerplexityOptions options;
    options.kind = packed_ ? PerplexityKind::packed : PerplexityKind::sliding;
    options.window = window_ > 0 ? window_ : positions > 0 ? std::min(positions, kDefaultWindow) : kDefaultWindow;
    options.stride = stride_ > 0 ? stride_ : std::max<std::int64_t>(1, options.window / 2);
    options.limit = limit_;
    if (!packed_ && options.stride > options.window) {
      throw Error(ExitCode::usage,
                  fmt::format("--stride {} passes over tokens between windows of {}", options.stride, options.window),
                  "At most a window.");
    }
    return options;
  }

  ordered_json provenance(const OpenedModel& model, const TextEncoding& encoding) const {
    const Tokenizer& tokenizer = encoding.tokenizer();
    return {{"headroom", version_line()},
            {"time", utc_time()},
            {"host", host_name()},
            {"model",
             {{"name", model.name},
              {"directory", model.directory.string()},
              {"family", model.decoder->config().family},
              {"computed_in", "f32"}}},
            {"tokenizer", {{"fingerprint", tokenizer.fingerprint()}, {"pieces", tokenizer.vocab_size()}}},
            {"special_tokens", name_of(encoding.special())},
            {"texts_begin_with", encoding.before()},
            {"limit", limit_ > 0 ? ordered_json(limit_) : ordered_json()}};
  }

  static void print_table(const std::vector<std::string>& heads, const std::vector<std::vector<std::string>>& rows) {
    std::vector<std::size_t> widths;
    for (std::size_t column = 0; column < heads.size(); ++column) {
      widths.push_back(heads[column].size());
      for (const auto& row : rows) widths[column] = std::max(widths[column], row[column].size());
    }
    const auto print = [&](const std::vector<std::string>& row) {
      // Names to the left, numbers to the right.
      for (std::size_t i = 0; i < row.size(); ++i) {
        const bool name = heads[i] == "task" || heads[i] == "text" || heads[i] == "metric" || heads[i] == "windows";
        fmt::print("  {}", name ? fmt::format("{:<{}}", row[i], widths[i]) : fmt::format("{:>{}}", row[i], widths[i]));
      }
      fmt::print("\n");
    };
    fmt::print("\n");
    print(heads);
    for (const auto& row : rows) print(row);
  }

  std::string model_;
  std::vector<fs::path> texts_;
  std::vector<fs::path> tasks_;
  std::string tokenizer_;
  std::string out_;
  std::int64_t window_ = 0;
  std::int64_t stride_ = 0;
  std::int64_t limit_ = 0;
  std::int64_t batch_ = 0;
  bool bos_ = false;
  bool no_bos_ = false;
  bool packed_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_eval_verb() {
  return std::make_unique<EvalVerb>();
}

}  // namespace headroom
