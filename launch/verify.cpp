// headroom verify: the same config at several layouts, compared.
#include <fmt/core.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "base/process.h"
#include "base/progress.h"
#include "launch/verbs.h"
#include "trainer/config_schema.h"
#include "trainer/verify.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;

// A directory of our own under the system's temporary one, gone with the object.
class WorkDirectory {
 public:
  WorkDirectory() {
    std::string name = (fs::temp_directory_path() / "headroom-verify-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) {
      throw Error(ExitCode::disk_full, fmt::format("cannot create {}", name), "Set TMPDIR to a directory with space.");
    }
    path_ = name;
  }
  ~WorkDirectory() {
    std::error_code ignored;  // a destructor has nobody to tell
    fs::remove_all(path_, ignored);
  }
  WorkDirectory(const WorkDirectory&) = delete;
  WorkDirectory& operator=(const WorkDirectory&) = delete;

  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::string last_lines(const fs::path& log, std::size_t count) {
  std::ifstream stream(log);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  std::string text;
  for (std::size_t i = lines.size() > count ? lines.size() - count : 0; i < lines.size(); ++i)
    text += "  " + lines[i] + "\n";
  return text;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) {
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

class VerifyVerb : public Verb {
 public:
  VerifyVerb() : Verb("verify", "Train a config at several layouts and compare what comes out") {}

  void declare(CLI::App& app) override {
    app.add_option("config", config_, "A run's config, TOML")->required()->type_name("FILE");
    app.add_option("--layouts", layouts_, "Layouts to try, DATAxTENSOR; the first is the reference and runs twice")
        ->capture_default_str()
        ->type_name("LIST");
    app.add_option("--steps", steps_, "Optimizer steps of each run")->capture_default_str();
    app.add_option("--dtype", dtype_, "f64, where rounding hides nothing, or f32")
        ->check(CLI::IsMember({"f64", "f32"}))
        ->capture_default_str();
    app.add_option("--launcher", launcher_, "The command before `headroom`; {ranks} stands for their number")
        ->capture_default_str();
    app.add_option("--set", overrides_, "Override a key of the config; may be given many times")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
    app.footer(
        "Compares the loss of every step, every parameter after the last one and the statistics of its snapshot with\n"
        "those of the first layout, and the first layout with itself, bit for bit. Exit status 0 if all agree.");
  }

  ExitCode run() override {
    load_config(config_, overrides_);  // a mistake in it is better reported once, before anything starts
    const std::vector<std::string> layouts = split(layouts_, ',');
    if (layouts.empty()) throw Error(ExitCode::usage, "--layouts names none", "Give for example 1x1,2x1,1x2,2x2.");
    for (const std::string& layout : layouts) parse_layout(layout);

    const WorkDirectory work;
    std::vector<std::string> runs = {layouts[0], layouts[0]};
    runs.insert(runs.end(), layouts.begin() + 1, layouts.end());
    Progress progress("verify", runs.size());
    for (std::size_t index = 0; index < runs.size(); ++index) {
      train_at(runs[index], work.path(), run_name(index));
      progress.advance(1, runs[index]);
    }
    progress.finish();
    return report(runs, work.path());
  }

 private:
  static std::string run_name(std::size_t index) { return fmt::format("run-{}", index); }

  void train_at(const std::string& text, const fs::path& work, const std::string& name) const {
    const Layout layout = parse_layout(text);
    std::vector<std::string> command = split(launcher_, ' ');
    for (std::string& word : command) {
      if (word == "{ranks}") word = std::to_string(layout.ranks());
    }
    command.insert(command.end(), {own_executable().string(), "train", config_});
    std::vector<std::string> settings = overrides_;
    settings.insert(
        settings.end(),
        {"runs_dir=\"" + work.string() + "\"", "name=\"" + name + "\"", fmt::format("parallel.data={}", layout.data),
         fmt::format("parallel.tensor={}", layout.tensor), "parallel.threads=1", fmt::format("train.steps={}", steps_),
         "train.dtype=\"" + dtype_ + "\"", "train.micro_batch=0", "eval.every=0", "snapshot.every=0",
         "checkpoint.every=0", "log.tensorboard=false"});
    for (const std::string& setting : settings) command.insert(command.end(), {"--set", setting});
    std::vector<std::string> environment = {"OMPI_MCA_rmaps_base_oversubscribe=1", "OMPI_MCA_mpi_yield_when_idle=1"};
    if (geteuid() == 0) {
      environment.insert(environment.end(), {"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"});
    }
    const fs::path log = work / (name + ".log");
    const int status = run_process(command, environment, log);
    if (status != 0) {
      throw Error(ExitCode::internal,
                  fmt::format("training at {} ended with status {}:\n{}", text, status, last_lines(log, 12)),
                  "Run `headroom train` at this layout by itself; is it valid for the model?");
    }
  }

  ExitCode report(const std::vector<std::string>& runs, const fs::path& work) const {
    const VerifyTolerance tolerance = tolerance_for(dtype_);
    fmt::print("{} steps in {}; limits: loss {:.0e}, parameters {:.0e}, snapshot {:.0e}\n", steps_, dtype_,
               tolerance.loss, tolerance.parameters, tolerance.snapshot);
    fmt::print("{:<10} {:>10} {:>11} {:>10}  {:<9} {}\n", "layout", "loss", "parameters", "snapshot", "bits", "");
    bool all = true;
    for (std::size_t index = 1; index < runs.size(); ++index) {
      const LayoutComparison comparison = compare_runs(work / run_name(0), work / run_name(index));
      const bool again = index == 1;  // the reference a second time
      const bool good = again ? comparison.same_bits && comparison.same_data : within(comparison, tolerance);
      all = all && good;
      std::string verdict = good ? "ok" : "DIFFERS";
      if (!good && !comparison.same_data) verdict += " (other training data)";
      if (!good && !again)
        verdict += fmt::format(" (worst: {}, {})", comparison.worst_parameter, comparison.worst_statistic);
      fmt::print("{:<10} {:>10.1e} {:>11.1e} {:>10.1e}  {:<9} {}\n", again ? runs[index] + " again" : runs[index],
                 comparison.loss, comparison.parameters, comparison.snapshot,
                 comparison.same_bits ? "same" : "rounding", verdict);
    }
    fmt::print("{}\n", all ? "all layouts agree" : "layouts DIFFER");
    return all ? ExitCode::done : ExitCode::internal;
  }

  std::string config_;
  std::string layouts_ = "1x1,2x1,1x2,2x2";
  std::int64_t steps_ = 20;
  std::string dtype_ = "f64";
  std::string launcher_ = "mpirun --bind-to none -n {ranks}";
  std::vector<std::string> overrides_;
};

}  // namespace

std::unique_ptr<Verb> make_verify_verb() {
  return std::make_unique<VerifyVerb>();
}

}  // namespace headroom
