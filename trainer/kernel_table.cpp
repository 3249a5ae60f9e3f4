#include "trainer/kernel_table.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>

#include "base/random.h"
#include "model/token_tensors.h"
#include "tensor/backend.h"
#include "tensor/round_up.h"
#include "tensor/transfer.h"
#include "trainer/engine.h"
#include "trainer/start_up.h"

namespace headroom {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRounds = 5;
constexpr double kRoundSeconds = 0.02;      // of calls in a round: far above a clock's and a launch's cost
constexpr std::int64_t kVocabulary = 8192;  // when the config leaves it to a corpus
constexpr std::int64_t kCopied = std::int64_t{256} << 20;  // bytes, more than any cache

// Seconds of one call: rounds of as many calls as fill kRoundSeconds, the device asked to finish after each round.
double time_call(const Backend& device, const std::function<void()>& call) {
  const auto run = [&](int calls) {
    device.synchronize();
    const auto begin = Clock::now();
    for (int i = 0; i < calls; ++i) call();
    device.synchronize();
    return std::chrono::duration<double>(Clock::now() - begin).count();
  };
  run(1);  // chooses algorithms, touches memory
  const int calls = std::clamp(static_cast<int>(kRoundSeconds / std::max(run(1), 1e-7)), 1, 2000);
  std::vector<double> rounds;
  for (int round = 0; round < kRounds; ++round) rounds.push_back(run(calls) / calls);
  std::nth_element(rounds.begin(), rounds.begin() + kRounds / 2, rounds.end());
  return rounds[kRounds / 2];
}

// The shapes of a rank's micro-batch, and tensors of them while an operation is timed.
class Bench {
 public:
  Bench(const RunConfig& config, Device device)
      : config_(config), model_(config.model), device_(device), dtype_(config.train.dtype) {}

  KernelTable run() {
    copy();
    norms();
    attention();
    feed_forward();
    embedding();
    classifier();
    optimizer();
    return std::move(table_);
  }

 private:
  std::int64_t rows() const { return config_.train.micro_batch * model_.seq_len; }
  DType wide() const { return accumulator_of(dtype_); }

  // Kept until the family is done.
  Tensor zeros(Shape shape, DType dtype) {
    const auto bytes = static_cast<std::size_t>(shape.elements()) * size_of(dtype);
    memory_.push_back(std::make_unique<Buffer>(bytes, device_, "timing an operation"));
    return memory_.back()->tensor(shape, dtype);
  }
  // Random numbers.
  Tensor take(Shape shape, DType dtype, double deviation = 1.0) {
    const Tensor tensor = zeros(shape, dtype);
    // A few numbers, over and over: what they are does not matter, but zeros and NaNs would.
    constexpr std::int64_t kDrawn = 4096;
    const RandomStream stream(17, "kernel table");
    std::vector<double> drawn;
    for (std::int64_t i = 0; i < kDrawn; ++i) {
      drawn.push_back(deviation * stream.normal(static_cast<std::uint64_t>(i)));
    }
    std::int64_t filled = std::min(kDrawn, tensor.elements());
    upload_as(std::span<const double>(drawn.data(), static_cast<std::size_t>(filled)), tensor.flat_range(0, filled));
    while (filled < tensor.elements()) {
      const std::int64_t more = std::min(filled, tensor.elements() - filled);
      ops::copy(tensor.flat_range(0, more), tensor.flat_range(filled, more));
      filled += more;
    }
    return tensor;
  }
  Tensor activations(std::int64_t columns) { return take({rows(), columns}, dtype_); }
  Tensor weights(std::int64_t out, std::int64_t in) { return take({out, in}, dtype_, 0.02); }

  void done() { memory_.clear(); }

  void passes(const std::string& name, std::int64_t bytes, const std::function<void()>& call) {
    table_.kernels.push_back({name, time_call(backend(device_), call), static_cast<double>(bytes), 0.0});
  }
  void products(const std::string& name, double flops, const std::function<void()>& call) {
    table_.kernels.push_back({name, time_call(backend(device_), call), 0.0, flops});
  }

  void copy() {
    const Tensor from = take({kCopied / 4}, DType::f32);
    const Tensor to = take({kCopied / 4}, DType::f32);
    table_.copy_bandwidth =
        2.0 * static_cast<double>(kCopied) / time_call(backend(device_), [&] { ops::copy(from, to); });
    done();
  }

  void norms() {
    const Tensor x = activations(model_.hidden_size);
    const Tensor h = activations(model_.hidden_size);
    const Tensor y = activations(model_.hidden_size);
    const Tensor gamma = take({model_.hidden_size}, dtype_);
    const Tensor alpha = take({1}, dtype_);
    const Tensor row_a = take({rows()}, wide());
    const Tensor row_b = take({rows()}, wide());
    const Tensor dgamma = take({model_.hidden_size}, wide());
    const Tensor dalpha = take({1}, wide());
    const Tensor summary = zeros({MagnitudeSummary::kWords}, DType::i64);
    const auto seen = [&](bool looks) { return looks ? Magnitudes{summary, 0} : Magnitudes{}; };
    const double eps = model_.norm_eps;
    for (const bool looks : {false, true}) {
      const std::string suffix = looks ? ", monitored" : "";
      switch (model_.norm) {
        case NormKind::rms:
          passes("add + RMS norm" + suffix, 4 * x.bytes(),
                 [&] { ops::add_rms_norm(x, seen(looks), gamma, eps, h, y, row_a); });
          break;
        case NormKind::layer:
          passes("add + layer norm" + suffix, 4 * x.bytes(),
                 [&] { ops::add_layer_norm(x, seen(looks), gamma, Tensor(), eps, h, y, row_b, row_a); });
          break;
        case NormKind::dyt:
          passes("add + DyT" + suffix, 4 * x.bytes(),
                 [&] { ops::add_dyt(x, seen(looks), alpha, gamma, Tensor(), h, y); });
          break;
      }
    }
    passes("norm backward", 4 * x.bytes(), [&] {
      switch (model_.norm) {
        case NormKind::rms:
          return ops::rms_norm_backward(x, h, gamma, row_a, y, dgamma);
        case NormKind::layer:
          return ops::layer_norm_backward(x, h, gamma, row_b, row_a, y, dgamma, Tensor());
        case NormKind::dyt:
          return ops::dyt_backward(x, h, alpha, gamma, y, dalpha, dgamma, Tensor());
      }
    });
    done();
  }

  void attention() {
    const AttentionShape shape{config_.train.micro_batch, model_.seq_len, model_.n_heads, model_.n_kv_heads,
                               model_.head_dim};
    const Tensor qkv = activations(shape.qkv_width());
    const Tensor dqkv = activations(shape.qkv_width());
    const Tensor out = activations(shape.query_width());
    const Tensor dout = activations(shape.query_width());
    const Tensor x = activations(model_.hidden_size);
    const Tensor w = weights(shape.qkv_width(), model_.hidden_size);
    const Tensor lse = take({shape.batch, shape.n_heads, shape.seq}, wide());
    const Tensor mass = take({shape.batch, shape.n_heads, shape.seq}, wide());
    const auto gemm = 2.0 * static_cast<double>(rows() * model_.hidden_size * shape.qkv_width());
    products("q, k, v product", gemm, [&] { ops::linear(x, w, Tensor(), qkv); });
    if (model_.positions == PositionKind::rotary) {
      const Tensor cos = take({model_.seq_len, model_.head_dim / 2}, wide());
      const Tensor sin = take({model_.seq_len, model_.head_dim / 2}, wide());
      const std::int64_t turned = qkv.bytes() / shape.qkv_width() * (shape.query_width() + shape.kv_width());
      passes("rotary", 2 * turned, [&] { ops::rotary(cos, sin, shape, false, qkv); });
    }
    // Causal: half of the scores, for q k^T and p v each.
    const double scores = 2.0 * static_cast<double>(rows() * shape.query_width() * shape.seq);
    products("attention", scores, [&] { ops::attention(qkv, shape, out, lse); });
    products("attention backward", 2.5 * scores, [&] { ops::attention_backward(dout, qkv, out, lse, shape, dqkv); });
    const Tensor key = take({shape.n_kv_heads, shape.head_dim}, dtype_);
    const Tensor value = take({shape.n_kv_heads, shape.head_dim}, dtype_);
    const Tensor dkey = take({shape.n_kv_heads, shape.head_dim}, wide());
    const Tensor dvalue = take({shape.n_kv_heads, shape.head_dim}, wide());
    const std::int64_t queries = out.bytes();
    passes("KV bias", 3 * queries, [&] { ops::kv_bias(qkv, key, value, shape, out, lse, mass); });
    passes("KV bias backward", 5 * queries,
           [&] { ops::kv_bias_backward(dout, qkv, out, mass, key, value, shape, dqkv, dkey, dvalue); });
    done();
  }

  void feed_forward() {
    const std::int64_t inner_width = model_.gated() ? 2 * model_.ffn_size : model_.ffn_size;
    const Tensor inner = activations(inner_width);
    const Tensor activated = activations(model_.ffn_size);
    const Tensor x = activations(model_.hidden_size);
    const Tensor up = weights(inner_width, model_.hidden_size);
    const Tensor dup = take({inner_width, model_.hidden_size}, wide());
    const double gemm = 2.0 * static_cast<double>(rows() * model_.hidden_size * inner_width);
    if (model_.activation == Activation::gelu_tanh) {
      products("up product with GELU", gemm, [&] { ops::linear_gelu(x, up, Tensor(), inner, activated); });
      const Tensor down = weights(model_.hidden_size, model_.ffn_size);
      products("down product backward with GELU", gemm, [&] { ops::linear_gelu_backward(x, down, inner, activated); });
    } else {
      products("up product", gemm, [&] { ops::linear(x, up, Tensor(), inner); });
    }
    products("its weights' gradient", gemm,
             [&] { ops::matmul(inner, Transpose::yes, x, Transpose::no, dup, 1.0, 1.0); });
    products("its input's gradient", gemm, [&] { ops::matmul(inner, Transpose::no, up, Transpose::no, x, 1.0, 0.0); });
    if (model_.gated()) {
      passes("SwiGLU", inner.bytes() + activated.bytes(), [&] { ops::swiglu(inner, activated); });
      // Not in place as in training: over and over, that would leave numbers too small for a CPU to be quick with.
      const Tensor dinner = activations(inner_width);
      passes("SwiGLU backward", 2 * inner.bytes() + activated.bytes(),
             [&] { ops::swiglu_backward(activated, inner, dinner); });
    } else if (model_.activation != Activation::gelu_tanh) {
      passes("activation", 2 * inner.bytes(), [&] { ops::activation(model_.activation, inner, activated); });
      passes("activation backward", 3 * inner.bytes(),
             [&] { ops::activation_backward(model_.activation, activated, inner, activated); });
    }
    done();
  }

  std::vector<std::int32_t> random_tokens() const {
    const RandomStream stream(5, "kernel table tokens");
    std::vector<std::int32_t> ids;
    for (std::int64_t row = 0; row < rows(); ++row) {
      const double share = stream.uniform(static_cast<std::uint64_t>(row));  // frequent tokens come first, as in text
      ids.push_back(static_cast<std::int32_t>(share * share * share * static_cast<double>(model_.vocab_size)));
    }
    return ids;
  }

  void embedding() {
    const Tensor y = activations(model_.hidden_size);
    const Tensor table = weights(model_.vocab_size, model_.hidden_size);
    const Tensor dtable = take({model_.vocab_size, model_.hidden_size}, wide());
    const std::vector<std::int32_t> ids = random_tokens();
    const auto arena = planned_arena(device_, "tokens", [&](Arena& any) { TokenTensors::plan(any, rows()); });
    arena->rewind(0);
    TokenTensors tokens = TokenTensors::plan(*arena, rows());
    tokens.upload_tokens(ids, ids);
    tokens = tokens.with_groups(ids, model_.vocab_size);
    const std::int64_t groups = tokens.groups.starts.elements() - 1;
    const auto row_bytes = model_.hidden_size * static_cast<std::int64_t>(size_of(wide()));
    passes("embedding", 2 * y.bytes(), [&] { ops::embedding(tokens.ids, table, 0, y); });
    passes("embedding backward", y.bytes() + 2 * groups * row_bytes,
           [&] { ops::embedding_backward(tokens.ids, tokens.groups, y, 0, dtable); });
    done();
  }

  void classifier() {
    const std::int64_t chunk = std::min(rows(), config_.train.loss_chunk);
    const Tensor logits = take({chunk, round_up(model_.vocab_size, std::int64_t{64})}, dtype_);
    const Tensor sums = take({chunk}, wide());
    const Tensor chosen = take({chunk}, wide());
    const auto arena = planned_arena(device_, "tokens", [&](Arena& any) { TokenTensors::plan(any, rows()); });
    arena->rewind(0);
    const std::vector<std::int32_t> ids = random_tokens();
    const TokenTensors tokens = TokenTensors::plan(*arena, rows());
    tokens.upload_tokens(ids, ids);
    passes("cross-entropy, forward and backward", 2 * logits.bytes(), [&] {
      ops::cross_entropy(tokens.targets.flat_range(0, chunk), model_.vocab_size, 1e-4, logits, sums, chosen);
    });
    done();
  }

  void optimizer() {
    const std::int64_t count = std::min<std::int64_t>(model_.hidden_size * model_.ffn_size * 8, kCopied / 4);
    const Tensor values = take({count}, dtype_);
    const Tensor grads = take({count}, wide());
    const Tensor m = take({count}, wide());
    const Tensor v = zeros({count}, wide());
    Weights weights{values, {}};
    if (dtype_ != wide()) weights.master = take({count}, wide());
    std::vector<Piece> pieces;
    for (std::int64_t at = 0; at < count; at += Piece::kLargest) {
      pieces.push_back({at, at, std::min(Piece::kLargest, count - at), 0, Piece::kDecay});
    }
    const Tensor table = zeros({static_cast<std::int64_t>(pieces.size()), Piece::kWords}, DType::i64);
    upload_bytes(std::as_bytes(std::span<const Piece>(pieces)), table);
    const Tensor scale = take({1}, DType::f64);
    const double one[] = {1.0};
    upload(std::span<const double>(one), scale);
    const AdamWStep step{1e-6, 0.9, 0.95, 1e-8, 0.1, 0.1, 0.05};
    const std::int64_t moved =
        grads.bytes() + 2 * m.bytes() + 2 * v.bytes() +
        (weights.master.present() ? 2 * weights.master.bytes() + values.bytes() : 2 * values.bytes());
    passes("AdamW", moved, [&] { ops::adamw(grads, table, step, scale, weights, m, v); });
    passes("gradient's sum of squares", grads.bytes(), [&] {
      ops::piece_sums(Weights{grads, {}}, table, Tensor(), 2, scale);
    });
    done();
  }

  const RunConfig& config_;
  const ModelConfig& model_;
  Device device_;
  DType dtype_;
  std::vector<std::unique_ptr<Buffer>> memory_;
  KernelTable table_;
};

}  // namespace

KernelTable time_kernels(const RunConfig& loaded) {
  const Device device = device_for(loaded);
  const std::int64_t vocabulary = loaded.model.vocab_size == 0 ? kVocabulary : loaded.model.vocab_size;
  KernelTable table = Bench(resolved_for(loaded, {1, 1}, vocabulary), device).run();
  table.device = backend(device).devices().front();
  table.dtype = loaded.train.dtype;
  return table;
}

nlohmann::ordered_json to_json(const KernelTable& table) {
  nlohmann::ordered_json kernels = nlohmann::ordered_json::array();
  for (const KernelTiming& kernel : table.kernels) {
    nlohmann::ordered_json entry = {{"name", kernel.name}, {"seconds", kernel.seconds}};
    if (kernel.bytes > 0.0) {
      entry["bytes_per_second"] = kernel.bytes / kernel.seconds;
      entry["of_copy"] = kernel.bytes / kernel.seconds / table.copy_bandwidth;
    } else {
      entry["flops_per_second"] = kernel.flops / kernel.seconds;
    }
    kernels.push_back(std::move(entry));
  }
  return {{"device", table.device}, {"copy_bytes_per_second", table.copy_bandwidth}, {"kernels", kernels}};
}

}  // namespace headroom
