#include "base/process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/descriptor.h"
#include "base/error.h"

extern char** environ;

namespace headroom {
namespace {

// posix_spawn's file actions, freed with the object.
class FileActions {
 public:
  FileActions() { posix_spawn_file_actions_init(&actions_); }
  ~FileActions() { posix_spawn_file_actions_destroy(&actions_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  posix_spawn_file_actions_t* get() { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
};

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

class SpawnAttributes {
 public:
  SpawnAttributes() { posix_spawnattr_init(&attributes_); }
  ~SpawnAttributes() { posix_spawnattr_destroy(&attributes_); }
  SpawnAttributes(const SpawnAttributes&) = delete;
  SpawnAttributes& operator=(const SpawnAttributes&) = delete;
  posix_spawnattr_t* get() { return &attributes_; }

 private:
  posix_spawnattr_t attributes_{};
};

pid_t spawn(const std::vector<std::string>& arguments, const std::vector<std::string>& environment,
            FileActions& actions, short flags = 0) {
  std::vector<std::string> argv = arguments;
  std::vector<std::string> env = environment;
  for (char** entry = environ; *entry != nullptr; ++entry) env.emplace_back(*entry);
  posix_spawn_file_actions_addopen(actions.get(), STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  SpawnAttributes attributes;
  posix_spawnattr_setflags(attributes.get(), flags);
  pid_t child = 0;
  const int error = posix_spawnp(&child, argv[0].c_str(), actions.get(), attributes.get(), pointers(argv).data(),
                                 pointers(env).data());
  if (error != 0) {
    throw Error(ExitCode::usage, fmt::format("cannot start {}: {}", argv[0], std::strerror(error)),
                "Is it installed and in PATH?");
  }
  return child;
}

int wait_for(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return exit_status_of(status);
}

struct Pipe {
  Descriptor read, write;
};

Pipe make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw Error(ExitCode::internal, fmt::format("pipe: {}", std::strerror(errno)));
  }
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

// Reads both to their ends, as they come, so that neither fills up.
void drain(const Descriptor& first, std::string& into_first, const Descriptor& second, std::string& into_second) {
  std::array<pollfd, 2> open = {{{first.get(), POLLIN, 0}, {second.get(), POLLIN, 0}}};
  const std::array<std::string*, 2> texts = {&into_first, &into_second};
  while (open[0].fd >= 0 || open[1].fd >= 0) {
    if (::poll(open.data(), open.size(), -1) < 0) {
      if (errno == EINTR) continue;
      return;
    }
    for (std::size_t i = 0; i < open.size(); ++i) {
      if (open[i].fd < 0 || open[i].revents == 0) continue;
      std::array<char, 4096> bytes{};
      const ssize_t count = ::read(open[i].fd, bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) {
        open[i].fd = -1;  // poll passes over it
      } else {
        texts[i]->append(bytes.data(), static_cast<std::size_t>(count));
      }
    }
  }
}

}  // namespace

int exit_status_of(int wait_status) {
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

int run_process(const std::vector<std::string>& arguments, const std::vector<std::string>& environment,
                const std::filesystem::path& log) {
  FileActions actions;
  posix_spawn_file_actions_addopen(actions.get(), STDOUT_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  posix_spawn_file_actions_adddup2(actions.get(), STDOUT_FILENO, STDERR_FILENO);
  return wait_for(spawn(arguments, environment, actions));
}

Captured run_captured(const std::vector<std::string>& arguments) {
  Pipe output = make_pipe();
  Pipe errors = make_pipe();
  FileActions actions;
  posix_spawn_file_actions_adddup2(actions.get(), output.write.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(actions.get(), errors.write.get(), STDERR_FILENO);
  const pid_t child = spawn(arguments, {}, actions);
  output.write.close();
  errors.write.close();
  Captured captured{};
  drain(output.read, captured.output, errors.read, captured.errors);
  captured.status = wait_for(child);
  return captured;
}

int start_detached(const std::vector<std::string>& arguments, const std::vector<std::string>& environment,
                   const std::filesystem::path& log) {
  FileActions actions;
  posix_spawn_file_actions_addopen(actions.get(), STDOUT_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  posix_spawn_file_actions_adddup2(actions.get(), STDOUT_FILENO, STDERR_FILENO);
  return spawn(arguments, environment, actions, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);  // no signal blocked
}

std::filesystem::path own_executable() {
  return std::filesystem::read_symlink("/proc/self/exe");
}

}  // namespace headroom
