// The file forms a token file may have, each recognised, checked against the file's size, and reduced to one layout.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/mapped_file.h"

namespace headroom {

enum class TokenType { u8, i8, u16, i16, i32, u32, i64 };

std::size_t size_of(TokenType type);

// Where the tokens lie in a mapped file. Everything in it has been checked: no read through it leaves the file.
struct TokenLayout {
  std::string form;        // for messages: "Headroom", "llm.c", "nanoGPT", "Megatron-LM"
  MappedFile file;         // the one with the tokens
  std::size_t offset = 0;  // of the first token, in bytes
  TokenType type = TokenType::u16;
  std::uint64_t count = 0;                   // tokens, at least 1
  std::span<const std::uint64_t> documents;  // first token of each; in `file` or in `document_storage`
  std::vector<std::uint64_t> document_storage;
  std::int64_t vocab_size = 0;        // 0: not said
  std::string tokenizer_fingerprint;  // empty: not said
};

// Recognises and checks `path`. Throws ExitCode::bad_data naming the file and what is wrong.
TokenLayout open_token_layout(const std::filesystem::path& path);

// Megatron-LM's pair, given the index (X.idx) beside its tokens (X.bin).
TokenLayout open_megatron(const std::filesystem::path& index);

// Throws ExitCode::bad_data: "PATH: WHAT".
[[noreturn]] void fail_token_file(const std::filesystem::path& path, const std::string& what,
                                  const std::string& hint = {});

}  // namespace headroom
