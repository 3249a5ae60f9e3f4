// headroom analyze: run directories to a report.
#include <filesystem>
#include <memory>
#include <string>

#include "analysis/report/report.h"
#include "launch/verbs.h"

namespace headroom {
namespace {

class AnalyzeVerb : public Verb {
 public:
  AnalyzeVerb() : Verb("analyze", "Turn runs into a report: one page, figures and tables") {}

  void declare(CLI::App& app) override {
    app.add_option("RUN", options_.runs, "run directories; the baseline among them is found by its variant")
        ->required();
    app.add_option("-o,--out", options_.out,
                   "where to write the report (default: RUN/report, or report-A-B beside the first of several runs)");
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
    app.footer(
        "Reads config.toml, metrics.jsonl and snapshots/*.h5 of every run; needs no network, accelerator or MPI.\n"
        "Runs that differ by their seed only are compared as groups, by means and intervals over their seeds.\n"
        "Prints the path of the page. docs/report.md explains its figures and tables.");
  }

  ExitCode run() override {
    fmt::print("{}\n", report::write_report(options_).string());
    return ExitCode::done;
  }

 private:
  report::ReportOptions options_;
};

}  // namespace

std::unique_ptr<Verb> make_analyze_verb() {
  return std::make_unique<AnalyzeVerb>();
}

}  // namespace headroom
