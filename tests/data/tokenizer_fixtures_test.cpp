// Every family's tokenizer gives the ids of Hugging Face's own library (tests/fixtures/make_tokenizer_fixtures.py).
#include <array>
#include <nlohmann/json.hpp>
#include <thread>

#include "data/tokenizer.h"
#include "data/utf8.h"
#include "tests/data/support.h"
#include "tests/source_dir.h"

namespace headroom {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<std::int32_t>;

fs::path fixtures() {
  return fs::path(test::source_dir()) / "tests/fixtures/tokenizers";
}

const std::vector<std::string>& strings() {
  static const auto all = nlohmann::json::parse(test::content_of(fixtures() / "strings.json"))
                              .at("strings")
                              .get<std::vector<std::string>>();
  return all;
}

struct Expected {
  std::vector<Ids> ids, with_special;
  std::vector<std::string> decoded;
  std::optional<std::int32_t> bos;

  explicit Expected(const std::string& name) {
    const auto json = nlohmann::json::parse(test::content_of(fixtures() / name / "expected.json"));
    ids = json.at("ids").get<std::vector<Ids>>();
    with_special = json.at("with_special").get<std::vector<Ids>>();
    decoded = json.at("decoded").get<std::vector<std::string>>();
    if (!json.at("bos").is_null()) bos = json.at("bos").get<std::int32_t>();
  }
};

class TokenizerFixtures : public testing::TestWithParam<std::string> {};

TEST_P(TokenizerFixtures, GiveTheLibrarysIdsAndText) {
  const Expected expected(GetParam());
  const Tokenizer tokenizer = Tokenizer::load(fixtures() / GetParam());
  ASSERT_EQ(expected.ids.size(), strings().size());
  for (std::size_t i = 0; i < strings().size(); ++i) {
    SCOPED_TRACE(testing::PrintToString(strings()[i]));
    EXPECT_EQ(tokenizer.encode(strings()[i]), expected.ids[i]);
    EXPECT_EQ(tokenizer.encode(strings()[i]), expected.ids[i]) << "the second time";  // words come from the cache
    EXPECT_EQ(tokenizer.encode_with_special(strings()[i]), expected.with_special[i]);
    EXPECT_EQ(tokenizer.decode(expected.ids[i]), expected.decoded[i]);
  }
}

TEST_P(TokenizerFixtures, KnowTheirBos) {
  const Expected expected(GetParam());
  const Tokenizer tokenizer = Tokenizer::load(fixtures() / GetParam());
  ASSERT_EQ(tokenizer.has_bos(), expected.bos.has_value());
  if (expected.bos) {
    EXPECT_EQ(tokenizer.bos(), *expected.bos);
  } else {
    test::expect_error([&] { tokenizer.bos(); }, ExitCode::bad_data, {GetParam(), "no BOS"});
  }
}

TEST_P(TokenizerFixtures, HavePiecesThatCanBeRead) {
  const Tokenizer tokenizer = Tokenizer::load(fixtures() / GetParam());
  ASSERT_GT(tokenizer.vocab_size(), 300);
  for (std::int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string piece = tokenizer.piece(id);
    EXPECT_FALSE(piece.empty()) << id;
    EXPECT_EQ(valid_utf8_prefix(piece), piece.size()) << id;
  }
  test::expect_error([&] { tokenizer.piece(tokenizer.vocab_size()); }, ExitCode::bad_data, {"outside"});
}

TEST_P(TokenizerFixtures, MayBeUsedBySeveralThreads) {
  const Expected expected(GetParam());
  const Tokenizer tokenizer = Tokenizer::load(fixtures() / GetParam());
  std::array<int, 4> wrong{};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < strings().size(); ++i) {
        const std::size_t which = (i * 7 + t * 13) % strings().size();
        wrong[t] += tokenizer.encode(strings()[which]) != expected.ids[which];
        wrong[t] += tokenizer.decode(expected.ids[which]) != expected.decoded[which];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, (std::array<int, 4>{}));
}

std::vector<std::string> names() {
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(fixtures())) {
    if (entry.is_directory()) found.push_back(entry.path().filename().string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

INSTANTIATE_TEST_SUITE_P(Data, TokenizerFixtures, testing::ValuesIn(names()), [](const auto& tested) {
  std::string name = tested.param;
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
});

}  // namespace
}  // namespace headroom
