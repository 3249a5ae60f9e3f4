// The held-out loss: every target once whatever the micro-batch, the number of windows or the layout.
#include "trainer/evaluation.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "tests/model/tiny_model.h"
#include "tests/mpi_world.h"
#include "tests/scratch.h"

namespace headroom {
namespace {

constexpr std::int64_t kSeq = 8;
constexpr std::size_t kTokens = 7 * kSeq + 4;  // seven whole windows and a short one of three targets

class HeldOutLoss : public testing::Test {
 protected:
  HeldOutLoss() {
    std::string bytes;
    for (std::size_t i = 0; i < kTokens; ++i) {
      bytes += static_cast<char>(i * i % static_cast<std::size_t>(tiny::config().vocab_size));
      bytes += '\0';
    }
    tokens_.emplace(TokenFile::open(scratch_.file("valid.bin", bytes)));
  }

  static std::unique_ptr<Transformer> model_on(const Mesh& mesh, std::int64_t micro_batch) {
    auto model = std::make_unique<Transformer>(tiny::config(), mesh, TransformerOptions{.dtype = DType::f64});
    model->plan(micro_batch, kSeq);
    model->parameters().initialize(7);
    return model;
  }

  test::Scratch scratch_;
  std::optional<TokenFile> tokens_;
};

TEST_F(HeldOutLoss, CountsEveryTargetOnceAtEveryLayoutAndMicroBatch) {
  // Window by window, one rank.
  const Mesh alone = Mesh::single();
  const auto plain = model_on(alone, 1);
  const HeldOut windows(*tokens_, kSeq, 0);
  ASSERT_EQ(windows.windows(), 8u);
  LossSum expected;
  for (std::uint64_t window = 0; window < windows.windows(); ++window) {
    expected += plain->evaluate(windows.read(window, 1, tiny::config().vocab_size), nullptr);
  }
  ASSERT_EQ(expected.tokens, static_cast<std::int64_t>(kTokens) - 1);

  const int ranks = test_runtime().world()->size();
  for (int tensor = 1; tensor <= std::min(ranks, 2); ++tensor) {
    for (const std::int64_t micro_batch : {2, 4, 6}) {
      SCOPED_TRACE(fmt::format("{}x{}, micro-batch {}", ranks / tensor, tensor, micro_batch));
      const Mesh mesh(test_runtime().world(), {ranks / tensor, tensor});
      const auto model = model_on(mesh, micro_batch);
      const LossSum loss = evaluate_held_out(*model, windows, micro_batch, mesh).value();
      EXPECT_EQ(loss.tokens, expected.tokens);
      EXPECT_NEAR(loss.nll, expected.nll, 1e-10 * expected.nll);
    }
  }
}

}  // namespace
}  // namespace headroom
