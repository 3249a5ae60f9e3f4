#include "tests/launch/program.h"

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "tests/data/support.h"

namespace headroom::test {

Outcome shell(const std::string& command) {
  std::FILE* pipe = ::popen(("{ " + command + "\n} 2>&1").c_str(), "r");
  if (pipe == nullptr) return {-1, "popen failed"};
  Outcome outcome{0, ""};
  std::array<char, 4096> buffer{};
  for (std::size_t count = 0; (count = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
    outcome.output.append(buffer.data(), count);
  }
  const int status = ::pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

Outcome headroom(const std::string& arguments) {
  return shell(std::string(HEADROOM_BINARY) + " " + arguments);
}

Outcome headroom_ranks(int ranks, const std::string& arguments) {
  return shell(std::string(HEADROOM_MPIRUN) + " " + std::to_string(ranks) + " " + HEADROOM_BINARY + " " + arguments);
}

Workspace::Workspace() {
  std::string text;
  for (unsigned document = 0; document < 60; ++document) text += prose(20, document + 1) + "<|endoftext|>\n";
  const auto corpus = scratch_.file("text.txt", text);
  const Outcome made = headroom("tokenize " + corpus.string() + " --out " + (scratch_ / "corpus").string() +
                                " --vocab-size 320 --held-out 0.1 -j 1");
  if (made.status != 0) throw std::runtime_error("no corpus: " + made.output);
}

std::string Workspace::config(const std::string& name, const std::string& more) const {
  const std::string common =
      "name = \"" + name + "\"\nruns_dir = \"" + (scratch_ / "runs").string() +
      "\"\n"
      "model.hidden_size = 32\nmodel.n_layers = 3\nmodel.n_heads = 4\nmodel.ffn_size = 48\n"
      "model.seq_len = 16\noptim.lr = 1e-2\noptim.schedule.warmup_steps = 2\n"
      "train.steps = 8\ntrain.global_batch = 8\nsnapshot.calibration_sequences = 2\n"
      "snapshot.calibration_tokens = 16\nsnapshot.sentences = [\"the old river\"]\neval.windows = 4\n"
      "data.corpus = \"" +
      (scratch_ / "corpus").string() + "\"\n";
  scratch_.file(name + "-common.toml", common);
  return scratch_.file(name + ".toml", "include = \"" + name + "-common.toml\"\n" + more).string();
}

int steps_in(const std::filesystem::path& run) {
  std::ifstream metrics(run / "metrics.jsonl");
  int steps = 0;
  for (std::string line; std::getline(metrics, line);) steps += line.starts_with("{\"step\"") ? 1 : 0;
  return steps;
}

std::vector<std::string> results_of(const std::filesystem::path& run) {
  std::vector<std::string> results;
  std::ifstream metrics(run / "metrics.jsonl");
  for (std::string line; std::getline(metrics, line);) {
    auto record = nlohmann::ordered_json::parse(line);
    if (!record.contains("step") && !record.contains("before_step")) continue;
    for (const char* key : {"step_seconds", "tokens_per_second", "memory_bytes", "mfu", "checkpoint", "stragglers"}) {
      record.erase(key);
    }
    for (const char* part : {"comm", "eval", "snapshot"}) {
      if (record.contains(part)) record[part].erase("seconds");
    }
    results.push_back(record.dump());
  }
  return results;
}

Outcome compare_checkpoints(const std::filesystem::path& run, const std::filesystem::path& other,
                            const std::string& options) {
  return headroom("inspect " + run.string() + " --against " + other.string() + " " + options);
}

}  // namespace headroom::test
