#include "trainer/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <limits>
#include <sstream>

#include "base/error.h"
#include "tests/base/file_size_limit.h"
#include "tests/base/write_failure.h"

namespace headroom {
namespace {

using nlohmann::ordered_json;
using ::testing::HasSubstr;
using ::testing::Optional;

class Metrics : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("headroom-metrics-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
    file_ = folder_ / "metrics.jsonl";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string content() const {
    std::ostringstream text;
    text << std::ifstream(file_, std::ios::binary).rdbuf();
    return text.str();
  }
  void put(const std::string& text) const { std::ofstream(file_, std::ios::binary) << text; }

  std::filesystem::path folder_;
  std::filesystem::path file_;
};

TEST_F(Metrics, AreOneLineAStepInTheOrderGiven) {
  MetricsWriter metrics(file_, 0);
  metrics.write({{"run", {{"variant", "TVR"}}}});
  metrics.write({{"step", 1}, {"loss", 0.1 + 0.2}, {"clipped", false}, {"layer_max", {1.5, 2.0}}});
  EXPECT_EQ(content(),
            "{\"run\":{\"variant\":\"TVR\"}}\n"
            "{\"step\":1,\"loss\":0.30000000000000004,\"clipped\":false,\"layer_max\":[1.5,2.0]}\n");
}

TEST_F(Metrics, WriteNullForWhatIsNotFinite) {
  MetricsWriter metrics(file_, 0);
  metrics.write({{"loss", std::numeric_limits<double>::quiet_NaN()},
                 {"layer_max", {std::numeric_limits<double>::infinity(), 1.0}}});
  EXPECT_EQ(content(), "{\"loss\":null,\"layer_max\":[null,1.0]}\n");
}

TEST_F(Metrics, KeepALineWithAStrayByte) {
  MetricsWriter metrics(file_, 0);
  metrics.write({{"text", "a\xff"}});
  EXPECT_TRUE(ordered_json::accept(content()));
}

TEST_F(Metrics, ResumingDropsLaterStepsAndAnUnfinishedLine) {
  put("{\"run\":{}}\n{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"step\":4,\"lo");
  MetricsWriter metrics(file_, 2);
  EXPECT_EQ(content(), "{\"run\":{}}\n{\"step\":1}\n{\"step\":2}\n");
  metrics.write({{"step", 3}});
  EXPECT_EQ(content(), "{\"run\":{}}\n{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n");
}

TEST_F(Metrics, StartingFromTheStartBeginsAnew) {
  put("{\"run\":{}}\n{\"step\":1}\n");
  MetricsWriter metrics(file_, 0);
  EXPECT_EQ(content(), "");
}

TEST_F(Metrics, ResumingWithoutAFileMakesOne) {
  MetricsWriter metrics(file_, 7);
  EXPECT_EQ(content(), "");
}

TEST_F(Metrics, AFileOfAnotherKindIsRefusedAndLeftAlone) {
  for (const std::string foreign : {"{\"step\":1}\nhello\n", "3\n", "{\"step\":\"x\"}\n"}) {
    put(foreign);
    try {
      const MetricsWriter metrics(file_, 5);
      FAIL() << foreign;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_checkpoint);
      EXPECT_THAT(error.what(), HasSubstr("is no metrics record"));
    }
    EXPECT_EQ(content(), foreign);
  }
}

// The record of every step is there in the end, once and in its place, whatever became of the disk meanwhile.
TEST_F(Metrics, WaitForADiskThatIsFull) {
  MetricsWriter metrics(file_, 0);
  metrics.write({{"step", 1}});
  EXPECT_EQ(metrics.trouble(), std::nullopt);
  {
    const test::FileSizeLimit limit(15);
    metrics.write({{"step", 2}});
    metrics.write({{"step", 3}});
    EXPECT_THAT(metrics.trouble(), Optional(HasSubstr("2 records wait")));
    EXPECT_THAT(test::failure([&] { metrics.sync(); }), HasSubstr("metrics.jsonl"));
  }
  EXPECT_EQ(content(), "{\"step\":1}\n");
  metrics.sync();
  EXPECT_EQ(metrics.trouble(), std::nullopt);
  EXPECT_EQ(content(), "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n");
}

TEST_F(Metrics, WaitForADirectoryThatVanished) {
  MetricsWriter metrics(file_, 0);
  metrics.write({{"step", 1}});
  std::filesystem::remove_all(folder_);
  metrics.write({{"step", 2}});
  EXPECT_THAT(metrics.trouble(), Optional(HasSubstr("No such file")));
  std::filesystem::create_directories(folder_);
  metrics.write({{"step", 3}});
  EXPECT_EQ(metrics.trouble(), std::nullopt);
  EXPECT_EQ(content(), "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n");
}

// What a checkpoint knows of the file is found again, also behind later records and a killed run's half line; a file
// whose beginning is another is refused, one that is not there is begun anew.
TEST_F(Metrics, ABeginningThatWasChangedIsRefused) {
  MetricsPrefix prefix;
  {
    MetricsWriter metrics(file_, 0);
    metrics.write({{"run", "a"}});
    metrics.write({{"step", 1}, {"loss", 2.5}});
    prefix = metrics.prefix();
    EXPECT_EQ(prefix.bytes, content().size());
    metrics.write({{"step", 2}, {"loss", 2.25}});
  }
  const std::string whole = content();
  put(whole + "{\"step\":3,\"lo");
  {
    const MetricsWriter metrics(file_, 1, prefix);
    EXPECT_EQ(metrics.prefix().bytes, prefix.bytes);
    EXPECT_EQ(metrics.prefix().hash, prefix.hash);
  }
  for (std::size_t place = 0; place < prefix.bytes; place += 5) {
    std::string changed = whole;
    changed[place] = static_cast<char>(changed[place] ^ 1);
    put(changed);
    try {
      const MetricsWriter metrics(file_, 1, prefix);
      ADD_FAILURE() << "byte " << place;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_checkpoint);
      EXPECT_THAT(error.what(), HasSubstr("is not as it was when the checkpoint was made"));
    }
    EXPECT_EQ(content(), changed) << "what is refused stays";
  }
  put(whole.substr(0, prefix.bytes - 1));
  EXPECT_THROW(MetricsWriter(file_, 1, prefix), Error);
  std::filesystem::remove(file_);
  EXPECT_EQ(MetricsWriter(file_, 1, prefix).prefix().bytes, 0U);
}

TEST_F(Metrics, AnEventGoesWithTheStepsBehindIt) {
  const std::string event = "{\"event\":\"rollback\",\"before_step\":3}\n";
  const std::string lines = "{\"step\":1}\n{\"step\":2}\n" + event + "{\"step\":3}\n";
  put(lines);
  { const MetricsWriter metrics(file_, 3); }
  EXPECT_EQ(content(), lines);
  { const MetricsWriter metrics(file_, 2); }
  EXPECT_EQ(content(), "{\"step\":1}\n{\"step\":2}\n");
}

}  // namespace
}  // namespace headroom
