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
#include "base/file.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;

// Everything a build may leave in its directory; nothing else is ever removed.
constexpr std::array kOwnFiles = {
    "corpus.json",
    "corpus.json.partial",
    "tokenizer.model",
    "tokenizer.model.partial",
    "tokenizer.json",
    "tokenizer.json.partial",
    "vocab.json",
    "vocab.json.partial",
    "merges.txt",
    "merges.txt.partial",
    "tokenizer_config.json",
    "tokenizer_config.json.partial",
    "special_tokens_map.json",
    "special_tokens_map.json.partial",
    "added_tokens.json",
    "added_tokens.json.partial",
    "config.json",
    "config.json.partial",
    "train.tokens",
    "train.tokens.offsets",
    "valid.tokens",
    "valid.tokens.offsets",
    "documents.records",
    "lock",
};

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

// The first failure, or none.
std::error_code remove_own(const fs::path& directory, bool with_lock) {
  for (const char* name : kOwnFiles) {
    if (!with_lock && std::strcmp(name, "lock") == 0) continue;
    std::error_code error;
    fs::remove(directory / name, error);
    if (error) return error;
  }
  return {};
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

// Swaps two directories' names. Both change at once, so that there is always a whole corpus under the target's; a file
// system that cannot do that (NFS) gets two renames.
void exchange(const fs::path& partial, const fs::path& target) {
  if (::renameat2(AT_FDCWD, partial.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) == 0) return;
  if (errno != EINVAL && errno != ENOSYS) throw_write_error(target, "replace", errno);
  fs::path old = target;
  old += ".old";
  std::error_code error;
  fs::rename(target, old, error);
  if (error) throw_write_error(target, "replace", error.value());
  fs::rename(partial, target, error);
  if (error) {
    std::error_code ignored;  // the first failure is the one to tell
    fs::rename(old, target, ignored);
    throw_write_error(target, "replace", error.value());
  }
  fs::rename(old, partial, error);
  if (error) throw_write_error(old, "remove", error.value());
}

}  // namespace

CorpusDirectory::CorpusDirectory(const fs::path& target, bool overwrite, const std::vector<fs::path>& sources)
    : target_(target.has_filename() ? target : target.parent_path()) {
  if (target_.empty()) throw Error(ExitCode::usage, "no place for the corpus was named", "Give --out DIRECTORY.");
  check_target(target_, overwrite, sources);
  partial_ = target_;
  partial_ += ".partial";
  if (fs::exists(fs::symlink_status(partial_))) check_own(partial_);
  make_directories(partial_);
  const fs::path lock = partial_ / "lock";
  lock_ = Descriptor(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (!lock_) throw_write_error(lock, "open", errno);
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    throw Error(ExitCode::busy, fmt::format("another process is building {}", target_.string()),
                "Wait for it, or choose another place.");
  }
  const std::error_code error = remove_own(partial_, /*with_lock=*/false);
  if (error) throw_write_error(partial_, "empty", error.value());
}

CorpusDirectory::~CorpusDirectory() {
  if (published_ || !lock_) return;
  // The lock last, so that no second build begins in what is being removed; a destructor has nobody to tell of errors.
  if (!remove_own(partial_, /*with_lock=*/true)) {
    std::error_code ignored;
    fs::remove(partial_, ignored);
  }
}

void CorpusDirectory::publish() {
  std::error_code error;
  fs::remove(partial_ / "documents.records", error);
  if (error) throw_write_error(partial_ / "documents.records", "remove", error.value());
  if (fs::exists(target_)) {
    exchange(partial_, target_);
    error = remove_own(partial_, /*with_lock=*/true);
    if (!error) fs::remove(partial_, error);
  } else {
    fs::rename(partial_, target_, error);
  }
  // The lock is ours until the corpus has its name.
  if (!error) fs::remove(target_ / "lock", error);
  if (error) throw_write_error(target_, "put in place", error.value());
  sync_directory(target_.parent_path());
  published_ = true;
}

}  // namespace headroom
