#include "comm/shared/arena.hpp"

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>

#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

TEST(Arena, WhatOneAddsAnotherFinds) {
  const auto own = Arena::inviting();
  const auto seen = Arena::join(own->invitation());
  EXPECT_EQ(seen->find(7), nullptr);
  std::byte* const part = own->add(7, 5000);
  std::byte* const other = own->add(8192 + 7, 1);  // the same place in the directory
  ASSERT_NE(seen->find(7), nullptr);
  EXPECT_EQ(part[4999], std::byte{0});
  part[4999] = std::byte{42};
  other[0] = std::byte{43};
  EXPECT_EQ(seen->find(7)[4999], std::byte{42});
  EXPECT_EQ(seen->find(8192 + 7)[0], std::byte{43});
  EXPECT_EQ(seen->find(9), nullptr);
}

TEST(Arena, AFullOneRefusesAndSaysWhatToDo) {
  const auto arena = Arena::anonymous();
  std::uint64_t key = 0;
  try {
    for (;;) arena->add(++key, 100 * kMiB);
  } catch (const CommError& e) {
    EXPECT_NE(std::string(e.what()).find("comm.shared_memory = off"), std::string::npos) << e.what();
  }
  EXPECT_EQ(key, 11u);  // of 1 GiB
  EXPECT_NO_THROW(arena->add(100, kMiB));
  EXPECT_EQ(arena->find(11), nullptr);
  EXPECT_THROW(arena->add(101, SIZE_MAX - 4096), CommError);
  EXPECT_THROW(arena->add(102, SIZE_MAX), CommError);
}

TEST(Arena, OnlyWhatInvitedIsJoined) {
  const auto own = Arena::inviting();
  const std::string& good = own->invitation();
  EXPECT_THROW(Arena::join(""), CommError);
  EXPECT_THROW(Arena::join("nonsense"), CommError);
  EXPECT_THROW(Arena::join(fmt::format("{} 1000000 5", ::getpid())), CommError);  // no such file
  std::string other = good;
  other.back() = other.back() == '1' ? '2' : '1';
  EXPECT_THROW(Arena::join(other), CommError);  // another arena would have that token
  std::FILE* const file = std::tmpfile();
  EXPECT_THROW(Arena::join(fmt::format("{} {} 5", ::getpid(), ::fileno(file))), CommError);
  std::fclose(file);
}

}  // namespace
}  // namespace banyan::comm
