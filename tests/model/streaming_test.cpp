// A model that is larger than the memory it takes: of its layers, one at a time is there in float32.
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "model/decoder/decoder.h"
#include "model/huggingface/safetensors_writer.h"
#include "model/huggingface/source.h"
#include "tests/scratch.h"

namespace headroom::huggingface {
namespace {

constexpr std::int64_t kHidden = 512;
constexpr std::int64_t kFfn = 1408;
constexpr std::int64_t kLayers = 10;
constexpr std::int64_t kVocab = 64;
constexpr std::int64_t kLayerNumbers = 4 * kHidden * kHidden + 3 * kHidden * kFfn + 2 * kHidden;

// What may be there at a time, in layers. The address sanitizer keeps shadows, and memory that was given back.
#ifdef __SANITIZE_ADDRESS__
constexpr std::int64_t kLayersAtOnce = 4;
#else
constexpr std::int64_t kLayersAtOnce = 2;
#endif

// A LLaMA in bfloat16, all of whose matrices hold one number.
std::filesystem::path make_llama(const test::Scratch& scratch) {
  std::vector<TensorShape> tensors = {{"model.embed_tokens.weight", {kVocab, kHidden}},
                                      {"model.norm.weight", {kHidden}},
                                      {"lm_head.weight", {kVocab, kHidden}}};
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string name = "model.layers." + std::to_string(layer) + ".";
    for (const char* norm : {"input_layernorm", "post_attention_layernorm"}) {
      tensors.push_back({name + norm + ".weight", {kHidden}});
    }
    for (const char* part : {"q", "k", "v", "o"}) {
      tensors.push_back({name + "self_attn." + part + "_proj.weight", {kHidden, kHidden}});
    }
    tensors.push_back({name + "mlp.gate_proj.weight", {kFfn, kHidden}});
    tensors.push_back({name + "mlp.up_proj.weight", {kFfn, kHidden}});
    tensors.push_back({name + "mlp.down_proj.weight", {kHidden, kFfn}});
  }
  scratch.file("m/config.json", R"({"model_type": "llama", "vocab_size": 64, "hidden_size": 512,
      "intermediate_size": 1408, "num_hidden_layers": 10, "num_attention_heads": 8, "rms_norm_eps": 1e-5,
      "max_position_embeddings": 64})");
  CheckpointWriter writer(scratch / "m", StoredType::bf16, tensors, std::int64_t{1} << 40);
  for (const TensorShape& tensor : tensors) {
    writer.write(std::vector<float>(static_cast<std::size_t>(tensor.elements()), 0.0078125F));
  }
  writer.close();
  return scratch / "m";
}

// Of this process, without the files that it maps.
std::int64_t own_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) return std::stoll(line.substr(8)) * 1024;
  }
  throw std::runtime_error("no RssAnon");
}

TEST(Streaming, HoldsOneLayerAtATime) {
  const test::Scratch scratch;
  const std::filesystem::path directory = make_llama(scratch);
  Checkpoint checkpoint = open_checkpoint(directory);
  decoder::Decoder model(checkpoint.config, std::move(checkpoint.weights));
  const std::vector<decoder::Sequence> sequences(2, decoder::Sequence(32, 7));
  decoder::States states = model.embed(sequences);
  const std::int64_t before = own_bytes();
  std::int64_t most = 0;
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    model.apply(layer, states, nullptr);
    most = std::max(most, own_bytes() - before);
  }
  const auto layer_bytes = static_cast<std::int64_t>(sizeof(float)) * kLayerNumbers;
  EXPECT_GT(most, layer_bytes / 2) << "what is measured moves with a layer";
  EXPECT_LT(most, kLayersAtOnce * layer_bytes)
      << "a layer, activations and the libraries' own, of " << kLayers << " layers";
}

}  // namespace
}  // namespace headroom::huggingface
