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

std::string name_of(std::int64_t step) {
  return fmt::format("{}{:08}", kPrefix, step);
}

void rename_to(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error) throw_write_error(to, "rename to", error.value());
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

fs::path CheckpointDirectory::partial(std::int64_t step) const {
  return path_ / (name_of(step) + kPartial);
}

std::vector<fs::path> CheckpointDirectory::all() const {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator entry(path_, error), end; !error && entry != end; entry.increment(error)) {
    if (step_of_checkpoint(entry->path())) found.push_back(entry->path());
  }
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
  std::vector<fs::path> left;
  std::error_code error;
  for (fs::directory_iterator entry(path_, error), end; !error && entry != end; entry.increment(error)) {
    left.push_back(entry->path());
  }
  for (const fs::path& path : left) {
    const fs::path name = path.parent_path() / path.stem();
    if (!step_of_checkpoint(name)) continue;
    if (path.extension() == kMadeWay && !fs::exists(name)) rename_to(path, name);
    if (path.extension() == kMadeWay || path.extension() == kPartial) remove_tree(path);
  }
}

void CheckpointDirectory::begin(std::int64_t step) const {
  remove_tree(partial(step));
  make_directories(partial(step));
}

void CheckpointDirectory::publish(std::int64_t step) const {
  const fs::path target = complete(step);
  const fs::path old = fs::path(target).concat(kMadeWay);
  remove_tree(old);
  if (fs::exists(target)) rename_to(target, old);
  rename_to(partial(step), target);
  sync_directory(path_);
  remove_tree(old);

  const fs::path link = path_ / fs::path(kLatest).concat(kPartial);
  std::error_code error;
  fs::remove(link, error);
  fs::create_directory_symlink(target.filename(), link, error);
  if (error) throw_write_error(link, "create the link", error.value());
  rename_to(link, path_ / kLatest);
}

void CheckpointDirectory::prune(const Retention& retention, std::int64_t step) const {
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

void CheckpointDirectory::set_aside(const fs::path& checkpoint) const {
  const fs::path aside = fs::path(checkpoint).concat(".damaged");
  remove_tree(aside);
  rename_to(checkpoint, aside);
}

}  // namespace headroom
