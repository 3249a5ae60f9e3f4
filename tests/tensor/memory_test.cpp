// Tensors as views, buffers as owners, arenas as plans that are carried out.
#include "tensor/memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/system.h"
#include "tests/tensor/reference.h"

// Under the address sanitizer an impossible allocation fails as it does without, instead of ending the program.
extern "C" const char* __asan_default_options();  // NOLINT(bugprone-reserved-identifier): the sanitizer's name
extern "C" const char* __asan_default_options() {
  return "allocator_may_return_null=1";
}

namespace headroom {
namespace {

TEST(Shape, CountsItsElementsAndWritesItselfOut) {
  EXPECT_EQ((Shape{8, 256, 384}.elements()), 8 * 256 * 384);
  EXPECT_EQ((Shape{7, 0}.elements()), 0);
  EXPECT_EQ(Shape().elements(), 1);
  EXPECT_EQ((Shape{8, 256, 384}.text()), "[8, 256, 384]");
  EXPECT_EQ(Shape().text(), "[]");
  EXPECT_EQ((Shape{2, 3}), (Shape{2, 3}));
  EXPECT_NE((Shape{2, 3}), (Shape{2, 3, 1}));
  EXPECT_EQ((Shape{1 << 20, 1 << 20}.elements()), std::int64_t{1} << 40);
}

TEST(Shape, RefusesNegativeExtentsAndMoreThanFourAxes) {
  EXPECT_THROW((Shape{2, -1}), Error);
  EXPECT_THROW((Shape{1, 1, 1, 1, 1}), Error);
}

TEST(Tensor, IsAViewOfNumbersKeptElsewhere) {
  std::vector<float> numbers = {1, 2, 3, 4, 5, 6};
  const Tensor tensor = Tensor::over(std::span<float>(numbers), {3, 2});
  EXPECT_TRUE(tensor.present());
  EXPECT_EQ(tensor.dtype(), DType::f32);
  EXPECT_EQ(tensor.rows(), 3);
  EXPECT_EQ(tensor.columns(), 2);
  EXPECT_EQ(tensor.bytes(), 24);
  tensor.data<float>()[3] = 40;
  EXPECT_EQ(numbers[3], 40.0f);
  EXPECT_THAT(tensor.row_range(1, 2).span<float>(), ::testing::ElementsAre(3, 40, 5, 6));
  EXPECT_EQ(tensor.row_range(1, 2).shape(), (Shape{2, 2}));
  EXPECT_THAT(tensor.flat_range(1, 3).span<float>(), ::testing::ElementsAre(2, 3, 40));
  EXPECT_EQ(tensor.reshaped({2, 3}).raw(), tensor.raw());
  EXPECT_EQ(tensor.reshaped({2, 3}).rows(), 2);
}

TEST(Tensor, TakesAllAxesButTheLastAsRows) {
  std::vector<double> numbers(30);
  const Tensor tensor = Tensor::over(std::span<double>(numbers), {2, 3, 5});
  EXPECT_EQ(tensor.rows(), 6);
  EXPECT_EQ(tensor.columns(), 5);
  EXPECT_EQ(tensor.flat_range(0, 30).rows(), 1);
}

TEST(Tensor, RefusesWhatDoesNotFit) {
  std::vector<float> numbers(6);
  const Tensor tensor = Tensor::over(std::span<float>(numbers), {3, 2});
  EXPECT_THROW(tensor.data<double>(), Error);
  EXPECT_THROW(static_cast<void>(tensor.reshaped({7})), Error);
  EXPECT_THROW(static_cast<void>(tensor.row_range(2, 2)), Error);
  EXPECT_THROW(static_cast<void>(tensor.row_range(-1, 2)), Error);
  EXPECT_THROW(static_cast<void>(tensor.flat_range(5, 2)), Error);
  EXPECT_THROW(static_cast<void>(Tensor::over(std::span<float>(numbers), {5})), Error);
  EXPECT_FALSE(Tensor().present());
}

TEST(Buffer, IsAlignedAndZeroed) {
  for (const std::size_t bytes : {std::size_t{4}, std::size_t{4099}, std::size_t{3} << 20}) {
    const Buffer buffer(bytes, Device::cpu, "a test");
    EXPECT_EQ(buffer.bytes(), bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 256, 0u);
    const auto count = static_cast<std::int64_t>(bytes / sizeof(float));
    EXPECT_THAT(buffer.tensor({count}, DType::f32).span<float>(), ::testing::Each(0.0f));
  }
}

TEST(Buffer, OfNothingIsEmpty) {
  const Buffer buffer(0, Device::cpu, "nothing");
  EXPECT_EQ(buffer.data(), nullptr);
  EXPECT_EQ(buffer.bytes(), 0u);
}

TEST(Buffer, RefusesTensorsLargerThanItself) {
  const Buffer buffer(64, Device::cpu, "a test");
  EXPECT_NO_THROW(static_cast<void>(buffer.tensor({16}, DType::f32)));
  EXPECT_THROW(static_cast<void>(buffer.tensor({16}, DType::f64)), Error);
}

TEST(Buffer, SaysWhatThereIsNoMemoryFor) {
  // The first is little enough that the kernel would promise it, and end the process when it is touched.
  const std::size_t a_little_more = static_cast<std::size_t>(available_memory_bytes()) + (std::size_t{1} << 30);
  for (const std::size_t bytes : {a_little_more, std::size_t{1} << 60}) {
    try {
      const Buffer buffer(bytes, Device::cpu, "the logits");
      FAIL() << bytes << " bytes were allocated";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::out_of_memory);
      EXPECT_THAT(error.what(), ::testing::HasSubstr("no memory for the logits: "));
      EXPECT_THAT(error.what(), ::testing::HasSubstr(memory_text(static_cast<std::int64_t>(bytes)) + " needed"));
      EXPECT_NE(error.hint(), "");
    }
  }
}

TEST(Arena, SaysWhatThereIsNoMemoryForByCategory) {
  Arena measure = Arena::measuring(Device::cpu);
  measure.take({std::int64_t{1} << 40}, DType::f32, "attention");
  measure.take({std::int64_t{3} << 40}, DType::f32, "logits");
  try {
    const Arena arena(measure, "activations");
    FAIL() << "16 TiB were allocated";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::out_of_memory);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("activations (logits 12288.0 GiB, attention 4096.0 GiB)"));
  }
}

struct Pair {
  Tensor first;
  Tensor second;
};
Pair make_pair(Arena& arena) {
  return {arena.take({3, 5}, DType::f32, "attention"), arena.take({7}, DType::f64, "norms")};
}

TEST(Arena, MeasuresFirstAndThenHandsOutApart) {
  Arena measure = Arena::measuring(Device::cpu);
  const Pair planned = make_pair(measure);
  EXPECT_FALSE(planned.first.present());
  EXPECT_EQ(planned.first.shape(), (Shape{3, 5}));
  EXPECT_EQ(measure.bytes(), 512u);  // each to its alignment

  Arena arena(measure, "a test");
  const Pair pair = make_pair(arena);
  EXPECT_EQ(arena.bytes(), measure.bytes());
  EXPECT_EQ(pair.second.dtype(), DType::f64);
  for (const Tensor& tensor : {pair.first, pair.second}) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.raw()) % 256, 0u);
  }
  for (float& value : pair.first.span<float>()) value = 1.0f;
  EXPECT_THAT(pair.second.span<double>(), ::testing::Each(0.0));
}

TEST(Arena, AddsSizesUpByCategory) {
  Arena measure = Arena::measuring(Device::cpu);
  make_pair(measure);
  make_pair(measure);
  ASSERT_EQ(measure.categories().size(), 2u);
  EXPECT_EQ(measure.categories()[0].name, "attention");
  EXPECT_EQ(measure.categories()[0].bytes, 512u);
  EXPECT_EQ(measure.categories()[1].name, "norms");
  EXPECT_EQ(measure.categories()[1].bytes, 512u);
}

TEST(Arena, RefusesMoreThanWasPlanned) {
  Arena measure = Arena::measuring(Device::cpu);
  make_pair(measure);
  Arena arena(measure, "a test");
  make_pair(arena);
  EXPECT_THROW(arena.take({1}, DType::f32, "more"), Error);
}

TEST(Arena, RewindingCutsTheSameMemoryAgain) {
  Arena measure = Arena::measuring(Device::cpu);
  make_pair(measure);
  make_pair(measure);
  Arena arena(measure, "a test");
  const Pair kept = make_pair(arena);
  const std::size_t mark = arena.bytes();
  const Pair before = make_pair(arena);
  arena.rewind(mark);
  EXPECT_EQ(arena.bytes(), mark);
  const Pair after = make_pair(arena);
  EXPECT_EQ(after.first.raw(), before.first.raw());
  EXPECT_EQ(after.second.raw(), before.second.raw());
  EXPECT_NE(after.first.raw(), kept.first.raw());
  EXPECT_THROW(arena.rewind(arena.bytes() + 1), Error);
}

TEST(Arena, PlannedArenasAreMeasuredByTheirOwnCuts) {
  Pair pair;
  const auto arena = planned_arena(Device::cpu, "a test", [&](Arena& any) { pair = make_pair(any); });
  EXPECT_TRUE(pair.first.present());
  EXPECT_EQ(arena->bytes(), 512u);
  EXPECT_EQ(arena->categories().size(), 2u);
}

// ---- numbers of every format, there and back
// --------------------------------------------------------------------------
TEST(Bf16, RoundsToNearestTiesToEvenAndKeepsWhatIsNoNumber) {
  EXPECT_EQ(float{bf16(1.0f)}, 1.0f);
  EXPECT_EQ(float{bf16(1.0f + 0x1p-8f)}, 1.0f);  // a tie: to even
  EXPECT_EQ(float{bf16(1.0f + 0x1p-7f + 0x1p-8f)}, 1.0f + 0x1p-6f);
  EXPECT_EQ(float{bf16(1.0f + 0x1.02p-8f)}, 1.0f + 0x1p-7f);
  EXPECT_EQ(float{bf16(-3.0e38f)}, -0x1.c4p127f);
  EXPECT_EQ(float{bf16(std::numeric_limits<float>::max())}, std::numeric_limits<float>::infinity());
  EXPECT_EQ(float{bf16(-std::numeric_limits<float>::infinity())}, -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(float{bf16(std::bit_cast<float>(0x7f800001U))}));
}

class Transfer : public ::testing::TestWithParam<Device> {
 protected:
  void SetUp() override { HEADROOM_NEEDS((reference::Place{GetParam(), DType::f32})); }
};
INSTANTIATE_TEST_SUITE_P(Everywhere, Transfer, ::testing::Values(Device::cpu, Device::cuda),
                         [](const auto& tested) { return std::string(name_of(tested.param)); });

TEST_P(Transfer, BringsNumbersThereAndBackInEveryFormat) {
  // More than one of a GPU's staging buffers hold.
  const std::int64_t count = (std::int64_t{9} << 20) / 4 + 3;
  std::vector<double> numbers(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<double>(i % 251) - 125.0;  // exact in bf16
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16}) {
    const Buffer buffer(static_cast<std::size_t>(count) * size_of(dtype), GetParam(), "a test");
    const Tensor tensor = buffer.tensor({count}, dtype);
    std::vector<double> source = numbers;
    upload_as(std::span<const double>(source), tensor);
    std::fill(source.begin(), source.end(), 7.0);  // the upload no longer needs it
    EXPECT_EQ(download_as<double>(tensor), numbers);
    const std::vector<float> narrow = download_as<float>(tensor.flat_range(count - 5, 5));
    EXPECT_EQ(narrow, std::vector<float>(numbers.end() - 5, numbers.end()));
  }
}

TEST_P(Transfer, RefusesOtherSizesAndFormats) {
  const Buffer buffer(64, GetParam(), "a test");
  const Tensor tensor = buffer.tensor({16}, DType::f32);
  const std::vector<float> few(15);
  const std::vector<double> wide(16);
  EXPECT_THROW(upload(std::span<const float>(few), tensor), Error);
  EXPECT_THROW(upload(std::span<const double>(wide), tensor), Error);
  EXPECT_THROW(static_cast<void>(download<double>(tensor)), Error);
}

TEST(GpuTensors, AreNotReadAsHostMemory) {
  HEADROOM_NEEDS(reference::kGpuF32);
  const Buffer buffer(64, Device::cuda, "a test");
  EXPECT_THROW(static_cast<void>(buffer.tensor({16}, DType::f32).data<float>()), Error);
}

TEST(GpuTensors, DoNotMeetTheCpusInOneOperation) {
  HEADROOM_NEEDS(reference::kGpuF32);
  const reference::TestTensor here({4}, reference::kCpuF32);
  const reference::TestTensor there({4}, reference::kGpuF32);
  EXPECT_THROW(ops::add(here, there), Error);
}

// Every op of a device's table is there: nobody finds out by a crash in a run.
TEST_P(Transfer, TheTableOfOperationsIsComplete) {
  const OpTable& table = op_table(GetParam());
  using Entry = void (*)();
  static_assert(sizeof(OpTable) % sizeof(Entry) == 0);
  const auto* entries = reinterpret_cast<const unsigned char*>(&table);
  for (std::size_t i = 0; i < sizeof(OpTable); i += sizeof(Entry)) {
    Entry entry = nullptr;
    std::copy_n(entries + i, sizeof(entry), reinterpret_cast<unsigned char*>(&entry));
    EXPECT_NE(entry, nullptr) << "entry " << i / sizeof(Entry) << " of the table in tensor/ops.h";
  }
}

}  // namespace
}  // namespace headroom
