#include "data/corpus_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "base/error.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;

// Everything a build may leave in its directory; nothing else is ever removed.
constexpr std::array<const char*, 10> kOwnFiles = {
    "corpus.json",          "corpus.json.partial", "tokenizer.model",      "tokenizer.model.partial", "train.tokens",
    "train.tokens.offsets", "valid.tokens",        "valid.tokens.offsets", "documents.records",       "lock"};

[[noreturn]] void fail_disk(const fs::path& path, const std::string& what) {
  throw Error(ExitCode::disk_full, fmt::format("{}: {}", path.string(), what),
              "Check that the place exists, has space, and may be written to.");
}

// Throws when `directory` is no directory or holds what no build puts there.
void check_own(const fs::path& directory) {
  if (!fs::is_directory(directory)) {
    throw Error(ExitCode::usage, fmt::format("{} exists and is no directory", directory.string()),
                "Choose another place for the corpus.");
  }
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    if (std::find(kOwnFiles.begin(), kOwnFiles.end(), name) == kOwnFiles.end() || !entry.is_regular_file()) {
      throw Error(ExitCode::usage, fmt::format("{} holds {}, which is no part of a corpus", directory.string(), name),
                  "Nothing was removed. Choose another place for the corpus.");
    }
  }
}

void remove_own(const fs::path& directory, bool with_lock) {
  std::error_code error;
  for (const char* name : kOwnFiles) {
    if (!with_lock && std::strcmp(name, "lock") == 0) continue;
    fs::remove(directory / name, error);
    if (error) fail_disk(directory / name, "cannot be removed: " + error.message());
  }
}

void check_target(const fs::path& target, bool overwrite, const std::vector<fs::path>& sources) {
  if (!fs::exists(fs::symlink_status(target))) return;
  if (!overwrite) {
    throw Error(ExitCode::usage, fmt::format("{} exists already", target.string()),
                "Give --overwrite to replace the corpus there, or choose another place.");
  }
  check_own(target);
  const fs::path inside = fs::weakly_canonical(target);
  for (const fs::path& source : sources) {
    const fs::path file = fs::weakly_canonical(source);
    if (std::mismatch(inside.begin(), inside.end(), file.begin(), file.end()).first == inside.end()) {
      throw Error(ExitCode::usage,
                  fmt::format("{} would be replaced while {} in it is read", target.string(), source.string()),
                  "Choose another place for the corpus.");
    }
  }
}

}  // namespace

CorpusDirectory::CorpusDirectory(const fs::path& target, bool overwrite, const std::vector<fs::path>& sources)
    : target_(target.has_filename() ? target : target.parent_path()) {
  if (target_.empty()) throw Error(ExitCode::usage, "no place for the corpus was named", "Give --out DIRECTORY.");
  check_target(target_, overwrite, sources);
  partial_ = target_;
  partial_ += ".partial";
  if (fs::exists(fs::symlink_status(partial_))) check_own(partial_);
  std::error_code error;
  fs::create_directories(partial_, error);
  if (error) fail_disk(partial_, "cannot be made: " + error.message());
  const fs::path lock = partial_ / "lock";
  lock_ = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock_ < 0) fail_disk(lock, std::strerror(errno));
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    ::close(lock_);
    throw Error(ExitCode::busy, fmt::format("another process is building {}", target_.string()),
                "Wait for it, or choose another place.");
  }
  try {
    remove_own(partial_, /*with_lock=*/false);
  } catch (...) {
    ::close(lock_);
    throw;
  }
}

CorpusDirectory::~CorpusDirectory() {
  if (lock_ >= 0) ::close(lock_);
}

void CorpusDirectory::publish() {
  std::error_code error;
  fs::remove(partial_ / "documents.records", error);
  if (error) fail_disk(partial_ / "documents.records", "cannot be removed: " + error.message());
  const bool replaces = fs::exists(target_);
  if (replaces) {
    // Both names change at once: there is always a whole corpus under the target's.
    if (::renameat2(AT_FDCWD, partial_.c_str(), AT_FDCWD, target_.c_str(), RENAME_EXCHANGE) != 0) {
      fail_disk(target_, std::string("cannot be replaced: ") + std::strerror(errno));
    }
    fs::remove(target_ / "lock", error);
    remove_own(partial_, /*with_lock=*/true);
    fs::remove(partial_, error);
  } else {
    fs::remove(partial_ / "lock", error);
    if (!error) fs::rename(partial_, target_, error);
  }
  if (error) fail_disk(target_, "cannot be put in place: " + error.message());
}

}  // namespace headroom
