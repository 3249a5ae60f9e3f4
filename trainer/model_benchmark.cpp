#include "trainer/model_benchmark.h"

#include <vector>

#include "analysis/study/layers.h"
#include "analysis/study/losses.h"
#include "base/random.h"
#include "base/stopwatch.h"
#include "tensor/cpu/product_log.h"
#include "trainer/median.h"

namespace headroom {
namespace {

std::vector<decoder::Sequence> random_sequences(const ModelBenchmarkSize& size, std::int64_t vocab) {
  std::vector<decoder::Sequence> sequences(static_cast<std::size_t>(size.sequences));
  const RandomStream stream(1, "benchmark tokens");
  std::uint64_t drawn = 0;
  for (decoder::Sequence& ids : sequences) {
    for (std::int64_t token = 0; token < size.tokens; ++token) {
      ids.push_back(static_cast<std::int32_t>(stream.bits(drawn++)[0] % static_cast<std::uint64_t>(vocab)));
    }
  }
  return sequences;
}

double forward(decoder::Decoder& model, const std::vector<decoder::Sequence>& sequences, bool watched) {
  const Stopwatch watch;
  const study::Options options;
  std::vector<study::Layer> layers(static_cast<std::size_t>(model.config().n_layers));
  decoder::States states = model.embed(sequences);
  study::Watcher watcher(options, states, layers);
  for (std::int64_t number = 0; number < model.config().n_layers; ++number) {
    model.apply(number, states, watched ? &watcher : nullptr);
    if (!watched) continue;
    watcher.finish(number);
    study::describe(states, number, options, layers[static_cast<std::size_t>(number)]);
  }
  std::vector<const decoder::Sequence*> all;
  for (const decoder::Sequence& ids : sequences) all.push_back(&ids);
  study::losses(model, model.finish(states, nullptr), all);
  return watch.seconds();
}

}  // namespace

ModelBenchmark benchmark_model(decoder::Decoder& model, const ModelBenchmarkSize& size) {
  constexpr int kReplays = 1;
  const std::vector<decoder::Sequence> sequences = random_sequences(size, model.config().vocab_size);
  std::vector<cpu::Product> products;
  {
    const cpu::ProductLog log;
    forward(model, sequences, false);
    products = log.products();
  }
  std::vector<double> plain;
  std::vector<double> watched;
  std::vector<double> alone;
  for (int round = 0; round < size.rounds; ++round) {
    plain.push_back(forward(model, sequences, false));
    watched.push_back(forward(model, sequences, true));
    alone.push_back(cpu::replay_seconds(products, kReplays));
  }
  return {size.sequences * size.tokens, median(plain), median(watched), median(alone)};
}

nlohmann::ordered_json to_json(const ModelBenchmark& result) {
  return {{"tokens_per_second", static_cast<double>(result.tokens) / result.forward_seconds},
          {"forward_seconds", result.forward_seconds},
          {"watched_seconds", result.watched_seconds},
          {"gemm_seconds", result.product_seconds},
          {"to_gemms", result.to_products()},
          {"statistics_share", result.statistics_share()}};
}

}  // namespace headroom
