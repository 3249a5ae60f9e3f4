#include "base/patient_file.h"

#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/file.h"

namespace headroom {
namespace {

constexpr std::uint64_t kRemembered = std::uint64_t{1} << 20;

// A current directory that vanishes and comes back is not the same one.
std::filesystem::path anchored(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::path found = std::filesystem::absolute(path, error);
  return error ? path : found;
}

}  // namespace

PatientFile::PatientFile(const std::filesystem::path& path)
    : path_(anchored(path)), file_(path_), begin_(file_->size()), end_(begin_) {}

PatientFile::~PatientFile() {
  if (waiting() > 0) retry();
}

void PatientFile::append(std::string record) {
  records_.push_back(std::move(record));
  retry();
}

void PatientFile::retry() {
  try {
    write_waiting();
    error_.clear();
  } catch (const Error& error) {
    error_ = error.what();
  }
}

void PatientFile::sync() {
  retry();
  if (error_.empty()) {
    try {
      sync_file();
    } catch (const Error& error) {
      error_ = error.what();
    }
  }
  if (const auto wrong = trouble()) {
    throw Error(ExitCode::disk_full, *wrong, "Free space there or bring the directory back: writing is tried again.");
  }
}

std::optional<std::string> PatientFile::trouble() const {
  if (error_.empty()) return std::nullopt;
  return fmt::format("{}; {} {} in memory", error_, waiting(), waiting() == 1 ? "record waits" : "records wait");
}

void PatientFile::write_waiting() {
  if (!file_ || !file_->in_place()) find_file();
  while (waiting() > 0) {
    file_->append(records_[written_]);
    end_ += records_[written_].size();
    ++written_;
  }
  while (written_ > 0 && end_ - begin_ > kRemembered) forget_written();
}

// Opens what bears the path now, and counts as written what it holds of our records.
void PatientFile::find_file() {
  file_.reset();
  AppendFile found(path_);
  const std::uint64_t size = found.size();
  if (size > end_) {
    while (written_ > 0) forget_written();
    begin_ = end_ = size;
  } else if (size < begin_) {
    written_ = 0;
    begin_ = end_ = size;
  } else {
    while (end_ > size) end_ -= records_[--written_].size();
    if (end_ < size) found.cut(end_);
  }
  new_name_ = true;
  file_ = std::move(found);
}

void PatientFile::forget_written() {
  begin_ += records_.front().size();
  records_.pop_front();
  --written_;
}

void PatientFile::sync_file() {
  if (new_name_) sync_directory(path_.parent_path());
  new_name_ = false;
  try {
    file_->sync();
  } catch (const Error&) {
    // The system may have dropped what it could not write: all since the last sync is written again.
    if (file_->size() == end_) {
      file_->cut(begin_);
      end_ = begin_;
      written_ = 0;
    }
    throw;
  }
  while (written_ > 0) forget_written();
}

}  // namespace headroom
