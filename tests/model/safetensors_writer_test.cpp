// Files that the writer makes, through our own reader: values, formats, shards, and that none is seen unfinished.
#include "model/huggingface/safetensors_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "tensor/bf16.h"
#include "tensor/widen.h"
#include "tests/scratch.h"

namespace headroom::huggingface {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::vector<TensorShape> kTensors = {{"a", {3, 5}}, {"b.weight", {7}}, {"c", {1}}, {"d", {2, 4}}};

std::vector<float> counted(std::size_t count) {
  std::vector<float> numbers(count);
  std::iota(numbers.begin(), numbers.end(), 1.0F);
  return numbers;
}

TEST(SafetensorsWriter, NumbersComeBackWhateverThePiecesTheyWereGivenIn) {
  const std::vector<float> numbers = counted(31);
  std::string first;
  for (const std::size_t piece : {1U, 4U, 31U}) {
    const test::Scratch here;
    SafetensorsWriter writer(here / "model.safetensors", StoredType::f32, kTensors);
    for (std::size_t i = 0; i < numbers.size(); i += piece) {
      writer.write(std::span(numbers).subspan(i, std::min(piece, numbers.size() - i)));
    }
    EXPECT_FALSE(std::filesystem::exists(here / "model.safetensors"));
    writer.close();
    EXPECT_FALSE(std::filesystem::exists(here / "model.safetensors.partial"));
    const TensorFiles files(here.path());
    EXPECT_EQ(files.all().size(), kTensors.size());
    const StoredTensor& last = files.find("d", {2, 4});
    EXPECT_EQ(last.type, StoredType::f32);
    std::vector<float> read(8);
    __builtin_memcpy(read.data(), last.bytes.data(), last.bytes.size());
    EXPECT_EQ(read.front(), 24.0F);
    EXPECT_EQ(read.back(), 31.0F);
    const std::string bytes = test::content_of(here / "model.safetensors");
    if (first.empty()) first = bytes;
    EXPECT_EQ(bytes, first);
    EXPECT_EQ(writer.bytes(), bytes.size());
    std::uint64_t header = 0;
    __builtin_memcpy(&header, bytes.data(), sizeof header);
    EXPECT_EQ(header % 8, 0U);
    EXPECT_EQ(bytes.size(), 8 + header + 31 * 4);
  }
}

TEST(SafetensorsWriter, AFileThatIsNotClosedIsNeverSeen) {
  const test::Scratch here;
  { SafetensorsWriter writer(here / "model.safetensors", StoredType::f32, kTensors); }
  EXPECT_FALSE(std::filesystem::exists(here / "model.safetensors"));
  SafetensorsWriter writer(here / "model.safetensors", StoredType::f32, kTensors);
  EXPECT_THROW(writer.close(), Error);  // tensors are missing
  writer.write(counted(31));
  EXPECT_THROW(writer.write(counted(1)), Error);
}

TEST(SafetensorsWriter, NarrowFormatsRoundToNearest) {
  for (const StoredType type : {StoredType::f16, StoredType::bf16}) {
    const test::Scratch here;
    SafetensorsWriter writer(here / "model.safetensors", type, {{"x", {3}}});
    writer.write(std::vector<float>{1.0F, -1.0F / 3.0F, 1e-6F});
    writer.close();
    const TensorFiles files(here.path());
    const StoredTensor& stored = files.find("x", {3});
    EXPECT_EQ(stored.type, type);
    std::vector<std::uint16_t> halves(3);
    __builtin_memcpy(halves.data(), stored.bytes.data(), stored.bytes.size());
    std::vector<float> wide(3);
    type == StoredType::f16 ? widen_f16(halves.data(), 3, wide.data()) : widen_bf16(halves.data(), 3, wide.data());
    EXPECT_EQ(wide[0], 1.0F);
    EXPECT_NEAR(wide[1], -1.0F / 3.0F, type == StoredType::f16 ? 2e-4 : 1e-3);
    EXPECT_NEAR(wide[2], 1e-6F, 5e-8);
  }
}

TEST(SafetensorsWriter, WhatF16CannotHoldIsRefusedByName) {
  const test::Scratch here;
  SafetensorsWriter writer(here / "model.safetensors", StoredType::f16, {{"small", {1}}, {"large", {2}}});
  writer.write(std::vector<float>{65504.0F, std::numeric_limits<float>::infinity()});
  try {
    writer.write(std::vector<float>{-65520.0F});
    FAIL() << "it was written";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_data);
    EXPECT_THAT(error.what(), HasSubstr("'large'"));
  }
}

TEST(CheckpointWriter, SplitsBetweenTensorsAndNamesEachTensorsFile) {
  const test::Scratch here;
  const std::vector<float> numbers = counted(31);
  CheckpointWriter writer(here.path(), StoredType::f32, kTensors, 4 * 8);  // "a" alone is larger
  writer.write(std::span(numbers).first(2));
  writer.write(std::span(numbers).subspan(2));
  EXPECT_THAT(writer.close(), ElementsAre("model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
                                          "model-00003-of-00003.safetensors", "model.safetensors.index.json"));
  const auto index = nlohmann::json::parse(test::content_of(here / "model.safetensors.index.json"));
  EXPECT_EQ(index["metadata"]["total_size"], 31 * 4);
  EXPECT_EQ(index["weight_map"]["c"], "model-00002-of-00003.safetensors");
  EXPECT_EQ(index["weight_map"]["d"], "model-00003-of-00003.safetensors");
  const TensorFiles files(here.path());
  float c = 0.0F;
  __builtin_memcpy(&c, files.find("c", {1}).bytes.data(), sizeof c);
  EXPECT_EQ(c, 23.0F);
}

// Every half is its own nearest; ties go to even; what lies above half way to beyond the largest is infinity.
TEST(NarrowF16, IsTheInverseOfWidening) {
  for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    float wide = 0.0F;
    widen_f16(&half, 1, &wide);
    std::uint16_t back = 0;
    narrow_f16(&wide, 1, &back);
    if (std::isnan(wide)) {
      EXPECT_EQ(back & 0x7e00U, 0x7e00U);
      continue;
    }
    ASSERT_EQ(back, half) << bits;
    if ((half & 0x7fffU) >= 0x7bffU) continue;  // the largest has no next
    float next = 0.0F;
    const auto above = static_cast<std::uint16_t>(half + 1);
    widen_f16(&above, 1, &next);
    const float middle = (wide + next) / 2;  // exact
    narrow_f16(&middle, 1, &back);
    ASSERT_EQ(back, half % 2 == 0 ? half : above) << bits;
    const float nearer = std::nextafter(middle, next);
    narrow_f16(&nearer, 1, &back);
    ASSERT_EQ(back, above) << bits;
  }
  const float limits[] = {65519.996F, 65520.0F, -65520.0F};
  std::uint16_t halves[3];
  narrow_f16(limits, 3, halves);
  EXPECT_THAT(halves, ElementsAre(0x7bff, 0x7c00, 0xfc00));
}

}  // namespace
}  // namespace headroom::huggingface
