#include "analysis/evaluation/perplexity.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "data/documents.h"

namespace headroom::evaluation {
namespace {

struct Stream {
  std::vector<std::int32_t> ids;
  std::vector<std::int64_t> special;  // places of ids that are no text, rising
  std::int64_t documents = 0;
  std::int64_t text_bytes = 0;

  std::int64_t special_in(std::int64_t begin, std::int64_t end) const {
    return std::lower_bound(special.begin(), special.end(), end) -
           std::lower_bound(special.begin(), special.end(), begin);
  }
};

Stream one_text(const std::filesystem::path& file, const TextEncoding& encoding) {
  const std::string text = read_file(file);
  Stream stream;
  stream.documents = 1;
  stream.text_bytes = static_cast<std::int64_t>(text.size());
  TextEncoding::Marked marked = encoding.marked(text);
  stream.ids = std::move(marked.ids);
  const std::size_t after = stream.ids.size() - marked.after;
  for (std::size_t i = 0; i < marked.before; ++i) stream.special.push_back(static_cast<std::int64_t>(i));
  for (std::size_t i = after; i < stream.ids.size(); ++i) stream.special.push_back(static_cast<std::int64_t>(i));
  return stream;
}

Stream packed_documents(const std::filesystem::path& file, const TextEncoding& encoding) {
  const Tokenizer& tokenizer = encoding.tokenizer();
  const bool begin_with_bos = encoding.special() == SpecialTokens::bos ||
                              (encoding.special() == SpecialTokens::convention && tokenizer.has_bos());
  DocumentReader reader({file}, {});
  DocumentPart part;
  std::string text;
  Stream stream;
  while (reader.next(part)) {
    text += part.text;
    if (!part.last) continue;
    if (begin_with_bos) {
      stream.special.push_back(static_cast<std::int64_t>(stream.ids.size()));
      stream.ids.push_back(tokenizer.bos());
    }
    const std::vector<std::int32_t> ids = tokenizer.encode(text);
    stream.ids.insert(stream.ids.end(), ids.begin(), ids.end());
    stream.text_bytes += static_cast<std::int64_t>(text.size());
    ++stream.documents;
    text.clear();
  }
  return stream;
}

}  // namespace

std::vector<Window> windows_of(std::int64_t count, const PerplexityOptions& options) {
  const bool packed = options.kind == PerplexityKind::packed;
  HEADROOM_CHECK(options.window >= (packed ? 1 : 2), "windows of {} tokens", options.window);
  HEADROOM_CHECK(packed || (options.stride >= 1 && options.stride <= options.window), "a stride of {}", options.stride);
  std::vector<Window> windows;
  const std::int64_t step = packed ? options.window : options.stride;
  const std::int64_t length = packed ? options.window + 1 : options.window;
  for (std::int64_t begin = 0, scored = 0; scored < count; begin += step) {
    const std::int64_t end = std::min(begin + length, count);
    const Window window{begin, end, std::max(begin + 1, scored)};
    scored = end;
    if (window.first_scored < end) windows.push_back(window);
  }
  if (options.limit > 0 && std::cmp_greater(windows.size(), options.limit)) {
    windows.resize(static_cast<std::size_t>(options.limit));
  }
  return windows;
}

PerplexityResult perplexity(const std::filesystem::path& file, const TextEncoding& encoding,
                            const PerplexityOptions& options, Scorer& scorer, const Scorer::Advance& advance) {
  const Stream stream =
      options.kind == PerplexityKind::packed ? packed_documents(file, encoding) : one_text(file, encoding);
  const auto count = static_cast<std::int64_t>(stream.ids.size());
  const std::vector<Window> windows = windows_of(count, options);
  if (windows.empty()) {
    throw Error(ExitCode::bad_data, fmt::format("{} has {} tokens: too few to score one", file.string(), count),
                "A token is scored by those before it.");
  }
  std::vector<Passage> passages;
  PerplexityResult result;
  std::int64_t scored_text = 0;
  for (const Window& window : windows) {
    passages.push_back({{stream.ids.begin() + window.begin, stream.ids.begin() + window.end},
                        static_cast<std::size_t>(window.first_scored - window.begin)});
    scored_text += window.end - window.first_scored - stream.special_in(window.first_scored, window.end);
  }
  result.windows = static_cast<std::int64_t>(windows.size());
  result.documents = stream.documents;
  result.tokens = count;
  result.text_bytes = stream.text_bytes;
  const std::int64_t text_tokens = count - static_cast<std::int64_t>(stream.special.size());
  result.scored_bytes =
      static_cast<double>(stream.text_bytes) * static_cast<double>(scored_text) / static_cast<double>(text_tokens);
  // Windows come in an order of the scorer's own; their sums are added in the text's.
  std::vector<double> sums(windows.size(), 0.0);
  scorer.score(
      passages,
      [&](std::size_t window, std::span<const TokenScore> scores) {
        for (const TokenScore& score : scores) sums[window] -= score.log_prob;
        result.scored += static_cast<std::int64_t>(scores.size());
      },
      advance);
  for (const double sum : sums) result.nll += sum;
  return result;
}

}  // namespace headroom::evaluation
