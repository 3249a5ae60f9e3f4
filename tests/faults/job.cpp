#include "tests/faults/job.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <stdexcept>

namespace headroom::test {
namespace {

using Clock = std::chrono::steady_clock;

// Every process and its parent.
std::vector<std::pair<pid_t, pid_t>> processes() {
  std::vector<std::pair<pid_t, pid_t>> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream stream(entry.path() / "stat");
    std::string stat;
    std::getline(stream, stat);
    const std::size_t end = stat.rfind(')');  // the name may hold anything
    if (end == std::string::npos) continue;
    char state = 0;
    int parent = 0;
    if (std::sscanf(stat.c_str() + end + 1, " %c %d", &state, &parent) == 2)
      found.emplace_back(std::stoi(name), parent);
  }
  return found;
}

}  // namespace

Job::Job(int ranks, const std::string& arguments, std::filesystem::path log) : log_(std::move(log)) {
  const std::string command = "exec " HEADROOM_MPIRUN " " + std::to_string(ranks) + " " HEADROOM_BINARY " " + arguments;
  launcher_ = ::fork();
  if (launcher_ < 0) throw std::runtime_error("fork failed");
  if (launcher_ == 0) {
    const int out = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ::dup2(out, STDOUT_FILENO);
    ::dup2(out, STDERR_FILENO);
    ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    ::_exit(127);
  }
}

Job::~Job() {
  if (!ended()) kill_all();
  if (!ended_) ::waitpid(launcher_, &status_, 0);
}

bool Job::ended() {
  if (!ended_) ended_ = ::waitpid(launcher_, &status_, WNOHANG) == launcher_;
  return ended_;
}

std::vector<pid_t> Job::ranks() const {
  std::vector<pid_t> found;
  for (const auto& [process, parent] : processes()) {
    if (parent == launcher_) found.push_back(process);
  }
  return found;
}

bool Job::wait_until(const std::function<bool()>& condition) {
  while (!condition()) {
    if (ended()) return false;
    ::usleep(500);
  }
  return true;
}

void Job::kill_rank(std::size_t which) {
  const std::vector<pid_t> all = ranks();
  if (!all.empty()) ::kill(all[which % all.size()], SIGKILL);
}

void Job::kill_all() {
  const std::vector<pid_t> all = ranks();
  ::kill(launcher_, SIGKILL);
  for (const pid_t rank : all) ::kill(rank, SIGKILL);
}

Outcome Job::wait(double seconds) {
  const auto limit = Clock::now() + std::chrono::duration<double>(seconds);
  wait_until([&] { return Clock::now() > limit; });
  if (!ended()) {
    kill_all();
    return {-1, content_of(log_)};
  }
  return {WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_), content_of(log_)};
}

}  // namespace headroom::test
