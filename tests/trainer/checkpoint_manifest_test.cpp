// The manifest as text: what is written is read back, and whatever was changed in it, or contradicts itself, is
// refused.
#include "trainer/checkpoint_manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/hash.h"

namespace headroom {
namespace {

using ::testing::HasSubstr;

// A matrix of 5 x 3 in three pieces over two files, and a vector.
Manifest manifest() {
  Manifest manifest;
  manifest.step = 7;
  manifest.tokens = 896;
  manifest.layout = "2x1";
  manifest.dtype = manifest.stored = "f32";
  manifest.identity = {"c0ffee", "train", "valid", "tokenizer", "commit"};
  manifest.state = {{"samples", 56}, {"history", {{"losses", {0.1, 1.0 / 3.0}}}}};
  manifest.about = {{"run", "a \"quoted\" name, 日本語"}};
  manifest.kinds = {"weights", "first_moment"};
  manifest.files = {{"rank-00000.h5", 4096, "00", {{"weights/matrix", 2048, 32, "11"}}}, {"rank-00001.h5", 2048, "22"}};
  manifest.tensors = {
      {"matrix", {5, 3}, {{0, 0, {0, 0, 2, 3}}, {0, 6, {2, 0, 1, 2}}, {1, 0, {2, 2, 1, 1}}, {1, 1, {3, 0, 2, 3}}}},
      {"vector", {4}, {{1, 0, {0, 0, 4, 1}}}}};
  return manifest;
}

std::string refusal(const std::string& text) {
  try {
    parse_manifest(text, "step-00000007/manifest.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_checkpoint);
    EXPECT_THAT(error.what(), HasSubstr("step-00000007/manifest.json"));
    return error.what();
  }
  return "";
}

std::string refusal(const Manifest& changed) {
  return refusal(to_text(changed));
}

TEST(Manifest, IsReadBackAsItWasWritten) {
  const std::string text = to_text(manifest());
  const Manifest again = parse_manifest(text, "manifest.json");
  EXPECT_EQ(to_text(again), text);
  EXPECT_EQ(again.identity, manifest().identity);
  EXPECT_EQ(again.state, manifest().state);
  EXPECT_EQ(again.files[0].stretches[0].dataset, "weights/matrix");
  EXPECT_EQ(again.tensors[0].pieces[1].place, (Rectangle{2, 0, 1, 2}));
  EXPECT_EQ(again.tensors[0].elements(), 15);
}

TEST(Manifest, EveryChangedByteIsNoticed) {
  const std::string text = to_text(manifest());
  for (std::size_t place = 0; place < text.size(); ++place) {
    for (const int bit : {0, 5}) {
      std::string changed = text;
      changed[place] = static_cast<char>(changed[place] ^ (1 << bit));
      EXPECT_NE(refusal(changed), "") << "byte " << place << " of\n" << text;
    }
  }
  for (std::size_t size = 0; size < text.size(); size += 7) EXPECT_NE(refusal(text.substr(0, size)), "") << size;
  EXPECT_NE(refusal(text + " "), "");
}

TEST(Manifest, WhatContradictsItselfIsRefused) {
  const auto with = [](const auto& change) {
    Manifest changed = manifest();
    change(changed);
    return refusal(changed);
  };
  using M = Manifest;
  EXPECT_THAT(with([](M& m) { m.tensors[0].pieces.pop_back(); }), HasSubstr("matrix is not whole"));
  EXPECT_THAT(with([](M& m) { m.tensors[0].pieces[0].place.rows = 3; }), HasSubstr("matrix has pieces that overlap"));
  EXPECT_THAT(with([](M& m) { m.tensors[1].pieces[0].place.row = 1; }),
              HasSubstr("vector has a piece that does not lie"));
  EXPECT_THAT(with([](M& m) { m.tensors[1].pieces[0].file = 2; }), HasSubstr("lies in a file that is not there"));
  EXPECT_THAT(with([](M& m) { m.tensors[1].pieces[0].begin = -1; }), HasSubstr("at an impossible place"));
  EXPECT_THAT(with([](M& m) {
                m.tensors[1].shape = {std::int64_t{1} << 40, std::int64_t{1} << 40};
              }),
              HasSubstr("an impossible shape"));
  EXPECT_THAT(with([](M& m) { m.tensors[1].shape = {2, 2, 1}; }), HasSubstr("neither vector nor matrix"));
  EXPECT_THAT(with([](M& m) { m.tensors[1].name = "matrix"; }), HasSubstr("matrix is there twice"));
  EXPECT_THAT(with([](M& m) { m.files[1].name = "../rank-00001.h5"; }), HasSubstr("no file of a checkpoint"));
  EXPECT_THAT(with([](M& m) { m.files[1].name = "rank-00000.h5"; }), HasSubstr("there twice"));
  EXPECT_THAT(with([](M& m) { m.files[0].stretches[0].begin = 4090; }), HasSubstr("does not lie in rank-00000.h5"));
  EXPECT_THAT(with([](M& m) { m.stored = "f8"; }), HasSubstr("stored as 'f8'"));
  EXPECT_THAT(with([](M& m) { m.step = -7; }), HasSubstr("a negative step"));
}

TEST(Manifest, AnotherVersionOrOtherFileIsSaidToBeThat) {
  std::string text = to_text(manifest());
  text.replace(text.find("\"version\": 3"), 12, "\"version\": 2");
  EXPECT_THAT(refusal(text), HasSubstr("has version 2, this program reads 3"));
  EXPECT_THAT(refusal(std::string("{}")), HasSubstr("is not a checkpoint's manifest"));
  EXPECT_THAT(refusal(std::string()), HasSubstr("is not a checkpoint's manifest"));
}

TEST(Rectangles, ShareWhatLiesInBoth) {
  const Rectangle a{2, 1, 4, 5};
  EXPECT_EQ(intersection(a, a), a);
  EXPECT_EQ(intersection(a, {0, 0, 3, 2}), (Rectangle{2, 1, 1, 1}));
  EXPECT_EQ(intersection({0, 0, 3, 2}, a), (Rectangle{2, 1, 1, 1}));
  EXPECT_EQ(intersection(a, {3, 0, 1, 100}), (Rectangle{3, 1, 1, 5}));
  EXPECT_EQ(intersection(a, {6, 1, 4, 5}), std::nullopt);  // touching is not sharing
  EXPECT_EQ(intersection(a, {2, 6, 4, 5}), std::nullopt);
}

}  // namespace
}  // namespace headroom
