#include "trainer/checkpoint_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <system_error>

#include "base/file.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPrefix = "step-";
constexpr const char* kLatest = "latest";
constexpr const char* kPartial = ".partial";
constexpr const char* kMadeWay = ".old";
constexpr const char* kDamaged = ".damaged";
constexpr const char* kTakenBack = ".taken-back";

std::string name_of(std::int64_t step) {
  return fmt::format("{}{:08}", kPrefix, step);
}

void rename_to(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error) throw_write_error(to, "rename to", error.value());
}

bool there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

void remove_tree(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) throw_write_error(path, "remove", error.value());
}

}  // namespace

std::optional<std::int64_t> step_of_checkpoint(const fs::path& checkpoint) {
  const std::string name = checkpoint.filename().string();
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const char* const begin = name.data() + std::string_view(kPrefix).size();
  const char* const end = name.data() + name.size();
  std::int64_t step = 0;
  const auto [rest, error] = std::from_chars(begin, end, step);
  if (error != std::errc() || rest != end || step < 0) return std::nullopt;
  return step;
}

fs::path CheckpointDirectory::complete(std::int64_t step) const {
  return path_ / name_of(step);
}

fs::path CheckpointDirectory::made_way(std::int64_t step) const {
  return path_ / (name_of(step) + kMadeWay);
}

fs::path CheckpointDirectory::partial(std::int64_t step) const {
  return path_ / (name_of(step) + kPartial);
}

// A directory that is not there has none; one that cannot be read is no directory without checkpoints.
std::vector<fs::path> CheckpointDirectory::entries() const {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator entry(path_, error), end; !error && entry != end; entry.increment(error)) {
    found.push_back(entry->path());
  }
  if (error && error != std::errc::no_such_file_or_directory) throw_read_error(path_, error.value());
  return found;
}

std::vector<fs::path> CheckpointDirectory::all() const {
  std::vector<fs::path> found = entries();
  std::erase_if(found, [](const fs::path& path) { return !step_of_checkpoint(path); });
  std::sort(found.begin(), found.end(),
            [](const fs::path& a, const fs::path& b) { return step_of_checkpoint(a) < step_of_checkpoint(b); });
  return found;
}

std::optional<fs::path> CheckpointDirectory::latest() const {
  const std::vector<fs::path> complete = all();
  if (complete.empty()) return std::nullopt;
  return complete.back();
}

std::vector<fs::path> CheckpointDirectory::up_to(std::int64_t step) const {
  std::vector<fs::path> found = all();
  std::erase_if(found, [step](const fs::path& checkpoint) { return step_of_checkpoint(checkpoint) > step; });
  std::reverse(found.begin(), found.end());
  return found;
}

void CheckpointDirectory::tidy() const {
  for (const fs::path& path : entries()) {
    const fs::path name = path.parent_path() / path.stem();
    if (!step_of_checkpoint(name)) continue;
    if (path.extension() == kMadeWay && !there(name)) rename_to(path, name);
    if (path.extension() == kMadeWay || path.extension() == kPartial) remove_tree(path);
  }
}

void CheckpointDirectory::begin(std::int64_t step) const {
  remove_tree(partial(step));
  std::error_code error;
  fs::create_directory(partial(step), error);
  if (error) throw_write_error(partial(step), "create the directory", error.value());
}

void CheckpointDirectory::publish(std::int64_t step) const {
  const fs::path target = complete(step);
  const fs::path old = made_way(step);
  remove_tree(old);
  const bool replaces = there(target);
  if (replaces) rename_to(target, old);
  std::error_code error;
  fs::rename(partial(step), target, error);
  if (error) {
    if (replaces) rename_to(old, target);
    throw_write_error(target, "rename to", error.value());
  }
  sync_directory(path_);
}

void CheckpointDirectory::point_latest() const {
  const std::optional<fs::path> newest = latest();
  const fs::path name = path_ / kLatest;
  const fs::path link = fs::path(name).concat(kPartial);
  std::error_code error;
  if (!newest) {
    fs::remove(name, error);
    return;
  }
  fs::remove(link, error);
  fs::create_directory_symlink(newest->filename(), link, error);
  if (error) throw_write_error(link, "create the link", error.value());
  rename_to(link, name);
}

void CheckpointDirectory::prune(const Retention& retention, std::int64_t step) const {
  remove_tree(made_way(step));
  const std::vector<fs::path> complete = all();
  const auto newest = static_cast<std::size_t>(std::max<std::int64_t>(retention.newest, 1));
  for (std::size_t index = 0; index + newest < complete.size(); ++index) {
    const std::int64_t old = *step_of_checkpoint(complete[index]);
    if (old == step || (retention.every > 0 && old % retention.every == 0)) continue;
    remove_tree(complete[index]);
  }
}

void CheckpointDirectory::give_up(std::int64_t step) const noexcept {
  std::error_code ignored;
  fs::remove_all(partial(step), ignored);
}

void CheckpointDirectory::set_aside(const fs::path& checkpoint, Aside why) const {
  const fs::path aside = fs::path(checkpoint).concat(why == Aside::damaged ? kDamaged : kTakenBack);
  remove_tree(aside);
  rename_to(checkpoint, aside);
  point_latest();
}

}  // namespace headroom
