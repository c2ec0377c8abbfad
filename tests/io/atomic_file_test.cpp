#include "io/atomic_file.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/error.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::io {
namespace {

using test::TempDir;

TEST(AtomicFile, WritesAndReplacesLeavingNoTmp) {
  TempDir dir;
  const auto path = dir / "a.txt";
  write_atomic(path, "one");
  EXPECT_EQ(read_limited(path, 100), "one");
  write_atomic(path, "");
  EXPECT_EQ(read_limited(path, 100), "");
  write_atomic(path, std::string("\0two\n", 5));
  EXPECT_EQ(read_limited(path, 5), std::string("\0two\n", 5));
  EXPECT_FALSE(path_exists(dir / "a.txt.tmp"));
}

TEST(AtomicFile, FailureKeepsTheOldFileAndNamesThePath) {
  TempDir dir;
  const auto path = dir / "a.txt";
  write_atomic(path, "one");
  ASSERT_EQ(::mkdir((dir / "a.txt.tmp").c_str(), 0700), 0);  // the place of the tmp file is taken
  try {
    write_atomic(path, "two");
    FAIL();
  } catch (const IoError& e) {
    EXPECT_NE(std::string(e.what()).find("a.txt.tmp"), std::string::npos) << e.what();
  }
  EXPECT_EQ(read_limited(path, 100), "one");
}

TEST(AtomicFile, RefusesLargeLinkedAndStrangeFiles) {
  TempDir dir;
  write_atomic(dir / "a", "12345");
  EXPECT_THROW(read_limited(dir / "a", 4), DataError);
  ASSERT_EQ(::symlink("a", (dir / "link").c_str()), 0);
  EXPECT_THROW(read_limited(dir / "link", 100), DataError);
  ASSERT_EQ(::mkdir((dir / "directory").c_str(), 0700), 0);
  EXPECT_THROW(read_limited(dir / "directory", 100), DataError);
  ASSERT_EQ(::mkfifo((dir / "pipe").c_str(), 0600), 0);
  EXPECT_THROW(read_limited(dir / "pipe", 100), DataError);
  EXPECT_THROW(read_limited(dir / "missing", 100), IoError);
  std::string text;
  EXPECT_FALSE(read_if_there(dir / "missing", 100, text));
  EXPECT_FALSE(read_if_there(dir / "a" / "below", 100, text));
}

TEST(AtomicFile, ReadsBeyondTheEndAreDataErrors) {
  TempDir dir;
  write_atomic(dir / "a", "12345");
  const File file = File::open_for_reading(dir / "a");
  char buffer[8];
  file.read_at(2, buffer, 3);
  EXPECT_EQ(std::string(buffer, 3), "345");
  EXPECT_THROW(file.read_at(2, buffer, 4), DataError);
}

TEST(AtomicFile, DirectoriesAndTrees) {
  TempDir dir;
  make_directories(dir / "x" / "y" / "z");
  make_directories(dir / "x" / "y" / "z");
  EXPECT_TRUE(std::filesystem::is_directory(dir / "x" / "y" / "z"));
  EXPECT_FALSE(make_directory(dir / "x"));
  write_atomic(dir / "x" / "y" / "file", "kept outside links");
  write_atomic(dir / "outside", "safe");
  ASSERT_EQ(::symlink((dir / "outside").c_str(), (dir / "x" / "link").c_str()), 0);
  remove_tree(dir / "x");
  remove_tree(dir / "x");
  EXPECT_FALSE(path_exists(dir / "x"));
  EXPECT_EQ(read_limited(dir / "outside", 100), "safe");
  EXPECT_THROW(make_directories(dir / "outside" / "below"), IoError);
}

TEST(AtomicFile, PlainNames) {
  for (const char* good : {"a", "shard-00001.h5", "MANIFEST.json", "A_b.9"}) EXPECT_TRUE(plain_name(good)) << good;
  for (const char* bad : {"", ".", "..", ".hidden", "a/b", "/etc/passwd", "a b", "a\nb", "\xc3\xa4"})
    EXPECT_FALSE(plain_name(bad)) << bad;
  EXPECT_FALSE(plain_name(std::string(256, 'a')));
  EXPECT_FALSE(plain_name(std::string("a\0b", 3)));
}

}  // namespace
}  // namespace banyan::io
