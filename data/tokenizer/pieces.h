// A text on its way through a tokenizer: cut into pieces, some of which are already tokens.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace headroom {

constexpr std::int32_t kNoToken = -1;

struct Piece {
  std::string_view text;
  std::int32_t token = kNoToken;  // of an added token, which nothing cuts further
  bool at_start = false;          // begins where the original text does
  bool continues = false;         // goes on a text before it: no word boundary is put in front
};

// Memory for texts that steps write; lasts until it is cleared.
class TextArena {
 public:
  // Room for `bytes`, of which a later call of `give_back` may return the unused end.
  char* take(std::size_t bytes) {
    if (bytes > size_ - used_) grow(bytes);
    char* const begin = block_.get() + used_;
    used_ += bytes;
    return begin;
  }
  // Of what the last call of `take` gave.
  void give_back(std::size_t bytes) { used_ -= bytes; }

  std::string_view keep(std::string_view text) {
    if (text.empty()) return {};
    char* const begin = take(text.size());
    std::memcpy(begin, text.data(), text.size());
    return {begin, text.size()};
  }

  // Keeps the largest block.
  void clear() {
    full_.clear();
    used_ = 0;
  }

 private:
  void grow(std::size_t bytes) {
    if (block_ != nullptr) full_.push_back(std::move(block_));
    size_ = bytes > size_ ? bytes * 2 : size_ * 2;
    block_ = std::make_unique_for_overwrite<char[]>(size_);
    used_ = 0;
  }

  std::vector<std::unique_ptr<char[]>> full_;
  std::unique_ptr<char[]> block_;
  std::size_t size_ = 0;
  std::size_t used_ = 0;
};

// The pieces of one text, in order, with memory for what a step writes and for the stretches that it finds.
struct Pieces {
  std::vector<Piece> list;
  std::vector<Piece> next;  // what a step makes of `list`; swapped at its end
  TextArena arena;

  void begin(std::string_view text, bool continues) {
    arena.clear();
    list.assign(1, {text, kNoToken, !continues, continues});
  }

  // Gives every piece that is no token to `make`, which appends to `next` what becomes of it. Empty ones are dropped.
  template <typename Make>
  void rewrite(const Make& make) {
    next.clear();
    for (const Piece& piece : list) {
      if (piece.token != kNoToken) {
        next.push_back(piece);
      } else if (!piece.text.empty()) {
        make(piece);
      }
    }
    list.swap(next);
  }

  // Appends text[begin, end) of a piece to `next`, unless it is empty.
  void add_part(const Piece& piece, std::size_t begin, std::size_t end) {
    if (begin == end) return;
    next.push_back(
        {piece.text.substr(begin, end - begin), kNoToken, piece.at_start && begin == 0, piece.continues && begin == 0});
  }
};

}  // namespace headroom
