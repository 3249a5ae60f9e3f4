#include "trainer/training_state.h"

#include <algorithm>

#include "base/error.h"

namespace headroom {

std::uint64_t TrainingState::next_sample() const {
  std::uint64_t next = samples;
  // Ranges may touch: behind one another may begin.
  for (bool moved = true; moved;) {
    moved = false;
    for (const SampleRange& range : left_out) {
      if (next < range.first || next >= range.first + range.count) continue;
      next = range.first + range.count;
      moved = true;
    }
  }
  return next;
}

void TrainingState::took(std::uint64_t count, std::int64_t tokens_of_step) {
  samples = next_sample() + count;
  ++step;
  tokens += tokens_of_step;
}

nlohmann::ordered_json TrainingState::to_json() const {
  nlohmann::ordered_json ranges = nlohmann::ordered_json::array();
  for (const SampleRange& range : left_out) {
    if (range.first + range.count > samples) ranges.push_back({range.first, range.count});
  }
  nlohmann::ordered_json json = {{"samples", samples},
                                 {"left_out", std::move(ranges)},
                                 {"rollbacks", rollbacks},
                                 {"rolled_back_to", rolled_back_to},
                                 {"metrics", {{"bytes", metrics.bytes}, {"hash", metrics.hash}}},
                                 {"history", history.to_json()}};
  if (unfinished) json["unfinished"] = *unfinished;
  return json;
}

void TrainingState::from_json(const nlohmann::ordered_json& json) {
  try {
    samples = json.at("samples").get<std::uint64_t>();
    left_out.clear();
    for (const auto& row : json.at("left_out")) left_out.push_back({row.at(0), row.at(1)});
    rollbacks = json.at("rollbacks").get<std::int64_t>();
    rolled_back_to = json.at("rolled_back_to").get<std::int64_t>();
    metrics = {json.at("metrics").at("bytes").get<std::uint64_t>(), json.at("metrics").at("hash").get<std::string>()};
    history.from_json(json.at("history"));
    unfinished.reset();
    if (json.contains("unfinished")) unfinished = json.at("unfinished");
  } catch (const nlohmann::ordered_json::exception& error) {
    throw Error(ExitCode::bad_checkpoint, fmt::format("the checkpoint's training state: {}", error.what()),
                "Use the program that wrote it.");
  }
}

}  // namespace headroom
