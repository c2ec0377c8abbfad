#include "io/shard_file.hpp"

#include <gtest/gtest.h>
#include <hdf5.h>

#include <chrono>
#include <thread>

#include "io/checkpoint_reader.hpp"
#include "src/base/error.hpp"
#include "tests/io/checkpoint_fixture.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::io {
namespace {

using test::TempDir;

TEST(ShardFile, Hdf5SeesWhatWasWrittenInPlace) {
  TempDir dir;
  const auto model = test::small_model();
  const Manifest m = test::write_small_checkpoint(dir / "c", model);
  const std::string path = (dir / "c" / "shard-00000.h5").string();
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  ASSERT_GE(file, 0);
  const hid_t dataset = H5Dopen2(file, "/param/blocks.0.attn.q.weight/0,2", H5P_DEFAULT);
  ASSERT_GE(dataset, 0);
  float values[6];
  ASSERT_GE(H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), 0);
  for (int r = 0; r < 3; ++r)
    for (int c = 0; c < 2; ++c) EXPECT_EQ(values[r * 2 + c], static_cast<float>(r * 4 + c + 2));
  EXPECT_EQ(H5Dget_offset(dataset),
            static_cast<haddr_t>(m.find(TensorKind::kParam, "blocks.0.attn.q.weight")->shards[1].byte_offset));
  H5Dclose(dataset);
  H5Fclose(file);
}

TEST(ShardFile, SizeIsAsReserved) {
  TempDir dir;
  const auto big = test::make_tensor("w", TensorKind::kParam, {600, 500});
  std::vector<ShardData> shards;
  for (std::int64_t row = 0; row < 600; row += 4) shards.push_back(test::shard_of(big, {{row, 0}, {4, 500}}));
  const WrittenFile written = write_shard_file(dir.path(), "a.h5", test::blank_manifest(), shards);
  EXPECT_LE(written.file.size, shard_file_bytes(shards));
  EXPECT_EQ(written.file.size, static_cast<std::int64_t>(std::filesystem::file_size(dir / "a.h5")));
  EXPECT_EQ(written.file.digest, digest_file(dir / "a.h5"));
}

TEST(ShardFile, NeverReplacesAFile) {
  TempDir dir;
  write_atomic(dir / "a.h5", "mine");
  const auto t = test::make_tensor("w", TensorKind::kParam, {4});
  EXPECT_THROW(write_shard_file(dir.path(), "a.h5", test::blank_manifest(), std::vector{test::shard_of(t, {{0}, {4}})}),
               IoError);
  EXPECT_EQ(read_limited(dir / "a.h5", 100), "mine");
}

TEST(ShardFile, CancelEndsIt) {
  TempDir dir;
  const auto t = test::make_tensor("w", TensorKind::kParam, {4});
  const std::atomic<bool> cancel = true;
  EXPECT_THROW(write_shard_file(dir.path(), "a.h5", test::blank_manifest(), std::vector{test::shard_of(t, {{0}, {4}})},
                                {.cancel = &cancel}),
               IoError);
}

TEST(ShardFile, AllDtypesAndScalars) {
  TempDir dir;
  std::vector<std::byte> bytes(64);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i);
  std::vector<std::vector<ShardData>> files(1);
  for (DType d :
       {DType::kF32, DType::kBF16, DType::kF64, DType::kI32, DType::kI64, DType::kU8, DType::kU16, DType::kU32}) {
    const std::string name(name_of(d));
    files[0].push_back({name, TensorKind::kParam, {2, 4}, {0, 0}, ConstView(bytes.data(), d, Shape{2, 4})});
    files[0].push_back({name + ".one", TensorKind::kParam, {}, {}, ConstView(bytes.data(), d, Shape{})});
  }
  test::write_checkpoint(dir / "c", test::blank_manifest(), files);
  CheckpointReader reader(dir / "c");
  for (const ShardData& s : files[0]) {
    std::vector<std::byte> out(64);
    reader.read(TensorKind::kParam, s.name, s.offset, View(out.data(), s.data.dtype, s.data.shape));
    EXPECT_TRUE(std::equal(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(s.data.bytes()), bytes.begin()))
        << s.name;
  }
}

TEST(ShardFile, TheDigestIsThatOfTheFileWithAndWithoutReadingBack) {
  TempDir dir;
  const auto t = test::make_tensor("w", TensorKind::kParam, {40, 50});
  const std::vector shards{test::shard_of(t, {{20, 0}, {20, 50}}), test::shard_of(t, {{0, 10}, {20, 30}})};
  const Manifest m = test::blank_manifest();
  const WrittenFile checked = write_shard_file(dir.path(), "a.h5", m, shards);
  const WrittenFile trusted = write_shard_file(dir.path(), "b.h5", m, shards, {.verify = false});
  EXPECT_EQ(checked.file.digest, digest_file(dir / "a.h5"));
  EXPECT_EQ(trusted.file.digest, digest_file(dir / "b.h5"));
  EXPECT_EQ(checked.file.digest, trusted.file.digest);
  EXPECT_EQ(checked.shards, trusted.shards);
}

TEST(ShardFile, TheBytesDoNotTellTheTime) {
  TempDir dir;
  const auto t = test::make_tensor("blocks.0.w", TensorKind::kParam, {4, 5});
  const std::vector shards{test::shard_of(t, {{0, 0}, {4, 5}})};
  const Manifest m = test::blank_manifest();
  const WrittenFile now = write_shard_file(dir.path(), "a.h5", m, shards);
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // HDF5 counts seconds
  EXPECT_EQ(write_shard_file(dir.path(), "b.h5", m, shards).file.digest, now.file.digest);
}

TEST(ShardFile, MemoryThatChangedSinceItWasSummedUpIsNotWritten) {
  TempDir dir;
  const auto t = test::make_tensor("w", TensorKind::kParam, {40, 50});
  const std::vector shards{test::shard_of(t, {{0, 0}, {40, 50}})};
  const Manifest m = test::blank_manifest();
  std::vector<std::uint64_t> sums{write_shard_file(dir.path(), "a.h5", m, shards).shards[0].checksum};
  EXPECT_EQ(write_shard_file(dir.path(), "b.h5", m, shards, {.checksums = sums}).shards[0].checksum, sums[0]);
  sums[0] ^= 1;
  EXPECT_THROW(write_shard_file(dir.path(), "c.h5", m, shards, {.checksums = sums}), IoError);
}

}  // namespace
}  // namespace banyan::io
