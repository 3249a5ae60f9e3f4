// headroom doctor: what this installation can do on this machine, and what each missing part takes away.
#include <fmt/core.h>
#include <omp.h>

#include <string>
#include <vector>

#include "base/system.h"
#include "base/version.h"
#include "launch/verbs.h"
#include "parallel/versions.h"
#include "tensor/backend.h"

namespace headroom {
namespace {

void row(const std::string& label, const std::string& value) {
  fmt::print("  {:<12} {}\n", label, value);
}

void describe_host() {
  fmt::print("CPU\n");
  row("host", fmt::format("{}, {} threads, {} of memory available", host_name(), omp_get_max_threads(),
                          memory_text(available_memory_bytes())));
  row("libraries", library_versions());
  row("", "f32 and f64; training, analysis, evaluation");
}

// Whether a run could use a GPU here.
bool describe_gpu() {
  fmt::print("GPU\n");
  row("backend", gpu_library_path());
  if (const std::optional<std::string> reason = why_no_gpu()) {
    row("not usable", *reason);
    row("so", "runs compute on the CPU; train.dtype = \"bf16\" and device = \"cuda\" are refused");
    for (const std::string& part : gpu_parts()) row("", part);
    return false;
  }
  const Backend& gpu = backend(Device::cuda);
  for (const std::string& part : gpu.parts()) row("", part);
  const std::vector<std::string> devices = gpu.devices();
  for (std::size_t index = 0; index < devices.size(); ++index) row(fmt::format("device {}", index), devices[index]);
  row("", gpu_by_default() ? "f32 and bf16; device = \"auto\" computes here"
                           : "f32 and bf16; emulated, so used for device = \"cuda\" only");
  return true;
}

class DoctorVerb : public Verb {
 public:
  DoctorVerb() : Verb("doctor", "What this installation can do on this machine, and what is missing for the rest") {}

  void declare(CLI::App& app) override {
    app.add_flag("--need-gpu", need_gpu_, "Exit with an error when no GPU can be used");
    app.footer(
        "Lists libraries with their versions, the GPU backend with its driver and devices, and for each part that was\n"
        "not found what does not work without it.");
  }

  ExitCode run() override {
    fmt::print("{}\n\n", version_line());
    describe_host();
    fmt::print("\n");
    const bool gpu = describe_gpu();
    return gpu || !need_gpu_ ? ExitCode::done : ExitCode::usage;
  }

 private:
  bool need_gpu_ = false;
};

}  // namespace

std::unique_ptr<Verb> make_doctor_verb() {
  return std::make_unique<DoctorVerb>();
}

}  // namespace headroom
