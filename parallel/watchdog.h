// Sees to it that nothing fails or hangs unnoticed: a thread looks at what it watches now and then, and ends the job
// with a message when something is wrong. Watched are the collectives that run on a device, where nobody on the host
// waits in them, and a rank that waits for the device's results waits for ever; and what the process's own threads wait
// for (parallel/process_watch.h).
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

// What is wrong, in words for stderr that end in what to do about it, and the exit code it stands for.
struct Trouble {
  std::string message;
  ExitCode code = ExitCode::communication;
  bool hangs_here = false;  // in this process itself, which does not wait for another
};

// Something that a watchdog looks at, from its own thread.
class Watched {
 public:
  virtual ~Watched() = default;

  // What is wrong, if anything, when nothing may take more than `limit` seconds. `now` is of the watchdog's clock.
  virtual std::optional<Trouble> trouble(double now, double limit) = 0;

  // Lets go whoever waits in it, where that is possible, before the job ends.
  virtual void abort() = 0;
};

// A collective under way on a device.
class DeviceWork {
 public:
  virtual ~DeviceWork() = default;
  // Asks without waiting. Called from the watchdog's thread as well.
  virtual bool finished() = 0;
};

// The collectives of one group of ranks. They finish in the order in which they were started.
class WatchedGroup final : public Watched {
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

  // The library's error, or a collective that has been the oldest for more than `limit` seconds.
  std::optional<Trouble> trouble(double now, double limit) override;

  void abort() override;

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
    double limit = 600.0;   // seconds that what is watched may take
    double interval = 1.0;  // between looks
    std::function<double()> now;
    // All in the watchdog's thread. `begin` comes first (may be empty); `report` gets what is wrong; then everything
    // watched is aborted, and `end_job` is the last.
    std::function<void()> begin;
    std::function<void(const Trouble&)> report;
    std::function<void(ExitCode)> end_job;
  };

  explicit Watchdog(Settings settings);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // Until it goes.
  void watch(const std::shared_ptr<Watched>& watched);

  const Settings& settings() const { return settings_; }

 private:
  void run();
  std::vector<std::shared_ptr<Watched>> alive();
  std::optional<Trouble> look();

  const Settings settings_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ending_ = false;
  std::vector<std::weak_ptr<Watched>> watched_;
  std::thread thread_;  // last: it uses the others
};

// The limit of collectives on a device, in seconds: what HEADROOM_NCCL_TIMEOUT says, or `otherwise`. Throws
// ExitCode::usage when that is not a positive number.
double collective_time_limit(const char* text, double otherwise = 600.0);

}  // namespace headroom
