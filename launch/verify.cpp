// headroom verify: the same config at several layouts, compared.
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
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

// What a failed run said: its error and hint, or where it printed none (a signal), its last lines.
std::string last_words(const fs::path& log, std::size_t count) {
  std::ifstream stream(log);
  std::vector<std::string> lines;
  std::vector<std::string> errors;
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with("error: ") || line.starts_with("hint: ")) errors.push_back(line);
    lines.push_back(line);
  }
  if (!errors.empty()) lines = errors;
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
    app.add_option("--steps", steps_, "Optimizer steps of each run")
        ->check(CLI::Range(1, 1'000'000))
        ->capture_default_str();
    app.add_flag("--twice", twice_, "Run every layout twice and expect the same bits, not only of the first");
    app.add_option("--dtype", dtype_, "f64 on the CPU, where rounding hides nothing, f32, or bf16 on GPUs")
        ->check(CLI::IsMember({"f64", "f32", "bf16"}))
        ->capture_default_str();
    app.add_option("--launcher", launcher_, "The command before `headroom`; {ranks} stands for their number")
        ->capture_default_str();
    app.add_option("--set", overrides_, "Override a key of the config; may be given many times")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
    app.footer(
        "Compares the loss of every step, every parameter after the last one and everything that its snapshot holds\n"
        "with those of the first layout, and the first layout with itself, bit for bit. Where the config leaves\n"
        "train.micro_batch open, all layouts take the share of a rank at the widest. Exit status 0 if all agree.");
  }

  ExitCode run() override {
    const RunConfig config = load_config(config_, overrides_);  // a mistake is better reported once, before anything
    const std::vector<std::string> layouts = split(layouts_, ',');
    if (layouts.empty()) throw Error(ExitCode::usage, "--layouts names none", "Give for example 1x1,2x1,1x2,2x2.");
    micro_batch_ = config.train.micro_batch > 0 ? config.train.micro_batch : smallest_share(config, layouts);

    std::vector<Trial> trials;
    for (const std::string& layout : layouts) {
      trials.push_back({layout, trials.empty() ? Trial::kNone : 0, false});
      if (twice_ || layout == layouts.front()) trials.push_back({layout, trials.size() - 1, true});
    }
    const WorkDirectory work;
    Progress progress("verify", trials.size());
    for (std::size_t index = 0; index < trials.size(); ++index) {
      train_at(trials[index].layout, work.path(), run_name(index));
      progress.advance(1, trials[index].layout);
    }
    progress.finish();
    return report(trials, work.path());
  }

 private:
  // A run, and the earlier one that it is held against.
  struct Trial {
    static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
    std::string layout;
    std::size_t against;
    bool again;  // the same layout: the same bits
  };

  static std::int64_t smallest_share(const RunConfig& config, const std::vector<std::string>& layouts) {
    std::int64_t widest = 1;
    for (const std::string& layout : layouts) widest = std::max<std::int64_t>(widest, parse_layout(layout).data);
    return std::max<std::int64_t>(1, config.train.global_batch / widest);
  }

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
         fmt::format("parallel.tensor={}", layout.tensor), fmt::format("train.micro_batch={}", micro_batch_),
         fmt::format("train.steps={}", steps_), "train.dtype=\"" + dtype_ + "\"", "eval.every=0", "snapshot.every=0",
         "checkpoint.every=0", "log.tensorboard=false"});
    for (const std::string& setting : settings) command.insert(command.end(), {"--set", setting});
    // As launch/lib.sh has it: more ranks and threads than cores, which must not spin; containers that forbid reading
    // another process' memory.
    // On a GPU all runs take the same algorithms for their products, or their bits would differ for that alone.
    std::vector<std::string> environment = {"HEADROOM_CUBLASLT_CACHE=" + (work / "product-choices.txt").string(),
                                            "OMP_WAIT_POLICY=passive", "OMPI_MCA_rmaps_base_oversubscribe=1",
                                            "OMPI_MCA_mpi_yield_when_idle=1",
                                            "OMPI_MCA_btl_vader_single_copy_mechanism=none"};
    if (geteuid() == 0) {
      environment.insert(environment.end(), {"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"});
    }
    const fs::path log = work / (name + ".log");
    const int status = run_process(command, environment, log);
    if (status != 0) {
      throw Error(ExitCode::internal,
                  fmt::format("training at {} ended with status {}:\n{}", text, status, last_words(log, 12)),
                  "Run `headroom train` at this layout by itself; is it valid for the model?");
    }
  }

  ExitCode report(const std::vector<Trial>& trials, const fs::path& work) const {
    const VerifyTolerance tolerance = tolerance_for(dtype_);
    fmt::print("{} steps in {}; limits: loss {:.0e}, parameters {:.0e}, snapshot {:.0e}\n", steps_, dtype_,
               tolerance.loss, tolerance.parameters, tolerance.snapshot);
    fmt::print("{:<10} {:>10} {:>11} {:>10}  {:<9} {}\n", "layout", "loss", "parameters", "snapshot", "bits", "");
    bool all = true;
    for (std::size_t index = 1; index < trials.size(); ++index) {
      const Trial& trial = trials[index];
      const LayoutComparison comparison = compare_runs(work / run_name(trial.against), work / run_name(index));
      const bool good = trial.again ? comparison.same_bits && comparison.same_data : within(comparison, tolerance);
      all = all && good;
      std::string verdict = good ? "ok" : "DIFFERS";
      if (!good && !comparison.same_data) verdict += " (other training data)";
      if (!good) verdict += fmt::format(" (worst: {}, {})", comparison.worst_parameter, comparison.worst_statistic);
      fmt::print("{:<10} {:>10.1e} {:>11.1e} {:>10.1e}  {:<9} {}\n",
                 trial.again ? trial.layout + " again" : trial.layout, comparison.loss, comparison.parameters,
                 comparison.snapshot, comparison.same_bits ? "same" : "rounding", verdict);
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
  bool twice_ = false;
  std::int64_t micro_batch_ = 0;
};

}  // namespace

std::unique_ptr<Verb> make_verify_verb() {
  return std::make_unique<VerifyVerb>();
}

}  // namespace headroom
