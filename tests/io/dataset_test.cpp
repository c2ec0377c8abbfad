#include "io/dataset.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>

#include "src/base/error.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::io {
namespace {

constexpr std::int32_t kVocab = 60000;

/// Token i of file f is (f * 20000 + i) so that a sample tells where it comes from.
void write_file(const std::filesystem::path& path, int f, std::int64_t tokens, const std::string& tokenizer = "{}") {
  TokenFileWriter writer(path, kVocab, kVocab - 1, false);
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < tokens; ++i) ids.push_back(static_cast<std::int32_t>(f * 20000 + i % 20000));
  writer.begin_document();
  writer.append(ids);
  writer.finish(tokenizer);
}

std::int32_t first_token(Dataset& d, Split split, std::int64_t index) {
  std::vector<std::int32_t> ids(1);
  d.read(split, index, ids);
  return ids[0];
}

TEST(Dataset, EverySampleOncePerEpochInAnotherOrderEachTime) {
  const test::TempDir dir;
  write_file(dir / "a.h5", 0, 1001);
  Dataset d = Dataset::open({.train = (dir / "a.h5").string(), .validation = "", .length = 10, .seed = 5});
  ASSERT_EQ(d.samples(Split::kTrain), 100);
  EXPECT_EQ(d.samples(Split::kValidation), 0);
  std::vector<std::vector<std::int32_t>> epochs;
  for (int epoch = 0; epoch < 3; ++epoch) {
    std::set<std::int32_t> seen;
    epochs.emplace_back();
    for (std::int64_t i = 0; i < 100; ++i) {
      std::vector<std::int32_t> ids(11);
      d.read(Split::kTrain, epoch * 100 + i, ids);
      EXPECT_EQ(ids[0] % 10, 0);
      for (std::size_t t = 1; t < ids.size(); ++t) EXPECT_EQ(ids[t], ids[t - 1] + 1);
      seen.insert(ids[0]);
      epochs.back().push_back(ids[0]);
    }
    EXPECT_EQ(seen.size(), 100u);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(epochs[1], epochs[2]);
}

TEST(Dataset, TheOrderIsAFunctionOfSeedAndPositionAlone) {
  const test::TempDir dir;
  write_file(dir / "a.h5", 0, 5001);
  const auto open = [&](std::uint64_t seed) {
    return Dataset::open({.train = (dir / "a.h5").string(), .validation = "", .length = 10, .seed = seed});
  };
  Dataset a = open(1), b = open(1), c = open(2);
  int equal = 0;
  for (std::int64_t i = 499; i >= 0; --i) {  // asked backwards: there is no hidden state
    EXPECT_EQ(first_token(a, Split::kTrain, 499 - i), first_token(b, Split::kTrain, 499 - i));
    equal += first_token(b, Split::kTrain, i) == first_token(c, Split::kTrain, i);
  }
  EXPECT_LT(equal, 20);
}

TEST(Dataset, HeldOutTokensAreNeverTrainedOn) {
  const test::TempDir dir;
  write_file(dir / "a.h5", 0, 1000);
  Dataset d = Dataset::open(
      {.train = (dir / "a.h5").string(), .validation = "", .validation_fraction = 0.2, .length = 10, .seed = 1});
  EXPECT_EQ(d.samples(Split::kTrain), 79);
  EXPECT_EQ(d.samples(Split::kValidation), 19);
  for (std::int64_t i = 0; i < 200; ++i) {
    std::vector<std::int32_t> ids(11);
    d.read(Split::kTrain, i, ids);
    EXPECT_LT(ids.back(), 800);
    d.read(Split::kValidation, i, ids);
    EXPECT_GE(ids.front(), 800);
    EXPECT_EQ(ids.front(), 800 + i % 19 * 10);  // in order
  }
}

TEST(Dataset, MixesByWeightEvenlyAndWithoutRepeats) {
  const test::TempDir dir;
  write_file(dir / "a.h5", 0, 10001);
  write_file(dir / "b.h5", 1, 20001);
  Dataset d = Dataset::open({.train = (dir / "a.h5").string() + ":3, " + (dir / "b.h5").string() + ":1",
                             .validation = "",
                             .length = 10,
                             .seed = 1});
  std::map<int, std::map<std::int32_t, int>> seen;
  std::map<int, int> total;
  for (std::int64_t i = 0; i < 1200; ++i) {
    const std::int32_t t = first_token(d, Split::kTrain, i);
    ++seen[t / 20000][t];
    ++total[t / 20000];
    EXPECT_NEAR(total[0], 0.75 * static_cast<double>(i + 1), 1.5) << i;  // at every position, not only at the end
  }
  EXPECT_EQ(total[0], 900);
  EXPECT_EQ(total[1], 300);
  for (const auto& [file, starts] : seen)
    for (const auto& [start, n] : starts) EXPECT_EQ(n, 1) << "file " << file << " sample " << start;
}

TEST(Dataset, WithoutWeightsFilesCountByTheirSize) {
  const test::TempDir dir;
  write_file(dir / "a.h5", 0, 5001);
  write_file(dir / "b.h5", 1, 15001);
  Dataset d = Dataset::open(
      {.train = (dir / "a.h5").string() + "," + (dir / "b.h5").string(), .validation = "", .length = 10, .seed = 1});
  int a = 0;
  for (std::int64_t i = 0; i < 2000; ++i) a += first_token(d, Split::kTrain, i) < 20000;
  EXPECT_EQ(a, 500);
}

TEST(Dataset, FingerprintsTellStreamsApartAndIgnorePaths) {
  const test::TempDir dir;
  write_file(dir / "a.h5", 0, 5001);
  write_file(dir / "b.h5", 1, 5001);
  std::filesystem::copy_file(dir / "a.h5", dir / "copy.h5");
  const auto print = [&](const std::string& list, std::int64_t length) {
    return Dataset::open({.train = list, .validation = "", .length = length, .seed = 1}).fingerprint();
  };
  const std::string a = (dir / "a.h5").string(), b = (dir / "b.h5").string(), copy = (dir / "copy.h5").string();
  EXPECT_EQ(print(a, 10), print(copy, 10));
  EXPECT_NE(print(a, 10), print(a, 11));
  EXPECT_NE(print(a, 10), print(b, 10));
  EXPECT_NE(print(a + ":1," + b + ":1", 10), print(a + ":1," + b + ":2", 10));
}

TEST(Dataset, FindsAFlippedBitWhenItIsOpened) {
  const test::TempDir dir;
  write_file(dir / "a.h5", 0, 5000);
  const auto size = static_cast<std::int64_t>(std::filesystem::file_size(dir / "a.h5"));
  std::fstream file(dir / "a.h5", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(size - 100);  // tokens lie last
  file.put('\x55');
  file.close();
  EXPECT_NO_THROW(TokenFile::open(dir / "a.h5"));
  EXPECT_THROW(Dataset::open({.train = (dir / "a.h5").string(), .validation = "", .length = 10, .seed = 1}), DataError);
}

TEST(Dataset, FollowsALinkToATokenFile) {
  const test::TempDir dir;
  write_file(dir / "a.h5", 0, 500);
  std::filesystem::create_symlink(dir / "a.h5", dir / "link.h5");
  std::filesystem::create_symlink(dir / "nowhere", dir / "dangling.h5");
  const auto open = [&](const char* name) {
    return Dataset::open({.train = (dir / name).string(), .validation = "", .length = 10, .seed = 1});
  };
  EXPECT_EQ(open("link.h5").fingerprint(), open("a.h5").fingerprint());
  EXPECT_THROW(open("dangling.h5"), DataError);
}

TEST(Dataset, AnyNumberOfDataRanksReadsTheSameSamples) {
  const test::TempDir dir;
  write_file(dir / "a.h5", 0, 1001);
  write_file(dir / "b.h5", 1, 1501);
  const std::string files = (dir / "a.h5").string() + ":2," + (dir / "b.h5").string() + ":1";
  constexpr std::int64_t kBatch = 12, kSteps = 5;
  std::vector<std::vector<std::int32_t>> runs;
  for (const std::int64_t ranks : {1, 2, 3, 4, 6}) {
    std::vector<std::int32_t> seen(kBatch * kSteps);
    for (std::int64_t rank = 0; rank < ranks; ++rank) {  // each with an object of its own, as processes have
      Dataset d = Dataset::open({.train = files, .validation = "", .length = 10, .seed = 9});
      for (std::int64_t step = 0; step < kSteps; ++step)
        for (std::int64_t i = rank * kBatch / ranks; i < (rank + 1) * kBatch / ranks; ++i)
          seen[static_cast<std::size_t>(step * kBatch + i)] = first_token(d, Split::kTrain, step * kBatch + i);
    }
    runs.push_back(std::move(seen));
  }
  for (const auto& run : runs) EXPECT_EQ(run, runs.front());
}

TEST(Dataset, RefusesWithASentence) {
  const test::TempDir dir;
  write_file(dir / "a.h5", 0, 50);
  write_file(dir / "other.h5", 0, 50, "{\"another\": 1}");
  const std::string a = (dir / "a.h5").string(), other = (dir / "other.h5").string();
  const auto open = [&](const std::string& train, const std::string& validation, std::int64_t length) {
    return Dataset::open({.train = train, .validation = validation, .length = length, .seed = 1});
  };
  EXPECT_THROW(open("", "", 10), ConfigError);
  EXPECT_THROW(open(a + ",", "", 10), ConfigError);
  EXPECT_THROW(open(a + ":0", "", 10), ConfigError);
  EXPECT_THROW(open(a + ":1," + a, "", 10), ConfigError);
  EXPECT_THROW(open(a + ":1," + a + ":1000000", "", 10), ConfigError);
  EXPECT_THROW(open(a, a + ":2", 10), ConfigError);
  EXPECT_THROW(open(a, "", 50), DataError);
  EXPECT_THROW(open(a, a, 50), DataError);
  EXPECT_THROW(open(a + "," + other, "", 10), DataError);
  Dataset d = open(a, "", 10);
  std::vector<std::int32_t> ids(11);
  EXPECT_THROW(d.read(Split::kValidation, 0, ids), DataError);
  EXPECT_NO_THROW(open(a, "", 49).read(Split::kTrain, 0, ids));
}

}  // namespace
}  // namespace banyan::io
