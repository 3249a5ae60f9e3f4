// Sees to it that a collective that runs on a device cannot fail or hang unnoticed: nobody on the host waits in it, and
// a rank that waits for the device's results waits for ever. A thread looks at every group's collectives now and then,
// and ends the job with a message when the library reports an error or the oldest one does not finish.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "parallel/announcement.h"

namespace headroom {

// A collective under way on a device.
class DeviceWork {
 public:
  virtual ~DeviceWork() = default;
  // Asks without waiting. Called from the watchdog's thread as well.
  virtual bool finished() = 0;
};

// The collectives of one group of ranks. They finish in the order in which they were started.
class WatchedGroup {
 public:
  // The library behind the group, called from the watchdog's thread.
  struct Library {
    std::function<std::optional<std::string>()> error;  // what it reports, if anything
    std::function<void()> abort;                        // gives up what is under way, so that nobody waits for it
  };

  // `who` is this rank in words ("rank 3 (1 of 2 in its group) on n1").
  WatchedGroup(std::string who, Library library);

  // Keeps `work` until it has finished. Times are seconds of one clock.
  void started(const Announcement& call, std::shared_ptr<DeviceWork> work, double now);

  // After this nothing of the group is called any more.
  void close();

  // What is wrong and what to do about it, if anything: the library's error, or a collective that has been the oldest
  // for more than `limit` seconds.
  std::optional<std::string> trouble(double now, double limit);

  void abort();

  std::size_t under_way();

 private:
  struct Flight {
    std::int64_t number;
    Announcement call;
    std::shared_ptr<DeviceWork> work;
  };
  void drop_finished(double now);
  std::string oldest() const;

  std::mutex mutex_;
  std::string who_;
  Library library_;
  std::deque<Flight> flights_;
  std::int64_t started_ = 0;
  double oldest_since_ = 0.0;  // when the first of flights_ became the first
};

class Watchdog {
 public:
  struct Settings {
    double limit = 600.0;   // seconds a collective may take
    double interval = 1.0;  // between looks
    std::function<double()> now;
    // All in the watchdog's thread. `begin` comes first (may be empty); `report` gets the message when something is
    // wrong; then every group is aborted, and `end_job` is the last.
    std::function<void()> begin;
    std::function<void(const std::string&)> report;
    std::function<void()> end_job;
  };

  explicit Watchdog(Settings settings);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // Until the group goes.
  void watch(const std::shared_ptr<WatchedGroup>& group);

  const Settings& settings() const { return settings_; }

 private:
  void run();
  std::vector<std::shared_ptr<WatchedGroup>> groups();
  std::optional<std::string> look();

  const Settings settings_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ending_ = false;
  std::vector<std::weak_ptr<WatchedGroup>> groups_;
  std::thread thread_;  // last: it uses the others
};

// The watchdog's limit in seconds: what HEADROOM_NCCL_TIMEOUT says, or `otherwise`. Throws ExitCode::usage when that is
// not a positive number.
double collective_time_limit(const char* text, double otherwise = 600.0);

}  // namespace headroom
