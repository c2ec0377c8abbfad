#include "io/block_writer.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <string>
#include <vector>

#include "src/base/error.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::io {
namespace {

using test::TempDir;

constexpr std::size_t kBlock = std::size_t{8} << 20;

std::string text_of(std::size_t bytes) {
  std::string text(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(i * 2654435761u >> 24);
  return text;
}

TEST(BlockWriter, FilesOfEveryKindOfLengthHoldWhatWasAppended) {
  TempDir dir;
  for (const std::size_t bytes :
       {std::size_t{0}, std::size_t{1}, std::size_t{4095}, std::size_t{4096}, std::size_t{4097}, kBlock - 1, kBlock,
        kBlock + 1, kBlock + 4096, 2 * kBlock + 5000}) {
    const std::string text = text_of(bytes);
    const auto path = dir / std::to_string(bytes);
    File file = File::create(path);
    BlockWriter out(file);
    for (std::size_t at = 0, n = 1; at < bytes; at += n, n = std::min(3 * n, bytes - at))
      out.append(text.data() + at, std::min(n, bytes - at));
    out.finish();
    file.close();
    EXPECT_TRUE(read_limited(path, 3 * kBlock) == text) << bytes;
  }
}

TEST(BlockWriter, TheBeginningComesLast) {
  TempDir dir;
  File file = File::create(dir / "a");
  const std::string text = text_of(3 * kBlock + 7);
  {
    BlockWriter out(file);
    out.append(text.data(), text.size());
    // Given up.
  }
  const std::string written = read_limited(dir / "a", 4 * kBlock);
  ASSERT_GE(written.size(), kBlock);
  EXPECT_EQ(written.substr(0, 4096), std::string(4096, '\0'));
  EXPECT_EQ(written.substr(4096, 100), text.substr(4096, 100));
}

TEST(BlockWriter, AFailureIsToldToWhoeverAppendsNextOrFinishes) {
  TempDir dir;
  rlimit old{};
  ::getrlimit(RLIMIT_FSIZE, &old);
  const rlimit small{kBlock + 4096, old.rlim_max};
  const auto before = std::signal(SIGXFSZ, SIG_IGN);
  ::setrlimit(RLIMIT_FSIZE, &small);
  {
    File file = File::create(dir / "a");
    BlockWriter out(file);
    const std::string text = text_of(kBlock);
    EXPECT_THROW(
        {
          for (int i = 0; i < 3; ++i) out.append(text.data(), text.size());
          out.finish();
        },
        IoError);
    EXPECT_THROW(out.finish(), IoError) << "and to everybody after";
  }
  ::setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, before);
}

TEST(BlockWriter, AFileThatBypassesTheCacheTakesAndGivesAnyBytes) {
  TempDir dir;
  File file = File::create(dir / "a");
  file.bypass_cache(true);
  const DirectMemory memory = direct_memory(3 * 4096);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.get()) % 4096, 0u);
  const std::string text = text_of(3 * 4096);
  std::copy(text.begin(), text.end(), reinterpret_cast<char*>(memory.get()));
  file.write_at(0, memory.get(), 2 * 4096);
  file.write_at(2 * 4096, memory.get() + 2 * 4096, 5);                 // neither whole ...
  file.write_at(2 * 4096 + 5, memory.get() + 2 * 4096 + 5, 4096 - 5);  // ... nor in place
  std::vector<char> odd(3 * 4096 + 1);
  file.read_at(0, odd.data() + 1, 3 * 4096);
  EXPECT_EQ(std::string(odd.data() + 1, 3 * 4096), text);
  file.read_at(4096, memory.get(), 4096);
  EXPECT_EQ(std::string(reinterpret_cast<char*>(memory.get()), 4096), text.substr(4096, 4096));
  EXPECT_THROW(file.read_at(2 * 4096, memory.get(), 2 * 4096), DataError);
}

}  // namespace
}  // namespace banyan::io
