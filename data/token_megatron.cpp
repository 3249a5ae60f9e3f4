// Megatron-LM's pair of files (its core/datasets/indexed_dataset.py). The index, packed and little-endian:
//   9 bytes "MMIDIDX\0\0", u64 version 1, u8 type code, u64 sequences S, u64 entries D of the document index,
//   i32 x S sequence lengths, i64 x S byte offsets of the sequences, i64 x D: the documents' first sequences and, last,
//   S.
// (A byte a sequence may follow in multimodal sets; those are refused.) The tokens lie without gaps in the .bin file.
#include <optional>
#include <utility>

#include "base/error.h"
#include "data/token_forms.h"

namespace headroom {
namespace {

constexpr std::string_view kIndexMagic{"MMIDIDX\0\0", 9};
constexpr std::size_t kHeaderBytes = 34;
constexpr const char* kDamagedHint = "The pair is damaged or the two files do not belong together: make it again.";

std::optional<TokenType> token_type(std::uint8_t code) {
  switch (code) {
    case 1:
      return TokenType::u8;
    case 2:
      return TokenType::i8;
    case 3:
      return TokenType::i16;
    case 4:
      return TokenType::i32;
    case 5:
      return TokenType::i64;
    case 8:
      return TokenType::u16;
    default:
      return std::nullopt;
  }
}

}  // namespace

TokenLayout open_megatron(const std::filesystem::path& index_path) {
  const MappedFile index(index_path);
  std::filesystem::path tokens_path = index_path;
  tokens_path.replace_extension(".bin");

  const auto magic_bytes = index.bytes().first(std::min(index.size(), kIndexMagic.size()));
  if (std::string_view(reinterpret_cast<const char*>(magic_bytes.data()), magic_bytes.size()) != kIndexMagic) {
    fail_token_file(index_path, "it does not begin with MMIDIDX, as a Megatron-LM index must",
                    "If the .bin file beside it is not Megatron-LM's, move one of the two elsewhere.");
  }
  if (index.size() < kHeaderBytes) {
    fail_token_file(index_path, fmt::format("{} bytes are less than the header of {}", index.size(), kHeaderBytes),
                    kDamagedHint);
  }
  const auto version = index.load<std::uint64_t>(9);
  if (version != 1) fail_token_file(index_path, fmt::format("version {} is unknown (1 is read)", version));
  const auto code = index.load<std::uint8_t>(17);
  const std::optional<TokenType> type = token_type(code);
  if (!type) {
    fail_token_file(index_path, fmt::format("type code {} is no integer type (1, 2, 3, 4, 5 and 8 are)", code));
  }
  const auto sequences = index.load<std::uint64_t>(18);
  const auto entries = index.load<std::uint64_t>(26);
  const std::uint64_t body = index.size() - kHeaderBytes;
  // First without multiplying, so that no count can overflow.
  if (sequences > body / 12 || entries > body / 8 || sequences * 12 + entries * 8 != body) {
    const bool multimodal =
        sequences <= body / 13 && entries <= body / 8 && sequences * 13 + entries * 8 == body && sequences > 0;
    fail_token_file(index_path,
                    multimodal ? "this is a multimodal set, which is not read"
                               : fmt::format("its header tells of {} sequences and {} document entries, which {} bytes "
                                             "do not hold exactly",
                                             sequences, entries, index.size()),
                    multimodal ? "" : kDamagedHint);
  }
  if (sequences == 0) fail_token_file(index_path, "it holds no sequences");

  TokenLayout layout;
  layout.form = "Megatron-LM";
  layout.type = *type;
  layout.file = MappedFile(tokens_path);
  const std::uint64_t width = size_of(*type);
  const std::size_t lengths_at = kHeaderBytes;
  const std::size_t pointers_at = lengths_at + sequences * 4;
  const std::size_t documents_at = pointers_at + sequences * 8;

  // One walk over the sequences, picking up the documents' first tokens on the way.
  std::uint64_t entry = 0;
  const auto take_documents = [&](std::uint64_t sequence) {
    while (entry < entries) {
      const auto first = index.load<std::int64_t>(documents_at + entry * 8);
      if (first < 0 || static_cast<std::uint64_t>(first) > sequences || static_cast<std::uint64_t>(first) < sequence) {
        fail_token_file(index_path,
                        fmt::format("entry {} of the document index is sequence {}, out of order or beyond the {} "
                                    "sequences",
                                    entry, first, sequences),
                        kDamagedHint);
      }
      if (static_cast<std::uint64_t>(first) != sequence) return;
      // The last entry closes the last document; a document without tokens is none.
      const bool begins = sequence < sequences;
      const bool repeated = !layout.document_storage.empty() && layout.document_storage.back() == layout.count;
      if (begins && !repeated) layout.document_storage.push_back(layout.count);
      ++entry;
    }
  };
  for (std::uint64_t sequence = 0; sequence < sequences; ++sequence) {
    take_documents(sequence);
    const auto length = index.load<std::int32_t>(lengths_at + sequence * 4);
    const auto pointer = index.load<std::int64_t>(pointers_at + sequence * 8);
    if (length < 0) {
      fail_token_file(index_path, fmt::format("sequence {} has a length of {}", sequence, length), kDamagedHint);
    }
    if (pointer < 0 || static_cast<std::uint64_t>(pointer) != layout.count * width) {
      fail_token_file(index_path,
                      fmt::format("sequence {} begins at byte {}, but the sequences before it end at {}", sequence,
                                  pointer, layout.count * width),
                      "Only sets whose sequences follow each other without gaps are read.");
    }
    layout.count += static_cast<std::uint64_t>(length);
    if (layout.count > layout.file.size() / width) {
      fail_token_file(tokens_path,
                      fmt::format("its {} bytes end before sequence {} of {} does", layout.file.size(), sequence,
                                  index_path.filename().string()),
                      kDamagedHint);
    }
  }
  take_documents(sequences);
  if (entry != entries) fail_token_file(index_path, "its document index goes on after the last sequence", kDamagedHint);
  if (layout.count * width != layout.file.size()) {
    fail_token_file(tokens_path,
                    fmt::format("it has {} bytes, but the sequences of {} take {}", layout.file.size(),
                                index_path.filename().string(), layout.count * width),
                    kDamagedHint);
  }
  if (layout.count == 0) fail_token_file(tokens_path, "it holds no tokens");
  while (!layout.document_storage.empty() && layout.document_storage.back() >= layout.count) {
    layout.document_storage.pop_back();  // empty documents at the end
  }
  layout.documents = layout.document_storage;
  return layout;
}

}  // namespace headroom
