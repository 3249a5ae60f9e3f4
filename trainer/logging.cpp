#include "trainer/logging.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/log/core.hpp>
#include <boost/log/expressions.hpp>
#include <boost/log/sinks/basic_sink_backend.hpp>
#include <boost/log/sinks/sync_frontend.hpp>
#include <boost/log/sources/record_ostream.hpp>
#include <boost/log/sources/severity_logger.hpp>
#include <cstdio>

#include "base/error.h"
#include "base/patient_file.h"
#include "base/system.h"

namespace headroom {
namespace {

namespace blog = boost::log;
namespace sinks = boost::log::sinks;
namespace expressions = boost::log::expressions;

constexpr std::array<std::string_view, 5> kNames = {"trace", "debug", "info", "warning", "error"};

// Boost.Log has a default sink of its own, which would print when none of ours is there.
std::atomic<bool> active = false;

Severity severity_of(const std::string& level) {
  const auto found = std::find(kNames.begin(), kNames.end(), level);
  if (found == kNames.end()) {
    throw Error(ExitCode::bad_config, fmt::format("log.level: \"{}\" is no level", level),
                "One of trace, debug, info, warning, error.");
  }
  return static_cast<Severity>(found - kNames.begin());
}

// Where a message's every line begins.
std::string head(Severity severity, int rank) {
  return fmt::format("{} [{}] {} ", local_time(), rank, kNames[static_cast<std::size_t>(severity)]);
}

void show(const std::string& text) {
  // A progress line may be open on a terminal: the message takes its place.
  if (::isatty(STDERR_FILENO) != 0) std::fputs("\r\033[K", stderr);
  std::fputs((text + "\n").c_str(), stderr);
}

// Where formatted messages end. Boost's own file backends overlook a full disk.
class ConsoleBackend : public sinks::basic_formatted_sink_backend<char, sinks::synchronized_feeding> {
 public:
  void consume(const blog::record_view& /*record*/, const std::string& text) { show(text); }
};

class FileBackend : public sinks::basic_formatted_sink_backend<char, sinks::synchronized_feeding> {
 public:
  FileBackend(const std::filesystem::path& path, int rank) : file_(path), rank_(rank) {}
  ~FileBackend() {
    file_.retry();
    tell();
    if (const auto trouble = file_.trouble()) show(head(Severity::warning, rank_) + "the log ends early: " + *trouble);
  }
  FileBackend(const FileBackend&) = delete;
  FileBackend& operator=(const FileBackend&) = delete;

  void consume(const blog::record_view& /*record*/, const std::string& text) {
    file_.append(text + "\n");
    tell();
  }

 private:
  // On the console, once when trouble begins and once when it is over.
  void tell() {
    const auto trouble = file_.trouble();
    if (trouble.has_value() == in_trouble_) return;
    in_trouble_ = trouble.has_value();
    show(in_trouble_ ? fmt::format("{}the log cannot be written for now: {}", head(Severity::warning, rank_), *trouble)
                     : fmt::format("{}'{}' is written again and has everything", head(Severity::info, rank_),
                                   file_.path().string()));
  }

  PatientFile file_;
  int rank_;
  bool in_trouble_ = false;
};

template <class Backend>
void add_sink(const boost::shared_ptr<Backend>& backend, Severity least, int rank) {
  auto sink = boost::make_shared<sinks::synchronous_sink<Backend>>(backend);
  sink->set_filter(expressions::attr<Severity>("Severity") >= least);
  sink->set_formatter([rank](const blog::record_view& record, blog::formatting_ostream& stream) {
    const auto severity = blog::extract_or_throw<Severity>("Severity", record);
    const std::string line_head = head(severity, rank);
    const std::string text = record[expressions::smessage].get();
    for (std::size_t begin = 0; begin <= text.size();) {
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      if (begin > 0) stream << '\n';
      stream << line_head << text.substr(begin, end - begin);
      begin = end + 1;
    }
  });
  blog::core::get()->add_sink(sink);
}

}  // namespace

Logging::Logging(int rank, const std::string& level, const std::filesystem::path& directory) {
  const Severity least = severity_of(level);
  // The file may fail to open: before anything is registered.
  boost::shared_ptr<FileBackend> file;
  if (!directory.empty()) file = boost::make_shared<FileBackend>(directory / fmt::format("rank-{:05}.log", rank), rank);
  HEADROOM_CHECK(!active, "logging begun twice");
  add_sink(boost::make_shared<ConsoleBackend>(), rank == 0 ? least : std::max(least, Severity::warning), rank);
  if (file) add_sink(file, least, rank);
  active = true;
}

Logging::~Logging() {
  active = false;
  blog::core::get()->remove_all_sinks();
}

void log_message(Severity severity, std::string_view text) {
  static blog::sources::severity_logger_mt<Severity> logger;
  if (!active) return;
  // A trailing line end adds nothing but an empty line.
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  BOOST_LOG_SEV(logger, severity) << text;
}

}  // namespace headroom
