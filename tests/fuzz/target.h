// A fuzz target: one parser, driven with bytes from outside. The same targets are programs of libFuzzer
// (tests/fuzz.sh) and, with the seeds kept in tests/fuzz/seeds, tests of the ordinary suite.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace headroom::fuzz {

struct Target {
  std::string name;                // of its source file, its program and its seeds' directory
  std::vector<ExitCode> refusals;  // what an input may be refused with
  // Gives the bytes to the parser and, where it takes them, uses what it returns; HEADROOM_CHECK for what must then
  // hold.
  void (*drive)(std::string_view bytes);
};

// What no bytes may bring about: a refusal with another exit code, a broken check among them.
class Violation : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

// Drives the parser; a refusal is fine. Throws Violation, and lets pass whatever else the parser throws.
void run(const Target& target, std::string_view bytes);

// A target's source file makes itself known: const Registration kRegistered({...});
class Registration {
 public:
  explicit Registration(Target target);
};

// Those of all sources that are part of this program.
const std::vector<Target>& targets();

// Cuts an input for a parser of several texts at lines of "%%"; always `count` parts, later ones empty where there are
// fewer, the last with whatever follows.
std::vector<std::string> text_parts(std::string_view bytes, std::size_t count);

}  // namespace headroom::fuzz
