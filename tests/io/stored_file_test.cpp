#include "io/stored_file.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "io/atomic_file.hpp"
#include "src/base/error.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::io {
namespace {

namespace fs = std::filesystem;

class StoredFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"from", "to"}) fs::create_directory(dir / name);
  }
  /// Makes FROM/name with so many bytes.
  ManifestFile made(const std::string& name, std::size_t bytes) {
    std::string text(bytes, 0);
    for (std::size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(i * 131 + i / 251);
    write_atomic(dir / "from" / name, text);
    return {name, static_cast<std::int64_t>(bytes), digest_bytes(text)};
  }
  void copy(const ManifestFile& file, const std::atomic<bool>* cancel = nullptr) {
    copy_stored(dir / "from", dir / "to", file, true, cancel);
  }
  test::TempDir dir;
};

TEST_F(StoredFileTest, CopiesOfAllSizesAreEqual) {
  const std::size_t chunk = std::size_t{8} << 20;
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{4095}, std::size_t{4096},
                                  std::size_t{100000}, chunk, chunk + 1, 2 * chunk + 4097}) {
    const ManifestFile file = made("f" + std::to_string(bytes), bytes);
    copy(file);
    EXPECT_EQ(stored_digest(dir / "to" / file.name, nullptr), file.digest) << bytes;
    EXPECT_EQ(digest_file(dir / "to" / file.name), file.digest) << bytes;
    EXPECT_EQ(fs::file_size(dir / "to" / file.name), bytes);
  }
}

TEST_F(StoredFileTest, WhatIsNotWhatItShouldBeIsRefused) {
  ManifestFile file = made("f", 10000);
  file.size = 9999;
  EXPECT_THROW(copy(file), DataError);
  file = made("g", 10000);
  file.digest[3] = file.digest[3] == '0' ? '1' : '0';
  EXPECT_THROW(copy(file), DataError);
  file = made("h", 10);
  fs::remove(dir / "from" / "h");
  EXPECT_THROW(copy(file), IoError);
  fs::create_symlink(dir / "from" / "f", dir / "from" / "h");
  EXPECT_THROW(copy(file), DataError);
}

TEST_F(StoredFileTest, NothingIsWrittenOver) {
  const ManifestFile file = made("f", 10);
  write_atomic(dir / "to" / "f", "mine");
  EXPECT_THROW(copy(file), IoError);
  EXPECT_EQ(read_limited(dir / "to" / "f", 100), "mine");
}

TEST_F(StoredFileTest, EndsSoonWhenToldTo) {
  const std::atomic<bool> cancel = true;
  const ManifestFile file = made("f", 10);
  EXPECT_THROW(copy(file, &cancel), IoError);
  EXPECT_THROW(stored_digest(dir / "from" / "f", &cancel), IoError);
}

}  // namespace
}  // namespace banyan::io
