#include "io/snapshot.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "io/atomic_file.hpp"
#include "src/base/error.hpp"
#include "tests/io/checkpoint_fixture.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::io {
namespace {

using test::TempDir;

/// Slabs of every kind of memory: whole, rows of a wider matrix, a strided vector, more than one piece, one value.
struct Slabs {
  std::vector<float> memory = std::vector<float>(400000);
  std::vector<ShardData> list;
  Slabs() {
    std::iota(memory.begin(), memory.end(), 1.0f);
    ConstView wide(memory.data(), Shape{100, 30});
    wide.row_stride = 40;
    ConstView column(memory.data() + 7, Shape{50});
    column.row_stride = 3;
    list = {{"whole", TensorKind::kParam, {8, 500}, {0, 0}, ConstView(memory.data(), Shape{8, 500})},
            {"wide", TensorKind::kM, {100, 30}, {0, 0}, wide},
            {"column", TensorKind::kV, {50}, {0}, column},
            {"long", TensorKind::kParam, {390000}, {0}, ConstView(memory.data() + 10, Shape{390000})},
            {"one", TensorKind::kParam, {}, {}, ConstView(memory.data() + 3, Shape{})}};
  }
};

TEST(Snapshot, AFileOfTheCopyIsAFileOfTheOriginal) {
  TempDir dir;
  Slabs slabs;
  const Manifest m = test::blank_manifest();
  const WrittenFile original = write_shard_file(dir.path(), "a.h5", m, slabs.list);
  Snapshot copy;
  copy.take(m, slabs.list);
  std::fill(slabs.memory.begin(), slabs.memory.end(), -1.0f);  // training goes on
  const WrittenFile copied = write_shard_file(dir.path(), "b.h5", m, copy.slabs(), {.checksums = copy.checksums()});
  EXPECT_EQ(read_limited(dir / "a.h5", 1 << 24), read_limited(dir / "b.h5", 1 << 24));
  EXPECT_EQ(original.shards, copied.shards);
  EXPECT_EQ(original.file.digest, copied.file.digest);
}

// T9: a bit of the copy flips before it is written.
TEST(Snapshot, ACopyThatChangesIsNoticed) {
  TempDir dir;
  const Slabs slabs;
  const Manifest m = test::blank_manifest();
  Snapshot copy;
  copy.take(m, slabs.list);
  const ConstView v = copy.slabs()[3].data;
  const_cast<std::byte*>(v.data)[v.bytes() - 1] ^= std::byte{4};
  EXPECT_THROW(write_shard_file(dir.path(), "b.h5", m, copy.slabs(), {.checksums = copy.checksums()}), IoError);
}

TEST(Snapshot, MemoryIsTakenOnce) {
  const Slabs slabs;
  const Manifest m = test::blank_manifest();
  Snapshot copy;
  copy.take(m, slabs.list);
  const std::size_t held = copy.capacity();
  const std::byte* where = copy.slabs()[0].data.data;
  copy.take(m, slabs.list);
  EXPECT_EQ(copy.capacity(), held);
  EXPECT_EQ(copy.slabs()[0].data.data, where);
  copy.take(m, std::span(slabs.list).first(2));
  EXPECT_EQ(copy.slabs().size(), 2u);
  EXPECT_EQ(copy.capacity(), held);
  copy.take(m, {});
  EXPECT_TRUE(copy.slabs().empty());
}

TEST(Snapshot, RoomMadeBeforehandIsTheRoomThatIsUsed) {
  const Slabs slabs;
  const Manifest m = test::blank_manifest();
  Snapshot copy;
  const std::atomic<bool> cancel = false;
  copy.make_room(Snapshot::room_for(slabs.list), cancel);
  const std::size_t held = copy.capacity();
  EXPECT_EQ(held, Snapshot::room_for(slabs.list));
  copy.take(m, slabs.list);
  EXPECT_EQ(copy.capacity(), held);
  Snapshot fresh;
  fresh.take(m, slabs.list);
  EXPECT_TRUE(std::equal(copy.checksums().begin(), copy.checksums().end(), fresh.checksums().begin()));
  const std::atomic<bool> given_up = true;
  copy.make_room(2 * held, given_up);
  EXPECT_EQ(copy.capacity(), 2 * held);
}

}  // namespace
}  // namespace banyan::io
