// How a backward makes its gradients known: the order in which they become final, and how often it gives way.
#include <gtest/gtest.h>

#include <map>

#include "model/transformer.h"
#include "tests/model/tiny_model.h"

namespace headroom {
namespace {

TEST(Backward, GivesWayAfterEveryLargeProduct) {
  ModelConfig config = resolved(tiny::config());
  config.n_layers = 3;
  const Mesh mesh = Mesh::single();
  Transformer model(config, mesh, {.dtype = DType::f64});
  const Batch batch = tiny::batch(2, 6, config.vocab_size);
  model.plan(batch.batch, batch.seq);
  model.parameters().initialize(1);
  std::vector<std::int64_t> ends;
  ops::zero(model.parameters().gradients());
  model.forward_backward(batch, 1.0, nullptr, [&](std::int64_t flat_end) { ends.push_back(flat_end); });

  EXPECT_TRUE(std::is_sorted(ends.begin(), ends.end())) << "what is final stays final";
  std::map<std::int64_t, int> times;
  for (const std::int64_t end : ends) ++times[end];
  // A layer's nine: two products each of o, q k v, gate up and down, and attention itself; the tenth when it is done.
  const auto ready_after = [&](std::int64_t layer) { return model.parameters().ready_end(Block::stage_of(layer)); };
  EXPECT_GE(ready_after(3), model.parameters().find("head.weight").elements());
  EXPECT_LT(ready_after(3), ready_after(2));
  EXPECT_EQ(times[ready_after(3)], 10) << "between the head and the last layer";
  EXPECT_EQ(times[ready_after(2)], 10);
  EXPECT_EQ(times[ready_after(1)], 10);
  EXPECT_EQ(times[ready_after(0)], 1);
  // The last offset takes in the padding behind the embedding, so that the bucket that ends with it can start.
  const Parameter& embedding = model.parameters().find("embedding.weight");
  EXPECT_LT(embedding.offset + embedding.elements(), model.parameters().replicated_begin());
  EXPECT_EQ(ends.back(), model.parameters().replicated_begin());
}

}  // namespace
}  // namespace headroom
