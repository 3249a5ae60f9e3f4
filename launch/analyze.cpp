// headroom analyze: run directories to a report; with --text, one model to the study of its massive activations.
#include <filesystem>
#include <memory>
#include <string>

#include "analysis/report/report.h"
#include "launch/study.h"
#include "launch/verbs.h"

namespace headroom {
namespace {

class AnalyzeVerb : public Verb {
 public:
  AnalyzeVerb() : Verb("analyze", "Turn runs, or any model and some text, into a report") {}

  void declare(CLI::App& app) override {
    app.add_option("RUN", options_.runs,
                   "run directories, the baseline among them is found by its variant; with --text one model: a Hugging "
                   "Face directory, a run or a checkpoint")
        ->required();
    app.add_option(
        "-o,--out", options_.out,
        "where to write the report (default: RUN/report, or report-A-B beside the first of several runs; with "
        "--text NAME-study in the current directory, by the model's name)");
    app.add_option("--title", options_.title, "heading of the page");
    app.add_option("--abs-threshold", options_.thresholds.absolute, "a layer is massive when max|h| exceeds this ...")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    app.add_option("--ratio-threshold", options_.thresholds.ratio, "... and reaches this many times median|h|")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    app.add_option("--sink-threshold", options_.thresholds.sink, "mean attention to a key that makes it a sink")
        ->capture_default_str()
        ->check(CLI::Range(0.0, 1.0));
    study::Options& study = study_.options;
    CLI::Option* const text = app.add_option("--text", study_.texts, "study the model on these files (UTF-8)")
                                  ->check(CLI::ExistingFile)
                                  ->type_name("FILE");
    app.add_option("--held-out", study_.held_out,
                   "with --text: what losses are measured on, each by itself (default: the last third of every text)")
        ->check(CLI::ExistingFile)
        ->type_name("FILE")
        ->needs(text);
    app.add_option("--tokenizer", study_.tokenizer,
                   "with --text: the model's tokenizer, where it does not lie beside it")
        ->type_name("PATH")
        ->needs(text);
    const auto count = [&](const char* name, int& value, int least, const char* help) {
      app.add_option(name, value, help)->check(CLI::Range(least, 1 << 20))->capture_default_str()->needs(text);
    };
    count("--tokens", study.tokens, 2, "with --text: tokens of a sequence, BOS included");
    count("--sequences", study.detection_sequences, 1,
          "with --text: sequences that massive activations are looked for in, of those for means");
    count("--mean-sequences", study.mean_sequences, 1,
          "with --text: sequences whose mean replaces massive activations");
    count("--eval-sequences", study.evaluation_sequences, 1,
          "with --text: sequences of each held-out text whose loss is measured");
    app.add_option("--seed", study.seed, "with --text: of the control's choice and the bootstrap")
        ->capture_default_str()
        ->needs(text);
    app.footer(
        "Reads config.toml, metrics.jsonl and snapshots/*.h5 of every run; needs no network, accelerator or MPI.\n"
        "Runs that differ by their seed only are compared as groups, by means and intervals over their seeds.\n"
        "With --text the model is run: docs/study.md says what is looked at and by which rules.\n"
        "Prints the path of the page. docs/report.md explains its figures and tables.");
  }

  ExitCode run() override {
    if (!study_.texts.empty()) {
      if (options_.runs.size() != 1) {
        throw Error(ExitCode::usage, "--text studies one model at a time", "Name one model.");
      }
      study_.model = options_.runs.front();
      study_.out = options_.out;
      study_.title = options_.title;
      study_.options.absolute = options_.thresholds.absolute;
      study_.options.ratio = options_.thresholds.ratio;
      study_.options.sink = options_.thresholds.sink;
      return run_study(study_);
    }
    fmt::print("{}\n", report::write_report(options_).string());
    return ExitCode::done;
  }

 private:
  report::ReportOptions options_;
  StudyRequest study_;
};

}  // namespace

std::unique_ptr<Verb> make_analyze_verb() {
  return std::make_unique<AnalyzeVerb>();
}

}  // namespace headroom
