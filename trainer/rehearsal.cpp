#include "trainer/rehearsal.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>
#include <sstream>
#include <thread>

#include "tensor/transfer.h"
#include "trainer/logging.h"

namespace headroom {
namespace {

constexpr double kSpike = 1e6;

void put(double number, const Tensor& gradients) {
  upload_as(std::span<const double>(&number, 1), gradients.flat_range(0, 1));
}

[[noreturn]] void refuse(const std::string& scene, const std::string& word) {
  throw Error(
      ExitCode::usage, fmt::format("HEADROOM_REHEARSE: '{}' in \"{}\" is not understood", word, scene),
      "For example \"nan step=7; delay step=3-9 rank=1 seconds=0.2\"; faults: nan, spike, delay, hang, stop, kill.");
}

}  // namespace

Rehearsal::Rehearsal(const char* text, int rank) {
  std::istringstream scenes(text == nullptr ? "" : text);
  for (std::string scene; std::getline(scenes, scene, ';');) {
    if (scene.find_first_not_of(' ') == std::string::npos) continue;
    const Scene parsed = scene_of(scene);
    if (parsed.rank == rank) scenes_.push_back(parsed);
  }
}

Rehearsal::Scene Rehearsal::scene_of(const std::string& text) {
  Scene scene;
  std::istringstream words(text);
  words >> scene.fault;
  const char* const known[] = {"nan", "spike", "delay", "hang", "stop", "kill"};
  if (std::find(std::begin(known), std::end(known), scene.fault) == std::end(known)) refuse(text, scene.fault);
  for (std::string word; words >> word;) {
    int end = 0;
    const int size = static_cast<int>(word.size());
    if (std::sscanf(word.c_str(), "step=%ld-%ld%n", &scene.first, &scene.last, &end) == 2 && end == size) continue;
    if (std::sscanf(word.c_str(), "step=%ld%n", &scene.first, &end) == 1 && end == size) {
      scene.last = scene.first;
      continue;
    }
    if (std::sscanf(word.c_str(), "rank=%d%n", &scene.rank, &end) == 1 && end == size) continue;
    if (std::sscanf(word.c_str(), "seconds=%lf%n", &scene.seconds, &end) == 1 && end == size) continue;
    refuse(text, word);
  }
  if (scene.first < 1 || scene.last < scene.first) refuse(text, "step");
  if (scene.seconds < 0.0) refuse(text, "seconds");
  return scene;
}

void Rehearsal::play(std::int64_t step, const Tensor& gradients) {
  for (Scene& scene : scenes_) {
    if (step < scene.first || step > scene.last || step <= scene.played) continue;
    scene.played = step;
    log_warning("rehearsal: {} at step {} on this rank", scene.fault, step);
    if (scene.fault == "nan") put(std::numeric_limits<double>::quiet_NaN(), gradients);
    if (scene.fault == "spike") put(kSpike, gradients);
    if (scene.fault == "delay") std::this_thread::sleep_for(std::chrono::duration<double>(scene.seconds));
    if (scene.fault == "stop") ::raise(SIGTERM);
    if (scene.fault == "kill") ::raise(SIGKILL);
    while (scene.fault == "hang") ::pause();
  }
}

}  // namespace headroom
