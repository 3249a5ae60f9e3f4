// Checks that involve several keys.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "trainer/config_table.h"

namespace headroom {
namespace {

using Origin = std::function<std::string(const std::string& key)>;

// A key as messages show it: "optim.lr = 0.001 (a.toml:3:6)".
std::string shown(const RunConfig& config, const std::string& name, const Origin& origin) {
  const ConfigKey* key = find_config_key(name);
  HEADROOM_CHECK(key != nullptr, "no key {}", name);
  return fmt::format("{} = {} ({})", name, to_toml_literal(key->get(config)), origin(name));
}

void check_name(const RunConfig& config, const Origin& origin) {
  const std::string& name = config.name;
  const bool plain = !name.empty() && name.front() != '.' && name.front() != '-' &&
                     std::all_of(name.begin(), name.end(), [](unsigned char c) {
                       return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' || c == '+';
                     });
  if (!plain) {
    throw Error(ExitCode::bad_config, fmt::format("{} cannot name a directory", shown(config, "name", origin)),
                "Use letters, digits and - _ . + only; runs_dir says where the directory lies.");
  }
}

void check_batch(const RunConfig& config, const Origin& origin) {
  const std::int64_t share = std::max<std::int64_t>(1, config.train.micro_batch);
  const std::int64_t ranks = std::max(1, config.parallel.data);
  if (config.train.global_batch % (share * ranks) == 0) return;
  std::string message = shown(config, "train.global_batch", origin) + " does not divide by ";
  if (config.train.micro_batch > 0) message += shown(config, "train.micro_batch", origin);
  if (config.train.micro_batch > 0 && config.parallel.data > 0) message += " times ";
  if (config.parallel.data > 0) message += shown(config, "parallel.data", origin);
  throw Error(ExitCode::bad_config, message, fmt::format("Set train.global_batch to a multiple of {}.", share * ranks));
}

}  // namespace

void check_across_keys(const RunConfig& config, const Origin& origin) {
  check_name(config, origin);
  if (config.optim.min_lr > config.optim.lr) {
    throw Error(
        ExitCode::bad_config,
        fmt::format("{} is larger than {}", shown(config, "optim.min_lr", origin), shown(config, "optim.lr", origin)),
        "The schedule decays from optim.lr to optim.min_lr.");
  }
  check_batch(config, origin);
  // The default gives way to a shorter context; a number that somebody wrote does not.
  if (origin("snapshot.calibration_tokens") != kDefaultOrigin &&
      config.snapshot.calibration_tokens > config.model.seq_len) {
    throw Error(ExitCode::bad_config,
                fmt::format("{} is larger than {}", shown(config, "snapshot.calibration_tokens", origin),
                            shown(config, "model.seq_len", origin)),
                "A calibration sequence cannot be longer than the model's context.");
  }
}

}  // namespace headroom
