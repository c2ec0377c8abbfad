#include "io/checksum.hpp"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

#include "io/atomic_file.hpp"
#include "io/slab.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::io {
namespace {

TEST(Checksum, StreamingEqualsWholeAndSeedsDiffer) {
  const std::string bytes = "The quick brown fox jumps over the lazy dog, many times over and over again.";
  Checksum64 whole(5), parts(5), other(6);
  whole.update(bytes.data(), bytes.size());
  for (char c : bytes) parts.update(&c, 1);
  other.update(bytes.data(), bytes.size());
  EXPECT_EQ(whole.value(), parts.value());
  EXPECT_NE(whole.value(), other.value());
}

TEST(Checksum, KnownValues) {  // of xxhsum, so that the format is that of the world
  EXPECT_EQ(digest_bytes(""), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(digest_bytes("abc"), "06b05ab6733a618578af5f94892f3950");
}

TEST(Checksum, Files) {
  test::TempDir dir;
  const std::string bytes(3 << 20, 'x');
  write_atomic(dir / "a", bytes);
  EXPECT_EQ(digest_file(dir / "a"), digest_bytes(bytes));
}

TEST(Checksum, Hex) {
  std::uint64_t v = 0;
  EXPECT_TRUE(parse_hex64(hex64(0x0123456789abcdefULL), v));
  EXPECT_EQ(v, 0x0123456789abcdefULL);
  for (const char* bad : {"", "123", "0123456789abcdeg", "0123456789ABCDEF", "0123456789abcdef0"})
    EXPECT_FALSE(parse_hex64(bad, v)) << bad;
}

TEST(TensorDigest, AnyPartitionInAnyOrder) {
  const Shape shape{6, 4};
  std::vector<float> values(24);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) * 0.25f;
  const ConstView whole(values.data(), shape);
  TensorDigest one;
  one.add("param/w", shape, {0, 0}, whole);

  TensorDigest cut;
  for (std::int64_t row : {4, 0, 2})
    for (std::int64_t column : {2, 0})
      cut.add("param/w", shape, {row, column}, whole.rows(row, row + 2).columns(column, column + 2));
  EXPECT_EQ(one, cut);
  EXPECT_EQ(one.hex().size(), 32u);
}

TEST(TensorDigest, SeesEveryChange) {
  const Shape shape{2, 3};
  std::set<std::string> seen;
  auto digest = [&](const std::string& name, const Shape& s, std::vector<float> v) {
    TensorDigest d;
    d.add(name, s, s.rank() == 2 ? Shape{0, 0} : Shape{0}, ConstView(v.data(), s));
    return d.hex();
  };
  EXPECT_TRUE(seen.insert(digest("a", shape, {1, 2, 3, 4, 5, 6})).second);
  EXPECT_TRUE(seen.insert(digest("b", shape, {1, 2, 3, 4, 5, 6})).second);
  EXPECT_TRUE(seen.insert(digest("a", shape, {2, 1, 3, 4, 5, 6})).second);
  EXPECT_TRUE(seen.insert(digest("a", shape, {1, 2, 3, 4, 5, -6})).second);
  EXPECT_TRUE(seen.insert(digest("a", shape, {-0.0f, 2, 3, 4, 5, 6})).second);
  EXPECT_TRUE(seen.insert(digest("a", shape, {0.0f, 2, 3, 4, 5, 6})).second);
  EXPECT_TRUE(seen.insert(digest("a", {3, 2}, {1, 2, 3, 4, 5, 6})).second);
  EXPECT_TRUE(seen.insert(digest("a", {6}, {1, 2, 3, 4, 5, 6})).second);
}

TEST(TensorDigest, StridedVector) {
  std::vector<float> wide{1, -1, 2, -1, 3, -1};
  ConstView column(wide.data(), Shape{3});
  column.row_stride = 2;
  const std::vector<float> packed{1, 2, 3};
  TensorDigest a, b;
  a.add("v", {3}, {0}, column);
  b.add("v", {3}, {0}, ConstView(packed.data(), Shape{3}));
  EXPECT_EQ(a, b);
}

}  // namespace
}  // namespace banyan::io
