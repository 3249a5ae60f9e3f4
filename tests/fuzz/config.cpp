// Configs: a TOML text, --set overrides (one a line) and the text of base.toml, which the first may include.
#include <optional>

#include "tests/fuzz/target.h"
#include "tests/scratch.h"
#include "trainer/config_schema.h"
#include "trainer/config_table.h"

namespace headroom::fuzz {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

// What a run writes into its directory must be what it can be resumed with.
void check_round_trip(const RunConfig& config) {
  const std::string text = to_toml(config);
  std::optional<RunConfig> again;
  try {
    again = parse_config(text, "to_toml", {});
  } catch (const Error& error) {
    HEADROOM_CHECK(false, "to_toml wrote what is refused, {}:\n{}", error.what(), text);
  }
  for (const ConfigKey& key : config_keys()) {
    HEADROOM_CHECK(key.get(*again) == key.get(config), "{} came back as {}, not {}", key.name,
                   to_toml_literal(key.get(*again)), to_toml_literal(key.get(config)));
  }
  HEADROOM_CHECK(fingerprint(*again) == fingerprint(config) && computing_differences(*again, config).empty(),
                 "another fingerprint of the same config:\n{}", text);
}

void drive(std::string_view bytes) {
  static const test::Scratch scratch;
  const std::vector<std::string> parts = text_parts(bytes, 3);
  scratch.file("base.toml", parts[2]);
  check_round_trip(parse_config(parts[0], (scratch / "run.toml").string(), lines_of(parts[1])));
}

const Registration kRegistered({"config", {ExitCode::bad_config}, drive});

}  // namespace
}  // namespace headroom::fuzz
