// Texts to tokens as lm-evaluation-harness encodes them for a causal model of Hugging Face (its
// `TemplateLM._encode_pair` and `HFLM.tok_encode`, version 0.4), so that the same tokens are scored.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer.h"

namespace headroom::evaluation {

// What goes around a text: what the model's convention puts (data/tokenizer.h), BOS before every text, or nothing.
enum class SpecialTokens : std::uint8_t { convention, bos, none };
std::string_view name_of(SpecialTokens special);

class TextEncoding {
 public:
  // The tokenizer must outlive it. Throws ExitCode::bad_data for SpecialTokens::bos without a BOS.
  TextEncoding(const Tokenizer& tokenizer, SpecialTokens special);

  // A text that begins with the text of BOS ("<s>Once") gets nothing around it.
  std::vector<std::int32_t> encode(std::string_view text) const { return marked(text).ids; }

  // The same, with how many ids at either end are no text's.
  struct Marked {
    std::vector<std::int32_t> ids;
    std::size_t before = 0;
    std::size_t after = 0;
  };
  Marked marked(std::string_view text) const;

  struct Pair {
    std::vector<std::int32_t> context;
    std::vector<std::int32_t> continuation;
  };
  // White space at the end of the context goes to the continuation; both are encoded together, then the context alone,
  // and what the whole has beyond the context's number of tokens is the continuation. Before a continuation without
  // context stands BOS, or EOS where there is no BOS. Either part may come out empty; then it cannot be scored.
  Pair encode(std::string_view context, std::string_view continuation) const;

  const Tokenizer& tokenizer() const { return tokenizer_; }
  SpecialTokens special() const { return special_; }
  // The special tokens that a text begins with.
  std::vector<std::int32_t> before() const;
  // What stands before a text that has nothing before it: BOS, failing that EOS.
  std::optional<std::int32_t> prefix() const { return prefix_; }

 private:
  const Tokenizer& tokenizer_;
  SpecialTokens special_;
  std::optional<std::int32_t> prefix_;
  std::string prefix_text_;
};

// Where the white space begins at the end of a text, as Python's str.rstrip() sees it.
std::size_t trailing_space(std::string_view text);

// Characters (Unicode code points) of valid UTF-8.
std::int64_t characters(std::string_view text);

}  // namespace headroom::evaluation
