#include "io/checkpoint_reader.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <random>
#include <thread>

#include "io/run_store.hpp"
#include "src/base/error.hpp"
#include "tests/io/checkpoint_fixture.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::io {
namespace {

using test::TempDir;
using test::WholeTensor;

/// Reads everything; true when every value is right, false when it was detected, failure when a value is silently
/// wrong.
bool reads_right(const std::filesystem::path& directory, const std::vector<WholeTensor>& model) {
  try {
    CheckpointReader reader(directory);
    for (const WholeTensor& t : model) {
      std::vector<float> out(t.values.size());
      reader.read(t.kind, t.name, test::whole(t.shape).offset, View(out.data(), t.shape));
      if (out != t.values) {
        ADD_FAILURE() << "a damaged value of " << t.name << " was read without an error";
        return false;
      }
    }
    return true;
  } catch (const DataError&) {
    return false;
  } catch (const IoError&) {
    return false;
  }
}

std::string bytes_of(const std::filesystem::path& path) { return read_limited(path, 1 << 30); }
void put(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

TEST(CheckpointReader, AFileThatOthersHaveSeenIsWaitedFor) {
  TempDir dir;
  const auto model = test::small_model();
  const Manifest manifest = test::write_small_checkpoint(dir / "c", model);
  const std::filesystem::path shard = dir / "c" / manifest.files[1].name, away = dir / "away";
  const auto read_all = [&](Seconds patience) {
    CheckpointReader reader(dir / "c", manifest);
    reader.set_patience(patience);
    EXPECT_EQ(reader.verify_files(), "");
  };
  std::filesystem::rename(shard, away);
  std::thread late([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    std::filesystem::copy_file(away, shard);
  });
  read_all(Seconds(60));
  late.join();
  // Late is not damaged.
  std::filesystem::resize_file(shard, 100);
  EXPECT_THROW(read_all(Seconds(0.1)), IoError);
  std::filesystem::remove(shard);
  EXPECT_THROW(read_all(Seconds(0.1)), IoError);
}

TEST(CheckpointReader, AnyPartitionToAnyPartition) {
  std::mt19937 random(3);
  for (int round = 0; round < 25; ++round) {
    TempDir dir;
    const std::int64_t rows = 1 + static_cast<std::int64_t>(random() % 12),
                       columns = 1 + static_cast<std::int64_t>(random() % 9);
    const auto model = std::vector{test::make_tensor("w", TensorKind::kParam, {rows, columns}),
                                   test::make_tensor("w", TensorKind::kM, {rows, columns}),
                                   test::make_tensor("b", TensorKind::kV, {rows})};
    auto grid = [&](int row_parts, int column_parts, const WholeTensor& t) {
      std::vector<Slab> slabs;
      for (int i = 0; i < row_parts; ++i) {
        Slab slab = row_slice(test::whole(t.shape), i, row_parts);
        if (t.shape.rank() == 1) {
          slabs.push_back(slab);
          continue;
        }
        for (int k = 0; k < column_parts; ++k) {
          Slab part = slab;
          part.offset[1] = k * columns / column_parts;
          part.count[1] = (k + 1) * columns / column_parts - part.offset[1];
          slabs.push_back(part);
        }
      }
      return slabs;
    };
    std::vector<std::vector<ShardData>> files(1 + random() % 3);
    for (const WholeTensor& t : model)
      for (const Slab& slab : grid(1 + static_cast<int>(random() % 4), 1 + static_cast<int>(random() % 3), t))
        if (slab.elements() > 0) files[random() % files.size()].push_back(test::shard_of(t, slab));
    test::write_checkpoint(dir / "c", test::blank_manifest(), files);

    CheckpointReader reader(dir / "c");
    EXPECT_EQ(reader.verify_files(), "");
    TensorDigest expected;
    for (const WholeTensor& t : model) {
      std::vector<float> out(t.values.size(), -1.0f);
      const View whole(out.data(), t.shape);
      for (const Slab& slab : grid(1 + static_cast<int>(random() % 5), 1 + static_cast<int>(random() % 4), t)) {
        View part = whole.rows(slab.offset[0], slab.offset[0] + slab.count[0]);
        if (t.shape.rank() == 2) part = part.columns(slab.offset[1], slab.offset[1] + slab.count[1]);
        reader.read(t.kind, t.name, slab.offset, part);
      }
      EXPECT_EQ(out, t.values);
      expected.add(std::string(name_of(t.kind)) + "/" + t.name, t.shape, test::whole(t.shape).offset,
                   ConstView(t.values.data(), t.shape));
    }
    EXPECT_EQ(reader.digest(), expected);
  }
}

TEST(CheckpointReader, RefusesWhatTheManifestDoesNotHave) {
  TempDir dir;
  test::write_small_checkpoint(dir / "c", test::small_model());
  CheckpointReader reader(dir / "c");
  std::vector<float> out(64);
  EXPECT_THROW(reader.read(TensorKind::kParam, "nothing", {0}, View(out.data(), Shape{1})), DataError);
  EXPECT_THROW(reader.read(TensorKind::kParam, "norm.weight", {0}, View(out.data(), Shape{6})), DataError);
  EXPECT_THROW(reader.read(TensorKind::kParam, "norm.weight", {-1}, View(out.data(), Shape{2})), DataError);
  EXPECT_THROW(reader.read(TensorKind::kParam, "norm.weight", {0, 0}, View(out.data(), Shape{1, 1})), DataError);
  std::vector<double> wide(5);
  EXPECT_THROW(reader.read(TensorKind::kParam, "norm.weight", {0}, View(wide.data(), Shape{5})), DataError);
  reader.read(TensorKind::kParam, "norm.weight", {2}, View(out.data(), Shape{0}));
}

// T1: every file cut off at every byte.
TEST(CheckpointReader, EveryTruncationIsSeen) {
  TempDir dir;
  const auto model = test::small_model();
  test::write_small_checkpoint(dir / "c", model);
  ASSERT_TRUE(reads_right(dir / "c", model));
  for (const char* name : {"MANIFEST.json", "shard-00000.h5", "shard-00001.h5"}) {
    const auto path = dir / "c" / name;
    const std::string good = bytes_of(path);
    for (std::size_t n = good.size(); n-- > 0;) {
      std::filesystem::resize_file(path, n);
      EXPECT_FALSE(reads_right(dir / "c", model)) << name << " cut at " << n;
    }
    put(path, good);
  }
}

// T3: every bit of every value, one bit of every other byte.  Flips outside the values (HDF5's own bytes) are harmless
// for a restore, which never looks at them, and are seen by verify_files; a flip of a value is always seen.
TEST(CheckpointReader, EveryBitFlipIsSeenOrHarmless) {
  TempDir dir;
  const auto model = test::small_model();
  const Manifest m = test::write_small_checkpoint(dir / "c", model);
  std::size_t seen = 0, value_bits = 0;
  for (std::size_t f = 0; f < m.files.size(); ++f) {
    const auto path = dir / "c" / m.files[f].name;
    const std::string good = bytes_of(path);
    std::vector<bool> is_value(good.size());
    for (const Tensor& t : m.tensors)
      for (const Shard& s : t.shards)
        if (s.file == static_cast<int>(f)) std::fill_n(is_value.begin() + s.byte_offset, s.slab.elements() * 4, true);
    value_bits += 8 * static_cast<std::size_t>(std::count(is_value.begin(), is_value.end(), true));
    for (std::size_t at = 0; at < good.size(); ++at) {
      for (std::size_t bit = 0; bit < 8; ++bit) {
        if (!is_value[at] && bit != at % 8) continue;
        std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
        auto write = [&](char byte) { file.seekp(static_cast<std::streamoff>(at)).put(byte).flush(); };
        write(static_cast<char>(good[at] ^ (1 << bit)));
        seen += !reads_right(dir / "c", model);
        if (at % 61 == 0) {
          EXPECT_NE(CheckpointReader(dir / "c").verify_files(), "") << path << " byte " << at;
        }
        write(good[at]);
      }
    }
  }
  EXPECT_EQ(seen, value_bits);
  EXPECT_TRUE(reads_right(dir / "c", model));
}

// T2: runs of zeros where data was.
TEST(CheckpointReader, HolesAreSeen) {
  TempDir dir;
  const auto model = test::small_model(1);
  const Manifest m = test::write_small_checkpoint(dir / "c", model);
  for (const Tensor& t : m.tensors)
    for (const Shard& s : t.shards) {
      const auto path = dir / "c" / m.files[static_cast<std::size_t>(s.file)].name;
      const std::string good = bytes_of(path);
      std::string hole = good;
      std::fill_n(hole.begin() + s.byte_offset, s.slab.elements() * 4, '\0');
      put(path, hole);
      EXPECT_FALSE(reads_right(dir / "c", model)) << t.key();
      put(path, good);
    }
}

// T4: shards swapped, files of another step or another run.
TEST(CheckpointReader, MixedUpPartsAreSeen) {
  TempDir dir;
  const auto model = test::small_model();
  const Manifest m = test::write_small_checkpoint(dir / "c", model);
  const auto path = dir / "c" / "shard-00000.h5";
  const std::string good = bytes_of(path);
  const Tensor* w = m.find(TensorKind::kParam, "blocks.0.attn.q.weight");
  std::string swapped = good;
  std::swap_ranges(swapped.begin() + w->shards[0].byte_offset, swapped.begin() + w->shards[0].byte_offset + 24,
                   swapped.begin() + w->shards[1].byte_offset);
  put(path, swapped);
  EXPECT_FALSE(reads_right(dir / "c", model));

  const auto later = test::small_model(0.5f);
  test::write_small_checkpoint(dir / "later", later, 8);
  put(path, bytes_of(dir / "later" / "shard-00000.h5"));
  EXPECT_NE(CheckpointReader(dir / "c").verify_files(), "");
  EXPECT_FALSE(reads_right(dir / "c", model)) << "shard of step 8 under the manifest of step 7";
  put(dir / "c" / "MANIFEST.json", bytes_of(dir / "later" / "MANIFEST.json"));
  EXPECT_FALSE(reads_right(dir / "c", later)) << "shard of step 7 under the manifest of step 8";

  // A manifest in a directory of another name.
  std::filesystem::rename(dir / "later", dir / checkpoint_name(9, 2));
  EXPECT_THROW(CheckpointReader(dir / checkpoint_name(9, 2)), DataError);
  std::filesystem::rename(dir / checkpoint_name(9, 2), dir / checkpoint_name(8, 2));
  EXPECT_TRUE(reads_right(dir / checkpoint_name(8, 2), later));
}

// T5: missing, linked, strange files.
TEST(CheckpointReader, MissingLinkedAndStrangeFiles) {
  TempDir dir;
  const auto model = test::small_model();
  test::write_small_checkpoint(dir / "c", model);
  for (const char* name : {"MANIFEST.json", "shard-00000.h5", "shard-00001.h5"}) {
    const auto path = dir / "c" / name;
    const std::string good = bytes_of(path);
    std::filesystem::rename(path, dir / "aside");
    EXPECT_FALSE(reads_right(dir / "c", model)) << name;
    ASSERT_EQ(::symlink((dir / "aside").c_str(), path.c_str()), 0);
    EXPECT_FALSE(reads_right(dir / "c", model)) << name << " behind a link";
    std::filesystem::remove(path);
    ASSERT_EQ(::symlink("nowhere", path.c_str()), 0);
    EXPECT_FALSE(reads_right(dir / "c", model)) << name << " dangling";
    std::filesystem::remove(path);
    ASSERT_EQ(::mkdir(path.c_str(), 0700), 0);
    EXPECT_FALSE(reads_right(dir / "c", model)) << name << " a directory";
    std::filesystem::remove(path);
    ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
    EXPECT_FALSE(reads_right(dir / "c", model)) << name << " a pipe";
    std::filesystem::remove(path);
    std::filesystem::rename(dir / "aside", path);
  }
  put(dir / "c" / "extra", "harmless");
  EXPECT_TRUE(reads_right(dir / "c", model));
}

// A user may have a link to a checkpoint; a link in the place of one is somebody else's idea.
TEST(CheckpointReader, ADirectoryBehindALinkWithTheNameOfACheckpoint) {
  TempDir dir;
  const auto model = test::small_model();
  test::write_small_checkpoint(dir / "c", model);
  const io::Manifest manifest = CheckpointReader(dir / "c").manifest();
  const std::string name = checkpoint_name(manifest.step, manifest.epoch);
  ASSERT_EQ(::symlink("c", (dir / "best").c_str()), 0);
  EXPECT_TRUE(reads_right(dir / "best", model));
  ASSERT_EQ(::symlink("c", (dir / name).c_str()), 0);
  EXPECT_FALSE(reads_right(dir / name, model));
  EXPECT_FALSE(reads_right(dir / (name + "/"), model));
  EXPECT_THROW(CheckpointReader{dir / name}, DataError);
}

}  // namespace
}  // namespace banyan::io
