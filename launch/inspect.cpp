// headroom inspect: what a checkpoint holds, whether it is as it was written, and how it differs from another.
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "launch/verbs.h"
#include "trainer/checkpoint_directory.h"
#include "trainer/checkpoint_reader.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;

// A checkpoint, or the newest one of a run.
fs::path checkpoint_at(const fs::path& path) {
  if (fs::is_regular_file(path)) {
    throw Error(ExitCode::bad_checkpoint, fmt::format("{} is a file", path.string()),
                "Name the checkpoint's directory, or the run's.");
  }
  if (fs::exists(path / "manifest.json")) return path;
  if (const auto newest = CheckpointDirectory(path / "checkpoints").latest()) return *newest;
  throw Error(ExitCode::bad_checkpoint, fmt::format("{} is neither a checkpoint nor a run with one", path.string()),
              "A checkpoint is a directory with a manifest.json, such as RUN/checkpoints/latest.");
}

std::string size_text(double bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  for (; bytes >= 1024.0 && unit + 1 < std::size(units); ++unit) bytes /= 1024.0;
  return fmt::format("{:.{}f} {}", bytes, unit == 0 ? 0 : 1, units[unit]);
}

void print_provenance(const fs::path& checkpoint, const Manifest& manifest) {
  const auto row = [](std::string_view name, const std::string& value) { fmt::print("  {:<16} {}\n", name, value); };
  fmt::print("{}\n", checkpoint.string());
  row("step", fmt::format("{}", manifest.step));
  row("tokens", fmt::format("{}", manifest.tokens));
  row("dtype", fmt::format("{} (numbers stored as {})", manifest.dtype, manifest.stored));
  row("written at", manifest.layout + " (data x tensor); loads at any layout");
  for (const auto& [name, value] : manifest.about.items()) {
    row(name, value.is_string() ? value.get<std::string>() : value.dump());
  }
  const auto known = [](const std::string& fingerprint) { return fingerprint.empty() ? "not known" : fingerprint; };
  row("config", known(manifest.identity.config));
  row("training corpus", known(manifest.identity.train));
  row("held-out corpus", known(manifest.identity.valid));
  row("tokenizer", known(manifest.identity.tokenizer));
  if (manifest.state.contains("unfinished")) row("unfinished", "the evaluation or snapshot after this step");
}

void print_tensors(const Manifest& manifest) {
  std::size_t width = 0;
  for (const Manifest::Tensor& tensor : manifest.tensors) width = std::max(width, tensor.name.size());
  std::int64_t elements = 0;
  fmt::print("\n{} tensors, each as {}\n", manifest.tensors.size(), fmt::join(manifest.kinds, ", "));
  for (const Manifest::Tensor& tensor : manifest.tensors) {
    fmt::print("  {:<{}}  {:>16}  in {} piece{}\n", tensor.name, width,
               fmt::format("[{}]", fmt::join(tensor.shape, ", ")), tensor.pieces.size(),
               tensor.pieces.size() == 1 ? "" : "s");
    elements += tensor.elements();
  }
  fmt::print("  {} parameters\n", elements);
}

void print_files(const Manifest& manifest) {
  std::int64_t bytes = 0;
  fmt::print("\n{} files\n", manifest.files.size());
  for (const Manifest::File& file : manifest.files) {
    fmt::print("  {:<16} {:>10}  {}\n", file.name, size_text(static_cast<double>(file.bytes)), file.hash);
    bytes += file.bytes;
  }
  fmt::print("  {} in all\n", size_text(static_cast<double>(bytes)));
}

class InspectVerb : public Verb {
 public:
  InspectVerb() : Verb("inspect", "Show what a checkpoint holds, and whether it is whole") {}

  void declare(CLI::App& app) override {
    app.add_option("checkpoint", checkpoint_, "A checkpoint, or a run's directory for its newest one")
        ->required()
        ->type_name("CKPT");
    app.add_flag("--verify", verify_,
                 "Read every file and compare it with the hashes that were taken when it was written");
    app.add_option("--against", against_, "Another checkpoint: how far each tensor is from it")->type_name("CKPT");
    app.add_option("--tolerance", tolerance_,
                   "Of --against: the relative difference (of the norm) up to which tensors count as equal")
        ->check(CLI::NonNegativeNumber)
        ->needs("--against")
        ->capture_default_str();
    app.footer(
        "Exit code 5 (bad checkpoint) when --verify finds damage, which it names by file and tensor, or --against a\n"
        "difference. docs/checkpoint-format.md describes the files; h5py and h5dump read tensors.h5.");
  }

  ExitCode run() override {
    const fs::path checkpoint = checkpoint_at(checkpoint_);
    const Manifest manifest = read_manifest(checkpoint);
    if (against_.empty()) {
      print_provenance(checkpoint, manifest);
      print_tensors(manifest);
      print_files(manifest);
    }
    if (verify_) verify(checkpoint, manifest);
    return against_.empty() ? ExitCode::done : compare(checkpoint, manifest);
  }

 private:
  static void verify(const fs::path& checkpoint, const Manifest& manifest) {
    const std::vector<std::string> damage = damage_in(checkpoint, manifest);
    if (damage.empty()) {
      fmt::print("\n{}: every byte is as it was written\n", checkpoint.string());
      return;
    }
    throw Error(ExitCode::bad_checkpoint, fmt::format("{}", fmt::join(damage, "\n")),
                "A run that goes on with --resume takes the checkpoint before it.");
  }

  ExitCode compare(const fs::path& checkpoint, const Manifest& manifest) const {
    const fs::path other = checkpoint_at(against_);
    const Manifest theirs = read_manifest(other);
    fmt::print("{} (step {})\nagainst {} (step {})\n", checkpoint.string(), manifest.step, other.string(), theirs.step);
    bool equal = true;
    for (const std::string& kind : manifest.kinds)
      equal = compare_kind(checkpoint, manifest, other, theirs, kind) && equal;
    fmt::print("{}\n", equal ? "the same" : "DIFFERENT");
    return equal ? ExitCode::done : ExitCode::bad_checkpoint;
  }

  bool compare_kind(const fs::path& checkpoint, const Manifest& manifest, const fs::path& other, const Manifest& theirs,
                    const std::string& kind) const {
    const std::vector<LogicalTensor> left = read_tensors(checkpoint, manifest, kind);
    const std::vector<LogicalTensor> right = read_tensors(other, theirs, kind);
    double worst = 0.0;
    std::string where = left.size() == right.size() ? "" : "other tensors";
    std::size_t same_bits = 0;
    for (std::size_t index = 0; index < std::min(left.size(), right.size()); ++index) {
      const LogicalTensor& a = left[index];
      const LogicalTensor& b = right[index];
      if (a.name != b.name || a.shape != b.shape) {
        where = fmt::format("{} beside {}", a.name, b.name);
        break;
      }
      double difference = 0.0;
      double norm = 0.0;
      for (std::size_t i = 0; i < a.values.size(); ++i) {
        difference += (a.values[i] - b.values[i]) * (a.values[i] - b.values[i]);
        norm += a.values[i] * a.values[i];
      }
      if (a.values == b.values) ++same_bits;
      const double relative = norm > 0.0 ? std::sqrt(difference / norm) : std::sqrt(difference);
      if (relative > worst || std::isnan(relative)) {
        worst = relative;
        where = a.name;
      }
    }
    fmt::print("  {:<14} {} of {} tensors have the same bits; largest difference {:.1e}{}\n", kind, same_bits,
               left.size(), worst, where.empty() ? "" : " (" + where + ")");
    return worst <= tolerance_ && (where.empty() || worst > 0.0);
  }

  std::string checkpoint_;
  std::string against_;
  double tolerance_ = 0.0;
  bool verify_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_inspect_verb() {
  return std::make_unique<InspectVerb>();
}

}  // namespace headroom
