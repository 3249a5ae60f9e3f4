#include "trainer/rehearsal.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <limits>
#include <sstream>
#include <string_view>
#include <thread>

#include "tensor/transfer.h"
#include "trainer/logging.h"
#include "trainer/stop_request.h"

namespace headroom {
namespace {

constexpr double kSpike = 1e6;

void put(double number, const Tensor& gradients) {
  upload_as(std::span<const double>(&number, 1), gradients.flat_range(0, 1));
}

// Returns when the request has been noted, so that it falls into this step.
void stop_this_process() {
  ::kill(::getpid(), SIGTERM);
  while (!stop_requested()) std::this_thread::yield();
}

// A fault and the words that it takes.
struct Grammar {
  const char* fault;
  std::vector<std::string_view> keys;
};

const std::vector<Grammar>& grammar() {
  static const std::vector<Grammar> all = {
      {"nan", {"step", "rank"}},        {"spike", {"step", "rank"}}, {"delay", {"step", "rank", "seconds"}},
      {"hang", {"step", "rank"}},       {"stop", {"step", "rank"}},  {"kill", {"step", "rank"}},
      {"slow-node", {"node", "ratio"}}, {"broken-disk", {"node"}},   {"skew", {"node", "seconds"}},
      {"full-disk", {"node"}},          {"stuck-node", {"node"}}};
  return all;
}

bool takes(const Grammar& rules, std::string_view key) {
  return std::find(rules.keys.begin(), rules.keys.end(), key) != rules.keys.end();
}

[[noreturn]] void refuse(const std::string& scene, std::string_view word) {
  std::string faults;
  for (const Grammar& rules : grammar()) faults += fmt::format("{}{}", faults.empty() ? "" : ", ", rules.fault);
  throw Error(ExitCode::usage, fmt::format("HEADROOM_REHEARSE: '{}' in \"{}\" is not understood", word, scene),
              "For example \"nan step=7; delay step=3-9 rank=1 seconds=0.2; slow-node node=n2 ratio=10\"; faults: " +
                  faults + ".");
}

// Whether `value` is a number and nothing else.
template <class Number>
bool read(const char* format, const std::string& value, Number* number) {
  int end = 0;
  return std::sscanf(value.c_str(), format, number, &end) == 1 && end == static_cast<int>(value.size());
}

bool read_steps(const std::string& value, Scene& scene) {
  int end = 0;
  if (std::sscanf(value.c_str(), "%ld-%ld%n", &scene.first, &scene.last, &end) == 2) {
    return end == static_cast<int>(value.size());
  }
  if (!read("%ld%n", value, &scene.first)) return false;
  scene.last = scene.first;
  return true;
}

bool read_word(std::string_view key, const std::string& value, Scene& scene) {
  if (key == "step") return read_steps(value, scene);
  if (key == "rank") return read("%d%n", value, &scene.rank);
  if (key == "seconds") return read("%lf%n", value, &scene.seconds);
  if (key == "ratio") return read("%lf%n", value, &scene.ratio);
  scene.node = value;
  return true;
}

Scene scene_of(const std::string& text) {
  Scene scene;
  std::istringstream words(text);
  words >> scene.fault;
  const auto rules = std::find_if(grammar().begin(), grammar().end(),
                                  [&](const Grammar& known) { return known.fault == scene.fault; });
  if (rules == grammar().end()) refuse(text, scene.fault);
  for (std::string word; words >> word;) {
    const std::size_t equals = word.find('=');
    const std::string key = word.substr(0, equals);
    if (equals == std::string::npos || !takes(*rules, key) || !read_word(key, word.substr(equals + 1), scene)) {
      refuse(text, word);
    }
  }
  if (takes(*rules, "step") && (scene.first < 1 || scene.last < scene.first)) refuse(text, "step");
  if (takes(*rules, "node") && scene.node.empty()) refuse(text, "node");
  if (scene.fault == "delay" && scene.seconds < 0.0) refuse(text, "seconds");
  if (!(scene.ratio > 0.0)) refuse(text, "ratio");
  return scene;
}

}  // namespace

std::vector<Scene> parse_rehearsal(const char* text) {
  std::vector<Scene> all;
  std::istringstream scenes(text == nullptr ? "" : text);
  for (std::string scene; std::getline(scenes, scene, ';');) {
    if (scene.find_first_not_of(' ') != std::string::npos) all.push_back(scene_of(scene));
  }
  return all;
}

Rehearsal::Rehearsal(const char* text, int rank) {
  for (const Scene& scene : parse_rehearsal(text)) {
    if (scene.node.empty() && scene.rank == rank) scenes_.push_back(scene);
  }
}

void Rehearsal::play(std::int64_t step, const Tensor& gradients) {
  for (Scene& scene : scenes_) {
    if (step < scene.first || step > scene.last || step <= scene.played) continue;
    scene.played = step;
    log_warning("rehearsal: {} at step {} on this rank", scene.fault, step);
    if (scene.fault == "nan") put(std::numeric_limits<double>::quiet_NaN(), gradients);
    if (scene.fault == "spike") put(kSpike, gradients);
    if (scene.fault == "delay") std::this_thread::sleep_for(std::chrono::duration<double>(scene.seconds));
    if (scene.fault == "stop") stop_this_process();
    if (scene.fault == "kill") ::raise(SIGKILL);
    while (scene.fault == "hang") ::pause();
  }
}

NodeRehearsal rehearse_node(const char* text, const std::string& node) {
  NodeRehearsal ordered;
  for (const Scene& scene : parse_rehearsal(text)) {
    if (scene.node != node) continue;
    if (scene.fault == "slow-node") ordered.slow_ratio = scene.ratio;
    if (scene.fault == "skew") ordered.skew_seconds = scene.seconds;
    if (scene.fault == "broken-disk") ordered.disk_error = EIO;
    if (scene.fault == "full-disk") ordered.disk_error = ENOSPC;
    if (scene.fault == "stuck-node") ordered.stuck = true;
  }
  return ordered;
}

}  // namespace headroom
