#include "trainer/step_record.h"

namespace headroom {

nlohmann::ordered_json to_json(const StepRecord& record) {
  nlohmann::ordered_json json = {
      {"step", record.step},
      {"epoch", record.epoch},
      {"tokens", record.tokens},
      {"loss", record.outcome.loss.mean()},
      {"grad_norm", record.outcome.grad_norm},
      {"clipped", record.outcome.clipped},
      {"lr", record.lr},
      {"step_seconds", record.seconds},
      {"tokens_per_second", static_cast<double>(record.step_tokens) / record.seconds},
      {"memory_bytes", record.memory_bytes},
      {"batch_crc", fmt::format("{:08x}", record.batch_crc)},
      {"comm", {{"data_bytes", record.data_bytes}, {"tensor_bytes", record.tensor_bytes}, {"seconds", record.waited}}},
  };
  if (record.mfu) json["mfu"] = *record.mfu;
  if (record.outcome.tvr) {
    json["tvr"] = {{"rescaled", record.outcome.tvr->rescaled},
                   {"matrices", record.outcome.tvr->matrices},
                   {"max_ratio", record.outcome.tvr->max_ratio},
                   {"mean_std", record.outcome.tvr->mean_std}};
  }
  if (!record.outcome.kv_bias_mass.empty()) json["kv_bias_mass"] = record.outcome.kv_bias_mass;
  if (!record.dyt_alphas.empty()) {
    nlohmann::ordered_json layers = nlohmann::ordered_json::array();
    for (std::size_t index = 0; index + 1 < record.dyt_alphas.size(); index += 2) {
      layers.push_back({record.dyt_alphas[index], record.dyt_alphas[index + 1]});
    }
    json["dyt_alpha"] = layers;
    json["dyt_alpha_final"] = record.dyt_alphas.back();
  }
  return json;
}

}  // namespace headroom
