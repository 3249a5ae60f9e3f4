// Event files read back by a small decoder of framing and protocol buffers, written from the format's description.
#include "trainer/tensorboard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <ctime>
#include <fstream>
#include <map>
#include <sstream>

#include "tests/base/file_size_limit.h"
#include "tests/base/write_failure.h"

namespace headroom {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Optional;
using ::testing::Pair;

TEST(Crc32c, KnownVectors) {
  // RFC 3720 (iSCSI), appendix B.4, and the usual check value.
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62A8AB43u);
  std::string ascending;
  for (char c = 0; c < 32; ++c) ascending += c;
  EXPECT_EQ(crc32c(ascending), 0x46DD794Eu);
  EXPECT_EQ(crc32c(""), 0u);
}

TEST(Crc32c, MaskRotatesAndAdds) {
  // 0xE3069283 rotated right by 15 is 0x2507C60D; plus 0xA282EAD8.
  EXPECT_EQ(masked_crc32c("123456789"), 0xC78AB0E5u);
  EXPECT_EQ(masked_crc32c(""), 0xA282EAD8u);
}

template <class T>
T load(std::string_view bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.substr(at, sizeof value).data(), sizeof value);
  return value;
}

// A message's fields in order: number and contents (for a varint, its value as 8 bytes).
using Fields = std::vector<std::pair<std::uint64_t, std::string>>;

std::uint64_t take_varint(std::string_view& bytes) {
  std::uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes.at(0));
    bytes.remove_prefix(1);
    value |= std::uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return value;
  }
}

Fields decode(std::string_view message) {
  Fields fields;
  while (!message.empty()) {
    const std::uint64_t key = take_varint(message);
    std::size_t size = 0;
    if (key % 8 == 0) {
      const std::uint64_t value = take_varint(message);
      fields.emplace_back(key / 8, std::string(reinterpret_cast<const char*>(&value), sizeof value));
      continue;
    }
    if (key % 8 == 1) size = 8;
    if (key % 8 == 5) size = 4;
    if (key % 8 == 2) size = take_varint(message);
    EXPECT_LE(size, message.size());
    fields.emplace_back(key / 8, message.substr(0, size));
    message.remove_prefix(size);
  }
  return fields;
}

// The payloads of a file, checksums checked.
std::vector<std::string> records(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  const std::string file = text.str();
  std::vector<std::string> payloads;
  for (std::size_t at = 0; at < file.size();) {
    const auto length = load<std::uint64_t>(file, at);
    EXPECT_EQ(load<std::uint32_t>(file, at + 8), masked_crc32c(file.substr(at, 8)));
    EXPECT_LE(at + 16 + length, file.size());
    payloads.push_back(file.substr(at + 12, length));
    EXPECT_EQ(load<std::uint32_t>(file, at + 12 + length), masked_crc32c(payloads.back()));
    at += 16 + length;
  }
  return payloads;
}

class Events : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("headroom-events-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST_F(Events, BeginWithTheVersionAndTheSession) {
  const EventWriter writer(folder_, 41);
  const auto payloads = records(writer.path());
  ASSERT_EQ(payloads.size(), 2u);
  const Fields version = decode(payloads[0]);
  ASSERT_EQ(version.size(), 3u);
  EXPECT_EQ(version[0].first, 1u);
  EXPECT_NEAR(load<double>(version[0].second, 0), static_cast<double>(std::time(nullptr)), 5.0);
  EXPECT_THAT(version[2], Pair(3u, "brain.Event:2"));
  const Fields session = decode(payloads[1]);
  EXPECT_EQ(load<std::int64_t>(session[1].second, 0), 42);  // what is there of step 42 and later no longer counts
  EXPECT_EQ(session[2].first, 7u);
  EXPECT_EQ(load<std::int64_t>(decode(session[2].second)[0].second, 0), 1);  // START
}

TEST_F(Events, HoldEveryScalarOfAStep) {
  EventWriter writer(folder_, 0);
  // A tag so long that its length needs two bytes, and a step that needs several.
  const std::string long_tag = "layer_max/" + std::string(150, 'x');
  writer.write(1'000'003, {{"loss", 3.25}, {long_tag, -1e-3}});
  const auto payloads = records(writer.path());
  ASSERT_EQ(payloads.size(), 3u);
  const Fields event = decode(payloads[2]);
  ASSERT_EQ(event.size(), 3u);
  EXPECT_EQ(event[1].first, 2u);
  EXPECT_EQ(load<std::int64_t>(event[1].second, 0), 1'000'003);
  ASSERT_EQ(event[2].first, 5u);
  std::map<std::string, float> scalars;
  for (const auto& [number, value] : decode(event[2].second)) {
    EXPECT_EQ(number, 1u);
    const Fields fields = decode(value);
    ASSERT_EQ(fields.size(), 2u);
    EXPECT_EQ(fields[0].first, 1u);
    EXPECT_EQ(fields[1].first, 2u);
    scalars[fields[0].second] = load<float>(fields[1].second, 0);
  }
  EXPECT_THAT(scalars, ElementsAre(Pair(long_tag, -1e-3f), Pair("loss", 3.25f)));
}

TEST_F(Events, TwoWritersOfOneSecondHaveFilesOfTheirOwn) {
  const EventWriter first(folder_, 0);
  const EventWriter second(folder_, 0);
  EXPECT_NE(first.path(), second.path());
  EXPECT_NE(first.path().filename().string().find("tfevents"), std::string::npos);
}

TEST_F(Events, BeginOnAFullDiskAsWell) {
  const test::FileSizeLimit limit(10);
  EventWriter writer(folder_, 0);  // the file is there, its first events do not fit
  writer.write(1, {{"loss", 3.0}});
  EXPECT_THAT(writer.trouble(), Optional(HasSubstr("3 records wait")));
  EXPECT_THAT(test::failure([&] { writer.sync(); }), HasSubstr("tfevents"));
  EXPECT_TRUE(records(writer.path()).empty());
}

TEST_F(Events, AreWholeAndInOrderAfterTrouble) {
  EventWriter writer(folder_, 0);
  {
    const test::FileSizeLimit limit(std::filesystem::file_size(writer.path()) + 20);  // half an event would fit
    writer.write(1, {{"loss", 3.0}});
  }
  EXPECT_EQ(records(writer.path()).size(), 2u);
  std::filesystem::rename(folder_, folder_.string() + "-away");
  writer.write(2, {{"loss", 2.0}});
  EXPECT_THAT(writer.trouble(), Optional(HasSubstr("2 records wait")));
  std::filesystem::rename(folder_.string() + "-away", folder_);
  writer.sync();
  EXPECT_EQ(writer.trouble(), std::nullopt);
  const auto payloads = records(writer.path());
  ASSERT_EQ(payloads.size(), 4u);
  for (const std::size_t step : {1, 2}) {
    EXPECT_EQ(load<std::uint64_t>(decode(payloads[step + 1])[1].second, 0), step);
  }
}

TEST(ScalarsOf, FlattensAMetricsRecord) {
  const nlohmann::ordered_json record = {{"step", 3},
                                         {"loss", 2.5},
                                         {"clipped", true},
                                         {"batch_crc", "0badcafe"},
                                         {"layer_max", {1.0, 2.0}},
                                         {"dyt_alpha", {{0.5, 0.25}}},
                                         {"eval", {{"loss", 3.0}, {"perplexity", nullptr}}}};
  EXPECT_THAT(scalars_of(record),
              ElementsAre(Pair("loss", 2.5), Pair("clipped", 1.0), Pair("layer_max/00", 1.0), Pair("layer_max/01", 2.0),
                          Pair("dyt_alpha/00/0", 0.5), Pair("dyt_alpha/00/1", 0.25), Pair("eval/loss", 3.0)));
}

}  // namespace
}  // namespace headroom
