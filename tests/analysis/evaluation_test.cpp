// Scores, perplexity and tasks against lm-evaluation-harness and transformers (tests/fixtures/eval, made by
// make_eval_fixtures.py), and each part against its definition.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "analysis/evaluation/choice_task.h"
#include "analysis/evaluation/decoder_scorer.h"
#include "analysis/evaluation/perplexity.h"
#include "analysis/evaluation/results_json.h"
#include "analysis/evaluation/row_scores.h"
#include "base/error.h"
#include "base/file.h"
#include "model/huggingface/source.h"
#include "tests/scratch.h"
#include "tests/source_dir.h"

namespace headroom::evaluation {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

fs::path fixtures() {
  return fs::path(test::source_dir()) / "tests/fixtures/eval";
}

// A fixture's model with its tokenizer.
struct Model {
  explicit Model(const std::string& name)
      : directory(fixtures() / name),
        decoder(huggingface::read_config(directory), huggingface::open_checkpoint(directory).weights),
        tokenizer(Tokenizer::load(directory)) {}

  json expected() const { return json::parse(read_file(directory / "expected.json")); }

  fs::path directory;
  decoder::Decoder decoder;
  Tokenizer tokenizer;
};

class Harness : public testing::TestWithParam<std::string> {};

TEST_P(Harness, GivesTheSameLogLikelihoodsAndMetrics) {
  Model model(GetParam());
  DecoderScorer scorer(model.decoder, 300);
  std::size_t runs = 0;
  std::size_t cut = 0;
  std::size_t greedy = 0;
  const json all = model.expected();
  for (const json& run : all["tasks"]) {
    const auto name = run["task"].get<std::string>();
    const bool no_bos = run["no_bos"].get<bool>();
    SCOPED_TRACE(name + (no_bos ? " without BOS" : ""));
    const TextEncoding encoding(model.tokenizer, no_bos ? SpecialTokens::none : SpecialTokens::convention);
    const Task task = read_task(fixtures() / "tasks" / (name + ".jsonl"), 0);
    const std::int64_t window =
        run["window"].is_null() ? model.decoder.config().max_positions : run["window"].get<std::int64_t>();
    const TaskResult result = evaluate_task(prepare_task(task, name, encoding, window), scorer, {});
    ASSERT_EQ(result.items.size(), run["lls"].size());
    for (std::size_t i = 0; i < result.items.size(); ++i) {
      const ItemScores& scores = result.items[i];
      ASSERT_EQ(scores.log_likelihoods.size(), run["lls"][i].size());
      for (std::size_t choice = 0; choice < scores.log_likelihoods.size(); ++choice) {
        EXPECT_NEAR(scores.log_likelihoods[choice], run["lls"][i][choice].get<double>(), 1e-4)
            << "item " << i << ", choice " << choice;
        EXPECT_EQ(scores.greedy[choice], run["greedy"][i][choice].get<bool>()) << "item " << i << ", choice " << choice;
        greedy += scores.greedy[choice] ? 1 : 0;
      }
      cut += scores.cut ? 1 : 0;
    }
    for (const Metric& metric : result.metrics) {
      // The harness calls TruthfulQA's mc2 "acc", too; not every task of its asks for every metric.
      const std::string theirs = metric.name == "mc2" ? "acc" : metric.name;
      if (!run["metrics"].contains(theirs)) continue;
      if (metric.name == "mc2") {
        EXPECT_NEAR(metric.value, run["metrics"][theirs].get<double>(), 1e-5);
        EXPECT_NEAR(metric.standard_error.value(), run["metrics"][theirs + "_stderr"].get<double>(), 1e-5);
      } else {
        EXPECT_DOUBLE_EQ(metric.value, run["metrics"][theirs].get<double>()) << metric.name;
        EXPECT_NEAR(metric.standard_error.value(), run["metrics"][theirs + "_stderr"].get<double>(), 1e-9);
      }
      ++runs;
    }
  }
  EXPECT_GE(runs, 30U);
  EXPECT_GT(cut, 10U);     // TruthfulQA's prompt is longer than the model reads
  EXPECT_GT(greedy, 10U);  // the fixture would not show a wrong argmax otherwise
}

TEST_P(Harness, SlidingWindowsOfTransformersHaveTheSameLoss) {
  Model model(GetParam());
  DecoderScorer scorer(model.decoder, 0);
  const TextEncoding encoding(model.tokenizer, SpecialTokens::convention);
  const json all = model.expected();
  for (const json& expected : all["sliding"]) {
    PerplexityOptions options;
    options.window = expected["window"].get<std::int64_t>();
    options.stride = expected["stride"].get<std::int64_t>();
    SCOPED_TRACE(fmt::format("{}/{}", options.window, options.stride));
    const PerplexityResult result = perplexity(fixtures() / "text.txt", encoding, options, scorer, {});
    EXPECT_EQ(result.tokens, expected["tokens"].get<std::int64_t>());
    EXPECT_EQ(result.scored, expected["scored"].get<std::int64_t>());
    EXPECT_NEAR(result.nll / expected["nll"].get<double>(), 1.0, 1e-6);
    EXPECT_NEAR(result.perplexity(), std::exp(expected["nll"].get<double>() / static_cast<double>(result.scored)),
                1e-4 * result.perplexity());
  }
}

TEST_P(Harness, PackedDocumentsHaveTheLossOfTransformers) {
  Model model(GetParam());
  DecoderScorer scorer(model.decoder, 0);
  const TextEncoding encoding(model.tokenizer, SpecialTokens::convention);
  const json all = model.expected();
  for (const json& expected : all["packed"]) {
    PerplexityOptions options;
    options.kind = PerplexityKind::packed;
    options.window = expected["window"].get<std::int64_t>();
    const PerplexityResult result = perplexity(fixtures() / "text.txt", encoding, options, scorer, {});
    EXPECT_EQ(result.documents, expected["documents"].get<std::int64_t>());
    EXPECT_EQ(result.tokens, expected["tokens"].get<std::int64_t>());
    EXPECT_EQ(result.scored, expected["scored"].get<std::int64_t>());
    EXPECT_EQ(result.text_bytes, expected["text_bytes"].get<std::int64_t>());
    EXPECT_NEAR(result.nll / expected["nll"].get<double>(), 1.0, 1e-6);
    // All of the text is scored: only the stream's first token, a BOS, is not.
    EXPECT_DOUBLE_EQ(result.scored_bytes, static_cast<double>(result.text_bytes));
    EXPECT_NEAR(result.bits_per_byte(), result.nll / std::log(2.0) / static_cast<double>(result.text_bytes), 1e-12);
  }
}

INSTANTIATE_TEST_SUITE_P(OfModels, Harness, testing::Values("gpt2", "llama"),
                         [](const auto& instance) { return instance.param; });

// ---- the scorer --------------------------------------------------------------------------------------------------

using Scores = std::vector<std::vector<TokenScore>>;

Scores scores_of(Model& model, const std::vector<Passage>& passages, std::int64_t batch_tokens) {
  DecoderScorer scorer(model.decoder, batch_tokens);
  Scores all(passages.size());
  std::uint64_t last = 0;
  std::uint64_t total = 0;
  scorer.score(
      passages,
      [&](std::size_t passage, std::span<const TokenScore> scores) {
        EXPECT_TRUE(all[passage].empty()) << "taken twice";
        all[passage].assign(scores.begin(), scores.end());
      },
      [&](std::uint64_t done, std::uint64_t of) {
        EXPECT_GE(done, last);
        last = done;
        total = of;
      });
  EXPECT_EQ(last, total) << "what was announced and what was done";
  return all;
}

std::vector<Passage> random_passages() {
  std::mt19937 random(1);
  std::vector<Passage> passages;
  for (int i = 0; i < 40; ++i) {
    Passage passage;
    const std::size_t length = 2 + random() % 30;
    // Few ids, so that many begin alike; some are each other's beginning, some the same.
    for (std::size_t t = 0; t < length; ++t) passage.tokens.push_back(static_cast<std::int32_t>(5 + random() % 2));
    passage.first = 1 + random() % (length - 1);
    passages.push_back(passage);
  }
  for (std::size_t i = 0; i < 8; ++i) {
    Passage beginning = passages[i];
    if (beginning.tokens.size() > 3) beginning.tokens.resize(beginning.tokens.size() - 1);
    beginning.first = 1;
    passages.push_back(beginning);
    passages.push_back(passages[i]);
    beginning.tokens.back() = 77;
    passages.push_back(beginning);
  }
  return passages;
}

TEST(DecoderScorer, GivesWhatTheWholeLogitsGiveHoweverPassagesAreBatched) {
  Model model("llama");
  const std::int64_t vocab = model.decoder.config().vocab_size;
  const std::vector<Passage> passages = random_passages();
  Scores expected;
  for (const Passage& passage : passages) {
    const std::vector<decoder::Sequence> one{passage.tokens};
    decoder::States states = model.decoder.embed(one);
    for (std::int64_t layer = 0; layer < model.decoder.config().n_layers; ++layer) {
      model.decoder.apply(layer, states, nullptr);
    }
    std::vector<float> logits(static_cast<std::size_t>(states.rows() * vocab));
    model.decoder.each_logits(model.decoder.finish(states, nullptr), [&](const decoder::Decoder::LogitsBlock& block) {
      for (std::int64_t row = 0; row < block.logits.rows(); ++row) {
        std::copy_n(block.logits.data<float>() + row * block.logits.columns(), block.logits.columns(),
                    logits.data() + (block.first_row + row) * vocab + block.first_id);
      }
    });
    expected.emplace_back();
    for (std::size_t token = passage.first; token < passage.tokens.size(); ++token) {
      const float* row = logits.data() + static_cast<std::int64_t>(token - 1) * vocab;
      const float* const largest = std::max_element(row, row + vocab);
      double sum = 0.0;
      for (std::int64_t id = 0; id < vocab; ++id) sum += std::exp(double{row[id]} - double{*largest});
      const std::int32_t id = passage.tokens[token];
      expected.back().push_back({double{row[id]} - double{*largest} - std::log(sum), largest - row == id});
    }
  }
  for (const std::int64_t batch_tokens : {1, 37, 100000}) {
    const Scores found = scores_of(model, passages, batch_tokens);
    for (std::size_t i = 0; i < passages.size(); ++i) {
      ASSERT_EQ(found[i].size(), expected[i].size()) << i;
      for (std::size_t t = 0; t < found[i].size(); ++t) {
        EXPECT_NEAR(found[i][t].log_prob, expected[i][t].log_prob, 2e-5) << i << " " << t;
        EXPECT_EQ(found[i][t].is_argmax, expected[i][t].is_argmax) << i << " " << t;
      }
    }
    // Equal passages, equal bits.
    for (std::size_t i = 0; i < 8; ++i) {
      for (std::size_t t = 0; t < found[i].size(); ++t) {
        EXPECT_EQ(found[i][t].log_prob, found[40 + 3 * i + 1][t].log_prob);
      }
    }
  }
}

TEST(DecoderScorer, AnIdBeyondTheVocabularyIsRefusedAlsoAsTheLast) {
  Model model("llama");
  for (const std::vector<std::int32_t>& tokens : {std::vector<std::int32_t>{1, 2, 100000}, {1, -1}, {1, 100000, 2}}) {
    try {
      scores_of(model, {{tokens, 1}}, 0);
      ADD_FAILURE() << "scored";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_data);
      EXPECT_THAT(error.what(), HasSubstr("of a vocabulary of"));
    }
  }
}

// Logits in blocks against all at once: large ones, ties, more than one target a row.
TEST(RowScores, BlocksGiveTheSoftmaxOfTheWholeRow) {
  const std::int64_t rows = 3;
  const std::int64_t ids = 13;
  std::vector<float> logits(static_cast<std::size_t>(rows * ids));
  std::mt19937 random(2);
  for (float& logit : logits) logit = std::normal_distribution<float>(0.0F, 30.0F)(random);
  logits[0 * 13 + 3] = logits[0 * 13 + 9] = 300.0F;  // the same largest twice: the first counts
  std::fill_n(logits.begin() + 13, 5, -1000.0F);     // a block far below the others
  const std::vector<RowScores::Target> targets{{0, 3}, {0, 9}, {1, 12}, {2, 0}, {2, 5}};
  for (const std::int64_t width : {1, 5, 13}) {
    RowScores scores(rows, targets);
    for (std::int64_t first = 0; first < ids; first += width) {
      const std::int64_t count = std::min(width, ids - first);
      for (std::int64_t row = 0; row < rows; ++row) {  // a row at a time
        std::vector<float> block(logits.begin() + row * ids + first, logits.begin() + row * ids + first + count);
        scores.take({row, first, Tensor::over(std::span<float>(block), {1, count})});
      }
    }
    for (std::size_t i = 0; i < targets.size(); ++i) {
      const float* const row = logits.data() + targets[i].row * ids;
      const float* const largest = std::max_element(row, row + ids);
      double sum = 0.0;
      for (std::int64_t id = 0; id < ids; ++id) sum += std::exp(double{row[id]} - double{*largest});
      EXPECT_NEAR(scores.score(i).log_prob, double{row[targets[i].id]} - double{*largest} - std::log(sum), 1e-6);
      EXPECT_EQ(scores.score(i).is_argmax, largest - row == targets[i].id) << width << " " << i;
    }
  }
}

// ---- windows -----------------------------------------------------------------------------------------------------

TEST(Windows, EveryTokenButTheFirstIsScoredOnceByEnoughOthers) {
  for (const std::int64_t count : {2, 3, 16, 17, 31, 32, 33, 100}) {
    for (const std::int64_t stride : {1, 3, 7, 8, 15}) {
      std::vector<int> scored(static_cast<std::size_t>(count), 0);
      for (const Window& window : windows_of(count, {PerplexityKind::sliding, 16, stride, 0})) {
        EXPECT_LE(window.end - window.begin, 16);
        for (std::int64_t token = window.first_scored; token < window.end; ++token) {
          ++scored[static_cast<std::size_t>(token)];
          EXPECT_GE(token - window.begin, std::min<std::int64_t>(token, 16 - stride)) << count << " " << stride;
        }
      }
      EXPECT_EQ(scored[0], 0);
      EXPECT_THAT(std::vector<int>(scored.begin() + 1, scored.end()), testing::Each(1)) << count << " " << stride;
    }
    std::int64_t next = 1;
    for (const Window& window : windows_of(count, {PerplexityKind::packed, 16, 0, 0})) {
      EXPECT_EQ(window.begin, next - 1);
      EXPECT_EQ(window.first_scored, next);
      EXPECT_LE(window.end - window.begin, 17);
      next = window.end;
    }
    EXPECT_EQ(next, count);
  }
  EXPECT_TRUE(windows_of(1, {PerplexityKind::sliding, 16, 8, 0}).empty());
  EXPECT_EQ(windows_of(1000, {PerplexityKind::packed, 16, 0, 3}).size(), 3U);
}

// ---- texts -------------------------------------------------------------------------------------------------------

TEST(TrailingSpace, IsThatOfPython) {
  EXPECT_EQ(trailing_space(""), 0U);
  EXPECT_EQ(trailing_space(" \t\r\n"), 0U);
  EXPECT_EQ(trailing_space("a b  "), 3U);
  EXPECT_EQ(trailing_space("a\x1c\x1f\v\f"), 1U);
  EXPECT_EQ(trailing_space("a\u0085\u00a0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000"), 1U);
  for (const char* kept : {"a\u200b", "a\u180e", "a\ufeff", "a\u2060", "\u00e9", "\U0001f600", "a\x1b", "a\xa0"}) {
    EXPECT_EQ(trailing_space(kept), std::string_view(kept).size()) << kept;
  }
  EXPECT_EQ(characters("na\u00efve \U0001f600"), 7);
}

TEST(TextEncoding, BosIsPutWhereItIsAskedFor) {
  const Tokenizer gpt2 = Tokenizer::load(fixtures() / "gpt2");
  const Tokenizer llama = Tokenizer::load(fixtures() / "llama");
  const std::vector<std::int32_t> plain = gpt2.encode("It is");
  std::vector<std::int32_t> with_bos = plain;
  with_bos.insert(with_bos.begin(), gpt2.bos());
  EXPECT_EQ(TextEncoding(gpt2, SpecialTokens::convention).encode("It is"), plain);
  EXPECT_EQ(TextEncoding(gpt2, SpecialTokens::none).encode("It is"), plain);
  EXPECT_EQ(TextEncoding(gpt2, SpecialTokens::bos).encode("It is"), with_bos);
  EXPECT_EQ(TextEncoding(llama, SpecialTokens::convention).encode("It is"), llama.encode_with_special("It is"));
  EXPECT_EQ(TextEncoding(llama, SpecialTokens::convention).encode("<s>It is"), llama.encode("<s>It is"));
  EXPECT_EQ(TextEncoding(llama, SpecialTokens::bos).encode("<s>It is"), llama.encode("<s>It is"));
  EXPECT_EQ(TextEncoding(llama, SpecialTokens::none).encode("It is"), llama.encode("It is"));
}

TEST(TextEncoding, WithoutContextThereIsBosFailingThatEosFailingThatNothing) {
  const test::Scratch scratch;
  const fs::path qwen = fs::path(test::source_dir()) / "tests/fixtures/tokenizers/qwen-2";
  fs::copy_file(qwen / "tokenizer.json", scratch / "tokenizer.json");
  scratch.file("tokenizer_config.json", R"({"bos_token": null, "eos_token": "<|endoftext|>"})");
  const Tokenizer tokenizer = Tokenizer::load(scratch.path());
  ASSERT_FALSE(tokenizer.has_bos());
  ASSERT_TRUE(tokenizer.eos().has_value());
  const TextEncoding encoding(tokenizer, SpecialTokens::convention);
  EXPECT_THAT(encoding.encode("", " yes").context, testing::ElementsAre(*tokenizer.eos()));
  EXPECT_EQ(encoding.encode("", " yes").continuation, tokenizer.encode(" yes"));
  EXPECT_THROW(TextEncoding(tokenizer, SpecialTokens::bos), Error);
}

// ---- tasks -------------------------------------------------------------------------------------------------------

TEST(TaskFile, EveryComplaintNamesFileAndLine) {
  const std::string good = R"({"context": "c", "choices": ["a", "b"], "answer": 1})"
                           "\n\n";
  const std::pair<const char*, const char*> cases[] = {
      {"nonsense", "is no JSON"},
      {"[1]", "is no JSON object"},
      {R"({"context": "c", "choices": ["a", "b"]})", "has no \"answer\""},
      {R"({"choices": ["a", "b"], "answer": 0})", "has no \"context\""},
      {R"({"context": "c", "answer": 0})", "has no \"choices\""},
      {R"({"context": 1, "choices": ["a", "b"], "answer": 0})", "no text"},
      {R"({"context": "c", "choices": ["a"], "answer": 0})", "at least 2"},
      {R"({"context": "c", "choices": ["a", ""], "answer": 0})", "empty text"},
      {R"({"context": "c", "choices": ["a", 2], "answer": 0})", "no list of texts"},
      {R"({"context": "c", "choices": "ab", "answer": 0})", "no list"},
      {R"({"context": "c", "choices": ["a", "b"], "answer": 2})", "from 0 to 1"},
      {R"({"context": "c", "choices": ["a", "b"], "answer": -1})", "from 0 to 1"},
      {R"({"context": "c", "choices": ["a", "b"], "answer": 0.0})", "from 0 to 1"},
      {R"({"context": "c", "choices": ["a", "b"], "answer": "0"})", "from 0 to 1"},
      {R"({"context": "c", "choices": ["a", "b"], "answer": 18446744073709551616})", "from 0 to 1"},
      {R"({"context": "c", "choices": ["a", "b"], "answer": []})", "empty \"answer\""},
      {R"({"context": "c", "choices": ["a", "b"], "anwser": 0})", "unknown key 'anwser'"},
      {R"({"context": "c", "choices": ["a", "b"], "answer": 0, "labels": [1, 0]})", "both"},
      {R"({"contexts": ["c", "d"], "choices": ["a", "b"], "answer": 0})", "both"},
      {R"({"contexts": ["c", "d"], "continuation": "x", "answer": 0})", "has the form \"contexts\", line 1"},
      {R"({"context": "c", "choices": ["a", "b"], "labels": [1, 0]})", "has the form \"labels\", line 1"},
      {R"({"context": "c", "choices": ["a", "b"], "answer": 0, "id": {}})", "id"},
      {"{\"context\": \"\xff\", \"choices\": [\"a\", \"b\"], \"answer\": 0}", "is no JSON"},
  };
  for (const auto& [line, complaint] : cases) {
    try {
      parse_task(good + line + "\n" + good, "folder/mine.jsonl", 0);
      ADD_FAILURE() << line;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_data);
      EXPECT_THAT(error.what(), AllOf(HasSubstr("folder/mine.jsonl line 3 "), HasSubstr(complaint))) << line;
    }
  }
  EXPECT_THROW(parse_task("\n \r\n", "empty.jsonl", 0), Error);
  EXPECT_THROW(parse_task(R"({"context": "c", "choices": ["a"], "labels": [1, 0]})", "l.jsonl", 0), Error);
  EXPECT_THROW(parse_task(R"({"context": "c", "choices": ["a"], "labels": [2]})", "l.jsonl", 0), Error);
  EXPECT_EQ(parse_task(good + "nonsense", "limited.jsonl", 1).items.size(), 1U);
  EXPECT_EQ(parse_task("\n\n" + good.substr(0, good.size() - 2) + "\r\n", "crlf.jsonl", 0).items[0].line, 3);
}

TEST(ChoiceTask, AnItemThatCannotBeScoredIsNamed) {
  Model model("gpt2");
  DecoderScorer scorer(model.decoder, 0);
  const TextEncoding encoding(model.tokenizer, SpecialTokens::convention);
  const auto complaint = [&](const std::string& line, std::int64_t window) -> std::string {
    try {
      evaluate_task(prepare_task(parse_task("\n" + line, "t.jsonl", 0), "t.jsonl", encoding, window), scorer, {});
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_data);
      return error.what();
    }
    return {};
  };
  EXPECT_THAT(complaint(R"({"context": "1,234,5", "choices": [" and", "67"], "answer": 0, "delimiter": ""})", 100),
              HasSubstr("t.jsonl line 2, choice 1: the continuation adds no token"));
  EXPECT_THAT(complaint(R"({"context": "  ", "choices": ["a", "b"], "answer": 0})", 100),
              HasSubstr("line 2, choice 0: a context without tokens"));
  EXPECT_THAT(complaint(R"({"context": "c", "choices": ["a", "the river carries old stories"], "answer": 0})", 5),
              HasSubstr("the model reads 5"));
  EXPECT_EQ(complaint(R"({"context": "c", "choices": ["a", "b"], "answer": 0})", 2), "");
}

TEST(ChoiceTask, MetricsAreTheirDefinitions) {
  Task task;
  task.items.resize(3);
  for (TaskItem& item : task.items) {
    item.characters = {2, 10};
    item.bytes = {20, 10};
    item.answers = {1};
  }
  task.items[2].answers = {0, 1};
  std::vector<ItemScores> scores(3);
  scores[0].log_likelihoods = {-4.0, -5.0};  // by sum 0, by character 1, by byte 0
  scores[1].log_likelihoods = {-3.0, -3.0};  // equal: the first; by character 1; by byte 0
  scores[2].log_likelihoods = {-1.0, -9.0};
  const std::vector<Metric> metrics = metrics_of(task, scores);
  ASSERT_EQ(metrics.size(), 3U);
  EXPECT_EQ(metrics[0].name, "acc");
  EXPECT_DOUBLE_EQ(metrics[0].value, 1.0 / 3.0);
  EXPECT_NEAR(metrics[0].standard_error.value(), std::sqrt(2.0 / 3.0 / 2.0) / std::sqrt(3.0), 1e-15);
  EXPECT_EQ(metrics[1].name, "acc_norm");
  EXPECT_DOUBLE_EQ(metrics[1].value, 1.0);
  EXPECT_DOUBLE_EQ(metrics[1].standard_error.value(), 0.0);
  EXPECT_EQ(metrics[2].name, "acc_bytes");
  EXPECT_DOUBLE_EQ(metrics[2].value, 1.0 / 3.0);
  EXPECT_FALSE(mean_of("one", {0.5}).standard_error.has_value());
  scores[1].log_likelihoods[1] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(std::isnan(metrics_of(task, scores)[0].value)) << "no choice is made among what cannot be compared";

  task.form = TaskForm::labels;
  task.items.resize(1);
  task.items[0].labels = {true, false};
  scores.resize(1);
  scores[0].log_likelihoods = {-2000.0, -2000.0 + std::log(3.0)};  // e^-2000 is no double
  EXPECT_NEAR(metrics_of(task, scores)[0].value, 0.25, 1e-12);
  const auto found = to_json(task, {scores, metrics_of(task, scores)});
  EXPECT_NEAR(found["metrics"]["mc2"].get<double>(), 0.25, 1e-12);
  EXPECT_TRUE(found["metrics"]["mc2_stderr"].is_null());
}

}  // namespace
}  // namespace headroom::evaluation
