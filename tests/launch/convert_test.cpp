// `headroom convert`: a trained checkpoint of every form of model, read back from the Hugging Face directory that it
// became and from the run that this became in turn: the same bits of every weight and the same results, in this program
// and, where Python has it, in transformers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sentencepiece_trainer.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/hdf5.h"
#include "data/tokenizer.h"
#include "model/huggingface/safetensors.h"
#include "model/huggingface/source.h"
#include "tests/distance.h"
#include "tests/launch/program.h"
#include "tests/source_dir.h"
#include "trainer/open_model.h"

namespace headroom::test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

struct Variant {
  const char* name;
  const char* keys;        // of its config; tiny sizes are added
  const char* model_type;  // that it becomes
  bool exact = true;       // whether the products are the same ones, so that results have the same bits
};

// Initial values are large, so that no switch is without effect.
const char* const kLarge = "init.std = 0.2\ninit.kv_bias_std = 1.0\n";

const Variant kVariants[] = {
    {"llama", "", "llama"},
    {"llama_grouped", "model.n_kv_heads = 2\nmodel.tied_head = true\nmodel.rope_theta = 500.0\n", "llama"},
    {"llama_bias", "model.bias = true\nmodel.norm_eps = 1e-3\n", "llama"},
    {"qwen3", "model.qk_norm = true\nmodel.head_dim = 10\nmodel.n_heads = 3\n", "qwen3"},
    {"gpt2",
     "model.norm = \"layer\"\nmodel.norm_bias = true\nmodel.bias = true\nmodel.positions = \"learned\"\n"
     "model.activation = \"gelu_tanh\"\nmodel.tied_head = true\n",
     "gpt2", false},
    {"gpt2_bare", "model.norm = \"layer\"\nmodel.positions = \"learned\"\nmodel.activation = \"relu\"\n", "gpt2",
     false},
    {"gpt2_gelu",
     "model.norm = \"layer\"\nmodel.norm_bias = true\nmodel.positions = \"learned\"\nmodel.activation = \"gelu\"\n",
     "gpt2", false},
    {"rotary_gelu", "model.norm = \"layer\"\nmodel.norm_bias = true\nmodel.activation = \"gelu\"\nmodel.bias = true\n",
     "headroom"},
    {"qk_bias", "model.qk_norm = true\nmodel.bias = true\nmodel.n_kv_heads = 1\n", "headroom"},
    {"k_bias",
     "model.norm = \"layer\"\nmodel.norm_bias = true\nmodel.attention.kv_bias = \"k\"\nmodel.qk_norm = true\n"
     "model.n_kv_heads = 2\nmodel.activation = \"gelu_tanh\"\nmodel.tied_head = true\n",
     "headroom"},
    {"everything",
     "model.norm = \"dyt\"\nmodel.norm_bias = true\nmodel.attention.kv_bias = \"kv\"\nmodel.qk_norm = true\n"
     "model.n_kv_heads = 2\nmodel.activation = \"relu\"\nmodel.bias = true\nmodel.positions = \"learned\"\n"
     "model.embedding_scale = true\nmodel.head_dim = 12\n",
     "headroom"},
};

struct Demo {
  const char* name;
  const char* model_type;
};
const Demo kDemos[] = {{"baseline", "llama"}, {"kv-bias", "headroom"},     {"dyt", "headroom"},
                       {"tvr", "llama"},      {"tvr-kv-bias", "headroom"}, {"tvr-dyt", "headroom"}};

// A tensor's numbers, row by row, those of a transposed weight in the order of one that is not.
std::vector<float> numbers(const Tensor& tensor, bool transposed = false) {
  if (!tensor.present()) return {};
  const float* from = tensor.data<float>();
  std::vector<float> all(from, from + tensor.elements());
  if (!transposed) return all;
  const std::int64_t in = tensor.rows();
  const std::int64_t out = tensor.columns();
  for (std::int64_t i = 0; i < in; ++i) {
    for (std::int64_t o = 0; o < out; ++o) all[static_cast<std::size_t>(o * in + i)] = from[i * out + o];
  }
  return all;
}

// Bits, not numbers. What the other form has beyond ours is 0.
void expect_same(const std::vector<float>& ours, const std::vector<float>& theirs, const std::string& what) {
  if (ours.empty()) {
    EXPECT_EQ(theirs, std::vector<float>(theirs.size(), 0.0F)) << what;
    return;
  }
  ASSERT_EQ(ours.size(), theirs.size()) << what;
  EXPECT_EQ(std::memcmp(ours.data(), theirs.data(), ours.size() * sizeof(float)), 0) << what;
}

void expect_same(const decoder::NormWeights& ours, const decoder::NormWeights& theirs, const std::string& what) {
  expect_same(numbers(ours.weight), numbers(theirs.weight), what + ".weight");
  expect_same(numbers(ours.bias), numbers(theirs.bias), what + ".bias");
  expect_same(numbers(ours.alpha), numbers(theirs.alpha), what + ".alpha");
}

void expect_same(const decoder::LinearWeights& ours, const decoder::LinearWeights& theirs, const std::string& what) {
  expect_same(numbers(ours.weight), numbers(theirs.weight, theirs.transposed), what + ".weight");
  expect_same(numbers(ours.bias), numbers(theirs.bias), what + ".bias");
}

void expect_same_weights(decoder::Decoder& ours, decoder::Decoder& theirs) {
  const decoder::Config& config = ours.config();
  const auto embedding = [&](decoder::Decoder& model) {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(config.vocab_size));
    std::iota(ids.begin(), ids.end(), 0);
    std::vector<float> rows(ids.size() * static_cast<std::size_t>(config.hidden_size));
    model.weights().embed(ids, Tensor(rows.data(), {config.vocab_size, config.hidden_size}, DType::f32));
    return rows;
  };
  expect_same(embedding(ours), embedding(theirs), "embedding");
  const decoder::OuterWeights& outer = ours.weights().outer();
  const decoder::OuterWeights& other = theirs.weights().outer();
  expect_same(numbers(outer.positions), numbers(other.positions), "positions");
  expect_same(numbers(outer.embedding_scale), numbers(other.embedding_scale), "embedding_scale");
  expect_same(outer.final_norm, other.final_norm, "final_norm");
  for (std::int64_t number = 0; number < config.n_layers; ++number) {
    const std::string layer = "layer " + std::to_string(number) + " ";
    const decoder::LayerWeights& a = ours.weights().layer(number);
    const decoder::LayerWeights& b = theirs.weights().layer(number);
    expect_same(a.attention_norm, b.attention_norm, layer + "attention_norm");
    expect_same(a.qkv, b.qkv, layer + "qkv");
    expect_same(a.q_norm, b.q_norm, layer + "q_norm");
    expect_same(a.k_norm, b.k_norm, layer + "k_norm");
    expect_same(numbers(a.bias_key), numbers(b.bias_key), layer + "bias_key");
    expect_same(numbers(a.bias_value), numbers(b.bias_value), layer + "bias_value");
    expect_same(a.output, b.output, layer + "output");
    expect_same(a.mlp_norm, b.mlp_norm, layer + "mlp_norm");
    expect_same(a.up, b.up, layer + "up");
    expect_same(a.down, b.down, layer + "down");
  }
  expect_same(numbers(ours.weights().head(0, config.vocab_size)), numbers(theirs.weights().head(0, config.vocab_size)),
              "head");
}

class Convert : public testing::Test {
 protected:
  // Trains two steps; at tensor = 2 every matrix lies in pieces.
  void train(const std::string& name, const std::string& keys, int tensor = 1) const {
    const std::string arguments =
        "train " + here_.config(name, keys) + " --set train.steps=2 --set snapshot.every=0 --set eval.windows=2";
    const Outcome trained =
        tensor == 1 ? headroom(arguments)
                    : headroom_ranks(tensor, arguments + " --set parallel.tensor=" + std::to_string(tensor));
    ASSERT_EQ(trained.status, 0) << trained.output;
  }
  void train_demo(const std::string& name) const {
    const Outcome trained = headroom(
        "train " + (fs::path(source_dir()) / "configs/demo" / (name + ".toml")).string() + " --set name=" + name +
        " --set runs_dir=" + (here_ / "runs").string() + " --set data.corpus=" + (here_ / "corpus").string() +
        " --set model.hidden_size=32 --set model.n_layers=2 --set model.ffn_size=48 --set model.seq_len=32"
        " --set train.steps=2 --set train.global_batch=4 --set snapshot.every=0 --set eval.windows=2"
        " --set optim.tvr.interval=2");
    ASSERT_EQ(trained.status, 0) << trained.output;
  }
  Outcome convert(const std::string& name, const std::string& options = "") const {
    return headroom("convert " + here_.run(name).string() + " --to hf " + directory(name).string() + " " + options);
  }
  fs::path directory(const std::string& name) const { return here_ / (name + "-hf"); }
  fs::path forward(const fs::path& model, const std::string& out) const {
    const fs::path ids =
        here_.file("ids.txt", "1 40 7 300 12 9 9 250 31\n1 5\n1 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20\n");
    const Outcome ran =
        headroom("forward " + model.string() + " --ids " + ids.string() + " --out " + (here_ / out).string());
    EXPECT_EQ(ran.status, 0) << ran.output;
    return here_ / out;
  }
  nlohmann::json config_of(const std::string& name) const {
    return nlohmann::json::parse(content_of(directory(name) / "config.json"));
  }

  Outcome convert_back(const std::string& name, const std::string& run) const {
    return headroom("convert " + directory(name).string() + " --to headroom " + here_.run(run).string());
  }

  // Converts a run that is there to a Hugging Face directory and that to a run, and compares all of both.
  void expect_round_trip(const std::string& name, const std::string& model_type, bool exact) const {
    const Outcome converted = convert(name);
    ASSERT_EQ(converted.status, 0) << converted.output;
    EXPECT_EQ(config_of(name)["model_type"], model_type) << converted.output;
    EXPECT_EQ(fs::exists(directory(name) / "modeling_headroom.py"), model_type == "headroom");
    const OpenedModel ours = open_model(here_.run(name));
    const OpenedModel theirs = open_model(directory(name));
    EXPECT_EQ(theirs.decoder->config().family, model_type);
    expect_same_weights(*ours.decoder, *theirs.decoder);
    const Outcome back = convert_back(name, name + "-back");
    ASSERT_EQ(back.status, 0) << back.output;
    expect_same_weights(*ours.decoder, *open_model(here_.run(name + "-back")).decoder);
    const H5File a = H5File::open(forward(here_.run(name), name + "-ours.h5"));
    const H5File b = H5File::open(forward(directory(name), name + "-theirs.h5"));
    for (const char* what : {"hidden", "final", "logits"}) {
      for (const char* sequence : {"0", "1", "2"}) {
        const std::string dataset = std::string("sequences/") + sequence + "/" + what;
        const auto left = a.read<float>(dataset).values;
        const auto right = b.read<float>(dataset).values;
        if (exact) {
          EXPECT_EQ(left, right) << dataset;
        } else {
          EXPECT_LT(relative_distance(left, right), 1e-6) << dataset;
        }
      }
    }
  }

  Workspace here_;
};

class ConvertVariant : public Convert, public testing::WithParamInterface<Variant> {};

TEST_P(ConvertVariant, ComesBackWithTheSameWeightsAndResults) {
  train(GetParam().name, std::string(kLarge) + GetParam().keys);
  expect_round_trip(GetParam().name, GetParam().model_type, GetParam().exact);
}

INSTANTIATE_TEST_SUITE_P(Switches, ConvertVariant, testing::ValuesIn(kVariants),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST_F(Convert, TheDemosVariantsComeBack) {
  for (const Demo& demo : kDemos) {
    SCOPED_TRACE(demo.name);
    train_demo(demo.name);
    expect_round_trip(demo.name, demo.model_type, true);
  }
}

TEST_F(Convert, ACheckpointInPiecesOfTwoRanksComesBack) {
  for (const char* wanted : {"gpt2", "everything"}) {
    SCOPED_TRACE(wanted);
    const Variant& variant = *std::find_if(std::begin(kVariants), std::end(kVariants),
                                           [&](const Variant& one) { return std::string(one.name) == wanted; });
    train(wanted, std::string(kLarge) + variant.keys, 2);
    expect_round_trip(wanted, variant.model_type, variant.exact);
  }
}

TEST_F(Convert, ShardsAndNarrowFormatsAreRead) {
  train("run", kLarge);
  ASSERT_EQ(convert("run", "--shard-gb 2e-5").status, 0);
  EXPECT_TRUE(fs::exists(directory("run") / "model.safetensors.index.json"));
  expect_same_weights(*open_model(here_.run("run")).decoder, *open_model(directory("run")).decoder);
  const H5File exact = H5File::open(forward(directory("run"), "exact.h5"));
  for (const auto& [type, name, least, most] :
       {std::tuple("bf16", "bfloat16", 1e-5, 3e-2), std::tuple("f16", "float16", 1e-6, 3e-3)}) {
    fs::remove_all(directory("run"));
    ASSERT_EQ(convert("run", std::string("--dtype ") + type).status, 0);
    EXPECT_EQ(config_of("run")["torch_dtype"], name);
    const H5File narrow = H5File::open(forward(directory("run"), "narrow.h5"));
    const double far = relative_distance(narrow.read<float>("sequences/0/logits").values,
                                         exact.read<float>("sequences/0/logits").values);
    EXPECT_GT(far, least) << type;
    EXPECT_LT(far, most) << type;
  }
}

TEST_F(Convert, TheTokenizerComesAlong) {
  train("run", "");
  ASSERT_EQ(convert("run").status, 0);
  const Tokenizer ours = Tokenizer::load(here_ / "corpus");
  const Tokenizer theirs = Tokenizer::load(directory("run"));
  EXPECT_EQ(theirs.fingerprint(), ours.fingerprint());
  EXPECT_EQ(theirs.encode_with_special("the old river"), ours.encode_with_special("the old river"));
  EXPECT_EQ(config_of("run")["bos_token_id"], ours.bos());
}

TEST_F(Convert, ATokenizerThatChangesTextIsWarnedOf) {
  train("plain", "");
  EXPECT_THAT(convert("plain").output, Not(HasSubstr("changes text")));
  int number = 0;
  for (const char* rule : {"nmt_nfkc", "nmt_nfkc_cf", "identity --remove_extra_whitespaces=true"}) {
    SCOPED_TRACE(rule);
    const std::string name = "run" + std::to_string(++number);
    const std::string text = (here_ / "text.txt").string();
    const std::string model = (here_ / name).string();
    const auto trained = sentencepiece::SentencePieceTrainer::Train(
        "--minloglevel=2 --model_type=bpe --vocab_size=300 --byte_fallback --input=" + text +
        " --model_prefix=" + model + " --normalization_rule_name=" + rule);
    ASSERT_TRUE(trained.ok()) << trained.ToString();
    const std::string corpus = model + "-corpus";
    const Outcome tokenized =
        headroom("tokenize " + text + " --out " + corpus + " --held-out 0.1 --tokenizer " + model + ".model");
    ASSERT_EQ(tokenized.status, 0) << tokenized.output;
    train(name, "data.corpus = \"" + corpus + "\"\n");
    const Outcome converted = convert(name);
    EXPECT_EQ(converted.status, 0) << converted.output;
    EXPECT_THAT(converted.output, HasSubstr("warning: the tokenizer changes text"));
  }
}

TEST_F(Convert, NothingIsOverwrittenAndNothingHalfWrittenStays) {
  train("run", "");
  fs::create_directory(directory("run"));
  const Outcome there = convert("run");
  EXPECT_EQ(there.status, 2);
  EXPECT_THAT(there.output, HasSubstr("exists already"));
  fs::remove(directory("run"));
  fs::create_directories(directory("run").string() + ".partial/mine");  // somebody's own
  EXPECT_EQ(convert("run", "--tokenizer " + (here_ / "nowhere").string()).status, 4);
  EXPECT_FALSE(fs::exists(directory("run")));
  for (const auto& entry : fs::directory_iterator(directory("run").parent_path())) {
    EXPECT_THAT(entry.path().filename().string(), Not(HasSubstr("hf.partial-")));
  }
  EXPECT_EQ(convert("run").status, 0);
  const Outcome again = headroom("convert " + directory("run").string() + " --to hf " + (here_ / "other").string());
  EXPECT_EQ(again.status, 2);
  EXPECT_THAT(again.output, HasSubstr("is a Hugging Face directory already"));
  EXPECT_TRUE(fs::exists(directory("run").string() + ".partial/mine"));
  const Outcome own = headroom("convert " + here_.run("run").string() + " --to headroom " + (here_ / "other").string());
  EXPECT_EQ(own.status, 2);
  EXPECT_THAT(own.output, AllOf(HasSubstr("is a run of ours already"), HasSubstr("any layout")));
  EXPECT_FALSE(fs::exists(here_ / "other"));
}

// A file may have a head of its own though its config.json says it is the embedding.
TEST_F(Convert, AHeadOfItsOwnComesAlongThoughTheConfigTiesIt) {
  fs::copy(fs::path(source_dir()) / "tests/fixtures/hf/llama_2", directory("tied"));
  nlohmann::json config = config_of("tied");
  config["tie_word_embeddings"] = true;
  fs::remove(directory("tied") / "config.json");
  here_.file("tied-hf/config.json", config.dump());
  const Outcome back = convert_back("tied", "own");
  ASSERT_EQ(back.status, 0) << back.output;
  expect_same_weights(*open_model(here_.run("own")).decoder, *open_model(directory("tied")).decoder);
}

// transformers itself, where there is a Python with it: HEADROOM_PYTHON, or python3.
TEST_F(Convert, TransformersGivesTheSameLogitsStatesTextsAndTokens) {
  const char* named = std::getenv("HEADROOM_PYTHON");
  const std::string python = named == nullptr ? "python3" : named;
  if (shell(python + " -c 'import torch, transformers, h5py'").status != 0) {
    GTEST_SKIP() << "NOT CHECKED against transformers: " << python
                 << " has no torch, transformers and h5py; HEADROOM_PYTHON names another";
  }
  std::string pairs;
  const auto add = [&](const std::string& name) {
    const Outcome converted = convert(name);
    ASSERT_EQ(converted.status, 0) << converted.output;
    pairs += " " + directory(name).string() + " " + forward(here_.run(name), name + ".h5").string();
  };
  for (const Variant& variant : kVariants) {
    train(variant.name, std::string(kLarge) + variant.keys);
    add(variant.name);
  }
  for (const Demo& demo : kDemos) {
    train_demo(demo.name);
    add(demo.name);
  }
  const Tokenizer tokenizer = Tokenizer::load(here_ / "corpus");
  nlohmann::json texts;
  for (const char* text : {"the old river", " two  blanks ", "1234567890", "a line\nand\tanother\n\n",
                           "naïve café 漢字 😀", "UPPER lower MiXed", "...!?;:", "x", "\u00a0\u200b"}) {
    texts.push_back({{"text", text}, {"ids", tokenizer.encode(text)}});
  }
  const fs::path ids = here_.file("texts.json", texts.dump());
  const Outcome checked =
      shell("HF_HUB_OFFLINE=1 HF_MODULES_CACHE=" + (here_ / "modules").string() + " " + python + " " +
            (fs::path(source_dir()) / "tests/check_hf_export.py").string() + " --texts " + ids.string() + pairs);
  EXPECT_EQ(checked.status, 0) << checked.output;
  EXPECT_THAT(checked.output, HasSubstr(std::to_string(std::size(kVariants) + std::size(kDemos)) + " directories"));
}

}  // namespace
}  // namespace headroom::test
