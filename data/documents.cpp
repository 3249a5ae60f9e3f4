#include "data/documents.h"

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <set>
#include <string_view>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "data/utf8.h"

namespace headroom {
namespace {

constexpr std::size_t kBlockBytes = std::size_t{1} << 18;
// More white space than this in a row counts as content, so that it need not be held back.
constexpr std::size_t kBlankBytes = std::size_t{1} << 16;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

bool blank(std::string_view line) {
  return line.find_first_not_of(" \t\r\f\v") == std::string_view::npos;
}

// One open text file, hashed as it is read.
class FileBlocks {
 public:
  explicit FileBlocks(const std::filesystem::path& path)
      : path_(path), state_(XXH64_createState()), file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (!file_) throw_read_error(path_, errno);
    HEADROOM_CHECK(state_ != nullptr && XXH64_reset(state_.get(), 0) == XXH_OK, "no memory for a hash");
  }

  // Appends the next block to `out`; the number of bytes, 0 at the end of the file.
  std::size_t read(std::string& out) {
    const std::size_t before = out.size();
    out.resize(before + kBlockBytes);
    ssize_t count;
    do {
      count = ::read(file_.get(), out.data() + before, kBlockBytes);
    } while (count < 0 && errno == EINTR);
    if (count < 0) throw_read_error(path_, errno);
    out.resize(before + static_cast<std::size_t>(count));
    XXH64_update(state_.get(), out.data() + before, static_cast<std::size_t>(count));
    return static_cast<std::size_t>(count);
  }

  std::string hash() const { return hex_digits(XXH64_digest(state_.get())); }

 private:
  struct Release {
    void operator()(XXH64_state_t* state) const { XXH64_freeState(state); }
  };

  std::filesystem::path path_;
  std::unique_ptr<XXH64_state_t, Release> state_;
  Descriptor file_;
};

}  // namespace

struct DocumentReader::Implementation {
  std::vector<std::filesystem::path> paths;
  DocumentFormat format;

  std::size_t next_path = 0;
  std::unique_ptr<FileBlocks> blocks;  // the open file
  TextFile file;                       // its facts so far
  std::string raw;                     // read and not yet cut into lines
  std::size_t raw_at = 0;
  std::uint64_t raw_offset = 0;  // where in the file raw[raw_at] lies
  std::uint64_t line_number = 1;
  bool inside_line = false;  // raw[raw_at] continues a line that was cut

  std::string text;         // of the document, not yet handed out
  std::string blank_lines;  // held back: dropped when the document ends here
  bool begun = false;       // the document has text
  bool part_given = false;  // and some of it was handed out
  std::uint64_t documents = 0;

  std::deque<DocumentPart> ready;
  std::uint64_t total_bytes = 0;
  std::vector<TextFile> finished;

  void give_part(bool last) {
    ready.push_back({std::move(text), documents, !part_given, last});
    text.clear();
    part_given = true;
  }

  void end_document() {
    if (begun) {
      give_part(true);
      ++documents;
      ++file.documents;
    }
    begun = part_given = false;
    blank_lines.clear();
    text.clear();
  }

  // A line without its line break, or a piece of one that was too long.
  void take_line(std::string_view line, bool starts_line) {
    const Utf8Repair found = append_line(line, starts_line);
    if (found.replaced > 0) {
      if (file.invalid_utf8 == 0) {
        file.first_invalid_byte = raw_offset + found.first;
        file.first_invalid_line = line_number;
      }
      file.invalid_utf8 += found.replaced;
    }
  }

  Utf8Repair append_line(std::string_view line, bool starts_line) {
    const bool is_blank = blank(line);
    if (!begun && is_blank) return {};  // blank lines before a document's text are no part of it
    if (starts_line && begun) blank_lines += '\n';
    if (is_blank) {
      blank_lines += line;
      if (blank_lines.size() < kBlankBytes) return {};
      line = {};
    }
    const std::size_t expected = text.size() + blank_lines.size() + line.size();
    if (!text.empty() && expected > format.part_bytes) give_part(false);
    text += blank_lines;
    blank_lines.clear();
    begun = true;
    return append_valid_utf8(line, text);
  }

  // Cuts off one line (or piece) of raw; false when raw holds no whole one and the file may have more.
  bool cut_line(bool end_of_file) {
    const std::string_view rest = std::string_view(raw).substr(raw_at);
    if (rest.empty()) return false;
    const std::size_t line_break = rest.find('\n');
    const bool whole = line_break != std::string_view::npos || end_of_file;
    std::size_t length = std::min(line_break, rest.size());
    // A separator is looked for in whole lines only, so they must be long enough to be one.
    const std::size_t longest = std::max(format.line_bytes, format.separator.size() + 1);
    const bool too_long = length > longest;
    if (!whole && !too_long) return false;
    if (too_long) {
      const std::size_t space = rest.substr(0, longest).rfind(' ');
      length = space == std::string_view::npos || space == 0 ? utf8_boundary(rest, longest) : space;
    }
    const std::string_view line = rest.substr(0, length);
    const bool starts_line = !inside_line;
    if (starts_line && !too_long && is_separator(line)) {
      end_document();
    } else {
      take_line(line, starts_line);
    }
    inside_line = too_long;
    std::size_t used = length;
    if (!too_long && line_break != std::string_view::npos) {
      ++used;
      ++line_number;
    }
    raw_at += used;
    raw_offset += used;
    return true;
  }

  bool is_separator(std::string_view line) const {
    if (line.ends_with('\r')) line.remove_suffix(1);
    return !format.separator.empty() && line == format.separator;
  }

  // Reads on until a part is ready; false when there is nothing more.
  bool advance() {
    if (!blocks) {
      if (next_path == paths.size()) return false;
      file = {};
      file.path = paths[next_path++];
      blocks = std::make_unique<FileBlocks>(file.path);
      raw.clear();
      raw_at = 0;
      raw_offset = 0;
      line_number = 1;
      inside_line = false;
    }
    raw.erase(0, raw_at);
    raw_at = 0;
    const bool first_block = file.bytes == 0;
    const std::size_t count = blocks->read(raw);
    file.bytes += count;
    total_bytes += count;
    if (first_block) look_at_start();
    while (cut_line(count == 0)) {
    }
    if (count == 0) {
      end_document();
      file.hash = blocks->hash();
      blocks.reset();
      finished.push_back(file);
    }
    return true;
  }

  void look_at_start() {
    if (std::string_view(raw).substr(0, 4096).find('\0') != std::string_view::npos) {
      throw Error(ExitCode::bad_data, fmt::format("{} is not text: it has zero bytes", file.path.string()),
                  "Give plain UTF-8 text files.");
    }
    if (std::string_view(raw).starts_with(kByteOrderMark)) {
      raw_at = kByteOrderMark.size();
      raw_offset = raw_at;
    }
  }
};

DocumentReader::DocumentReader(std::vector<std::filesystem::path> files, DocumentFormat format)
    : implementation_(std::make_unique<Implementation>()) {
  if (files.empty())
    throw Error(ExitCode::bad_data, "no text files to read", "Name text files or directories of them.");
  HEADROOM_CHECK(format.part_bytes > 0 && format.line_bytes >= 8, "parts of {} bytes, lines of {}", format.part_bytes,
                 format.line_bytes);
  implementation_->paths = std::move(files);
  implementation_->format = std::move(format);
}

DocumentReader::~DocumentReader() = default;

bool DocumentReader::next(DocumentPart& part) {
  while (implementation_->ready.empty()) {
    if (!implementation_->advance()) return false;
  }
  part = std::move(implementation_->ready.front());
  implementation_->ready.pop_front();
  return true;
}

std::uint64_t DocumentReader::bytes_read() const {
  return implementation_->total_bytes;
}
const std::vector<TextFile>& DocumentReader::files() const {
  return implementation_->finished;
}

std::vector<std::filesystem::path> text_files(const std::vector<std::filesystem::path>& paths) {
  namespace fs = std::filesystem;
  std::vector<fs::path> files;
  for (const fs::path& path : paths) {
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    if (!fs::exists(status)) {
      throw Error(ExitCode::bad_data, fmt::format("no such text file or directory: {}", path.string()),
                  "Check the path; launch/prepare_corpus.sh makes the default English text.");
    }
    if (!fs::is_directory(status)) {
      files.push_back(path);
      continue;
    }
    std::vector<fs::path> found;
    for (fs::recursive_directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
      if (entry->is_regular_file() && entry->path().extension() == ".txt") found.push_back(entry->path());
    }
    if (error) throw Error(ExitCode::bad_data, fmt::format("cannot list {}: {}", path.string(), error.message()));
    if (found.empty()) {
      throw Error(ExitCode::bad_data, fmt::format("no *.txt file under {}", path.string()),
                  "Text files in a directory are found by their ending .txt; others can be named one by one.");
    }
    std::sort(found.begin(), found.end());
    files.insert(files.end(), found.begin(), found.end());
  }
  std::set<fs::path> seen;
  for (const fs::path& file : files) {
    if (!seen.insert(fs::weakly_canonical(file)).second) {
      throw Error(ExitCode::bad_data, fmt::format("{} is named twice", file.string()));
    }
  }
  return files;
}

}  // namespace headroom
