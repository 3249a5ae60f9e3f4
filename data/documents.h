// Text files as a stream of documents, in pieces of bounded size, so that neither a large file nor a large document
// has to fit into memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace headroom {

struct DocumentFormat {
  std::string separator = "<|endoftext|>";        // a line holding only this ends a document; so does the end of a file
  std::size_t part_bytes = std::size_t{1} << 16;  // parts end at the last line break before this many bytes
  std::size_t line_bytes = std::size_t{1} << 16;  // a longer line is cut, at a space or failing that between characters
};

// A piece of a document. The concatenation of a document's parts is its text: valid UTF-8, without the blank lines that
// open and close it. A part after the first begins with the line break it was cut at, except within a line that was
// cut.
struct DocumentPart {
  std::string text;
  std::uint64_t document = 0;  // ordinal over all files
  bool first = false;
  bool last = false;
};

// What reading a file showed.
struct TextFile {
  std::filesystem::path path;
  std::uint64_t bytes = 0;
  std::string hash;  // xxHash64 of the raw bytes, 16 hex digits
  std::uint64_t documents = 0;
  std::uint64_t invalid_utf8 = 0;        // invalid parts, each replaced by U+FFFD
  std::uint64_t first_invalid_byte = 0;  // offset in the file of the first of them
  std::uint64_t first_invalid_line = 0;  // its line, from 1
};

// Reads the files in the order given. Documents of nothing but white space are left out.
class DocumentReader {
 public:
  // Throws ExitCode::bad_data for no files.
  DocumentReader(std::vector<std::filesystem::path> files, DocumentFormat format);
  ~DocumentReader();

  // The next part, or false at the end. Throws ExitCode::bad_data naming the file for one that cannot be read or
  // holds no text (zero bytes in its first kilobytes).
  bool next(DocumentPart& part);

  std::uint64_t bytes_read() const;            // raw bytes of all files so far
  const std::vector<TextFile>& files() const;  // those read to their end

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

// Files as given, and for a directory every *.txt below it, sorted by path. Throws ExitCode::bad_data for a path
// that does not exist, for a directory without one, and for a file named twice.
std::vector<std::filesystem::path> text_files(const std::vector<std::filesystem::path>& paths);

}  // namespace headroom
