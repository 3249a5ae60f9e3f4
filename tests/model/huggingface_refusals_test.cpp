// What of a Hugging Face directory is not read: an edit of a fixture's config.json, and what the refusal must name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "model/huggingface/source.h"
#include "tests/scratch.h"
#include "tests/source_dir.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

fs::path fixture(const std::string& name) {
  return fs::path(test::source_dir()) / "tests/fixtures/hf" / name;
}

// A fixture's directory with other keys in its config.json.
void copy_with(const std::string& name, const json& keys, const fs::path& to) {
  fs::copy(fixture(name), to);
  json config = json::parse(test::content_of(fixture(name) / "config.json"));
  config.update(keys);
  fs::remove(to / "config.json");
  std::ofstream(to / "config.json") << config.dump();
}

// The refusal's message; empty where there is none.
std::string refusal(const fs::path& directory) {
  try {
    huggingface::open_checkpoint(directory);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_checkpoint) << error.what();
    return error.what();
  }
  return "";
}

struct Edit {
  const char* fixture;
  const char* keys;
  const char* names;  // what the refusal does
};

const Edit kEdits[] = {
    {"falcon_rw", R"({"alibi": true})", "alibi true is not supported"},
    {"llama_2", R"({"rope_scaling": {"type": "longrope", "factor": 2.0}})", "rope_scaling.rope_type 'longrope'"},
    {"llama_2", R"({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}})", "rope_scaling.rope_type 'yarn'"},
    {"llama_2", R"({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}})", "rope_scaling.rope_type 'dynamic'"},
    {"phi_2", R"({"rope_scaling": {"type": "longrope", "factor": 2.0}})", "rope_scaling.rope_type 'longrope'"},
    {"phi3_longrope_within", R"({"rope_scaling": {"type": "longrope", "short_factor": [1, 1, 1]}})",
     "rope_scaling.long_factor has 0 numbers for 3 pairs"},
    {"phi3_longrope_within", R"({"rope_scaling": {"type": "longrope", "short_factor": [1, 0, 1]}})",
     "rope_scaling.short_factor wants a list of numbers above 0"},
    {"llama_2", R"({"rope_scaling": {"type": "linear"}})", "rope_scaling.factor is missing"},
    {"llama_2", R"({"rope_scaling": {"type": "linear", "factor": 0}})", "rope_scaling.factor wants a number above 0"},
    {"llama_2", R"({"rope_scaling": {"type": "llama3", "low_freq_factor": 1, "high_freq_factor": 4}})",
     "rope_scaling.factor is missing"},
    {"llama_2", R"({"rope_scaling": {"type": "llama3", "factor": 8, "high_freq_factor": 4}})",
     "rope_scaling.low_freq_factor is missing"},
    {"llama_2",
     R"({"rope_scaling": {"type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
                          "original_max_position_embeddings": 0}})",
     "rope_scaling.original_max_position_embeddings wants a number above 0"},
    {"llama_2", R"({"rope_theta": 0})", "rope_theta wants a number above 0"},
    {"llama_2", R"({"rms_norm_eps": 0.0})", "rms_norm_eps wants a number above 0"},
    {"gemma_2b", R"({"rms_norm_eps": -1e-6})", "rms_norm_eps wants a number above 0"},
    {"gpt2_odd", R"({"layer_norm_epsilon": 0})", "layer_norm_epsilon wants a number above 0"},
    {"llama_2", R"({"quantization_config": {"bits": 4}})", "quantization_config asks for quantised weights"},
    {"llama_2", R"({"hidden_act": "relu6"})", "hidden_act 'relu6' is not supported"},
    {"olmo_7b", R"({"clip_qkv": 0.0})", "clip_qkv wants a number above 0"},
    {"gemma2_2b", R"({"attn_logit_softcapping": 0})", "attn_logit_softcapping wants a number above 0"},
    {"gemma2_2b", R"({"final_logit_softcapping": 0.0})", "final_logit_softcapping wants a number above 0"},
    {"gemma2_2b", R"({"sliding_window": null})", "sliding_window is null"},
    {"gemma2_2b", R"({"layer_types": ["full_attention"]})", "layer_types has 1 entries"},
    {"qwen2_window", R"({"layer_types": ["chunked_attention", "full_attention", "full_attention"]})",
     "layer_types 'chunked_attention' is not supported"},
    {"mistral_7b", R"({"sliding_window": 0})", "sliding_window wants an integer of at least 1"},
    {"llama_2", R"({"num_hidden_layers": 5000})", "num_hidden_layers 5000 are more than any model has"},
    {"llama_2", R"({"model_type": "mamba"})", "model_type 'mamba' is not supported"},
    {"llama_2", R"({"hidden_size": "wide"})", R"(hidden_size wants an integer from 0 to 16777216, not "wide")"},
    {"llama_2", R"({"attention_bias": true})", "has no tensor 'model.layers.0.self_attn.q_proj.bias'"},
    {"llama_2", R"({"num_hidden_layers": 4})", "has no tensor 'model.layers."},
    {"llama_2", R"({"intermediate_size": 7})", "mlp.gate_proj.weight' is ["},
    {"llama_2", R"({"num_hidden_layers": 1})", "has a tensor 'model.layers.1."},
    {"llama_bias", R"({"attention_bias": false})", "self_attn.k_proj.bias', which its config.json does not ask for"},
};

TEST(Refusals, NameFileAndKeyOrTensor) {
  for (const Edit& edit : kEdits) {
    SCOPED_TRACE(std::string(edit.fixture) + " with " + edit.keys);
    const test::Scratch here;
    copy_with(edit.fixture, json::parse(edit.keys), here / "d");
    EXPECT_THAT(refusal(here / "d"), AllOf(HasSubstr(edit.names), HasSubstr((here / "d").string())));
  }
}

// Keys that transformers does not read change nothing here either.
TEST(Refusals, AreNotOfKeysThatNobodyReads) {
  const test::Scratch here;
  copy_with("gemma3_odd", json::parse(R"({"_sliding_window_pattern": 2, "attn_logit_softcapping": 0})"), here / "d");
  const decoder::Config plain = huggingface::read_config(fixture("gemma3_odd"));
  const decoder::Config edited = huggingface::read_config(here / "d");
  for (std::size_t layer = 0; layer < plain.layers.size(); ++layer) {
    EXPECT_EQ(edited.layers[layer].window, plain.layers[layer].window) << layer;
  }
}

// So deep that what takes a level of the stack for each would end the program.
std::string nested(std::size_t levels) {
  return std::string(levels, '[') + std::string(levels, ']');
}

TEST(Refusals, TakeDeepAndLongFiles) {
  constexpr std::size_t kDeep = 200'000;
  const char* const kTold = "200001 brackets inside each other";
  const test::Scratch here;
  fs::copy(fixture("llama_2"), here / "d");
  for (const char* key : {"hidden_size", "rope_scaling", "eos_token_id", "nothing"}) {
    here.file("d/config.json", R"({"model_type": "llama", ")" + std::string(key) + R"(":)" + nested(kDeep) + "}");
    EXPECT_THAT(refusal(here / "d"), HasSubstr(kTold)) << key;
  }
  copy_with("llama_2", {{"hidden_act", std::string(1'000'000, 'x')}}, here / "long");
  EXPECT_THAT(refusal(here / "long"),
              AllOf(HasSubstr("hidden_act wants a short text"), testing::SizeIs(testing::Lt(500))));
  here.file("d/config.json", test::content_of(fixture("llama_2") / "config.json"));
  here.file("d/generation_config.json", R"({"eos_token_id":)" + nested(kDeep) + "}");
  EXPECT_THROW(huggingface::end_tokens(here / "d"), Error);

  const std::string header = R"({"a":)" + nested(kDeep) + "}";
  std::uint64_t length = header.size();
  here.file("d/model.safetensors", std::string(reinterpret_cast<const char*>(&length), sizeof length) + header);
  EXPECT_THAT(refusal(here / "d"), HasSubstr(kTold));
  fs::remove(here / "d/model.safetensors");
  here.file("d/model.safetensors.index.json", R"({"weight_map":)" + nested(kDeep) + "}");
  EXPECT_THAT(refusal(here / "d"), HasSubstr(kTold));
}

TEST(Refusals, NameWeightsThatAreNoFile) {
  const test::Scratch here;
  fs::copy(fixture("llama_2"), here / "d");
  fs::remove(here / "d/model.safetensors");
  here.file("d/model.safetensors", "");
  EXPECT_THAT(refusal(here / "d"), HasSubstr("model.safetensors is empty"));
  fs::remove(here / "d/model.safetensors");
  fs::create_directory(here / "d/model.safetensors");
  EXPECT_THAT(refusal(here / "d"), HasSubstr("model.safetensors is not a regular file"));
}

TEST(TiedHeads, AreNotTiedWhereTheFileHasAnother) {
  const test::Scratch here;
  copy_with("llama_2", {{"tie_word_embeddings", true}}, here / "d");
  EXPECT_TRUE(huggingface::read_config(here / "d").tied_head);
  EXPECT_FALSE(huggingface::open_checkpoint(here / "d").config.tied_head);
  EXPECT_TRUE(huggingface::open_checkpoint(fixture("falcon_7b")).config.tied_head);  // which holds the same twice
}

}  // namespace
}  // namespace headroom
