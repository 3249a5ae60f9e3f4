#include "parallel/watchdog.h"

#include <chrono>
#include <cmath>
#include <cstdlib>

namespace headroom {

WatchedGroup::WatchedGroup(std::string who, Library library) : who_(std::move(who)), library_(std::move(library)) {}

void WatchedGroup::started(const Announcement& call, std::shared_ptr<DeviceWork> work, double now) {
  const std::lock_guard lock(mutex_);
  drop_finished(now);
  if (flights_.empty()) oldest_since_ = now;
  flights_.push_back({++started_, call, std::move(work)});
}

void WatchedGroup::close() {
  const std::lock_guard lock(mutex_);
  library_ = {};
  flights_.clear();
}

void WatchedGroup::abort() {
  const std::lock_guard lock(mutex_);
  if (library_.abort != nullptr) library_.abort();
}

std::size_t WatchedGroup::under_way() {
  const std::lock_guard lock(mutex_);
  return flights_.size();
}

void WatchedGroup::drop_finished(double now) {
  while (!flights_.empty() && flights_.front().work->finished()) {
    flights_.pop_front();
    oldest_since_ = now;
  }
}

std::string WatchedGroup::oldest() const {
  if (flights_.empty()) return "nothing under way";
  return fmt::format("{}, number {} of its group", describe(flights_.front().call), flights_.front().number);
}

std::optional<Trouble> WatchedGroup::trouble(double now, double limit) {
  const std::lock_guard lock(mutex_);
  drop_finished(now);
  if (library_.error != nullptr) {
    if (const std::optional<std::string> error = library_.error()) {
      return Trouble{fmt::format(
          "error: {}: NCCL reports \"{}\" ({})\n"
          "hint: A rank, a GPU or the network between them failed; look at the first error of all ranks' logs. "
          "NCCL_DEBUG=INFO shows what NCCL does.",
          who_, *error, oldest())};
    }
  }
  const double age = now - oldest_since_;
  if (flights_.empty() || age <= limit) return std::nullopt;
  return Trouble{fmt::format(
      "error: {}: {}, has not finished for {:.0f} s\n"
      "hint: A rank of the group has stopped, failed, or makes other calls: look at the first error of all ranks' "
      "logs, "
      "and for the rank that names another collective here. HEADROOM_NCCL_TIMEOUT sets the limit in seconds ({:.0f}); "
      "NCCL_DEBUG=INFO shows what NCCL does.",
      who_, oldest(), age, limit)};
}

Watchdog::Watchdog(Settings settings) : settings_(std::move(settings)), thread_([this] { run(); }) {}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Watchdog::watch(const std::shared_ptr<Watched>& watched) {
  const std::lock_guard lock(mutex_);
  std::erase_if(watched_, [](const auto& known) { return known.expired(); });
  watched_.push_back(watched);
}

std::vector<std::shared_ptr<Watched>> Watchdog::alive() {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Watched>> found;
  for (const auto& known : watched_) {
    if (auto watched = known.lock()) found.push_back(std::move(watched));
  }
  return found;
}

std::optional<Trouble> Watchdog::look() {
  for (const auto& watched : alive()) {
    if (auto trouble = watched->trouble(settings_.now(), settings_.limit)) return trouble;
  }
  return std::nullopt;
}

void Watchdog::run() {
  if (settings_.begin != nullptr) settings_.begin();
  const auto interval = std::chrono::duration<double>(settings_.interval);
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, interval, [this] { return ending_; })) {
    lock.unlock();
    if (const std::optional<Trouble> trouble = look()) {
      settings_.report(*trouble);
      for (const auto& watched : alive()) watched->abort();
      settings_.end_job(trouble->code);
      return;
    }
    lock.lock();
  }
}

double collective_time_limit(const char* text, double otherwise) {
  if (text == nullptr || *text == '\0') return otherwise;
  char* end = nullptr;
  const double value = std::strtod(text, &end);
  if (*end != '\0' || !std::isfinite(value) || value <= 0.0) {
    throw Error(ExitCode::usage, fmt::format("HEADROOM_NCCL_TIMEOUT=\"{}\" is not a positive number", text),
                "It is the number of seconds that a collective on GPUs may take.");
  }
  return value;
}

}  // namespace headroom
