#include "src/job/file_exchange.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

#include "io/atomic_file.hpp"
#include "io/checksum.hpp"
#include "src/base/error.hpp"
#include "tests/job/checkpoint_jobs.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::job {
namespace {

namespace fs = std::filesystem;
using test::all_of;
using test::TempDir;

const std::atomic<bool> kStay{false};

/// Bytes that tell rank and place.
std::string contents(int rank, std::size_t bytes) {
  std::string text(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i)
    text[i] = static_cast<char>((i * 7 + i / 251) + static_cast<std::size_t>(rank));
  return text;
}

Outgoing made(const fs::path& directory, const std::string& name, const std::string& text, int to) {
  io::write_atomic(directory / name, text);
  return {to, directory / name, {name, std::ssize(text), io::digest_bytes(text)}};
}

/// Directories of the ranks.
fs::path place(const TempDir& dir, int rank) {
  io::make_directories(dir.path() / std::to_string(rank));
  return dir.path() / std::to_string(rank);
}

TEST(FileExchange, FilesOfAnySizeGoRound) {
  for (const std::size_t bytes :
       {std::size_t{0}, std::size_t{1}, std::size_t{4097}, std::size_t{1} << 20, (std::size_t{7} << 19) + 5}) {
    const TempDir dir;
    comm::run_loopback(3, [&](comm::World& world) {
      const auto all = all_of(world);
      const int me = world.rank(), next = (me + 1) % 3, before = (me + 2) % 3;
      fs::create_directory(place(dir, me) / "in");
      const Outgoing out = made(place(dir, me), fmt::format("file-{}", me), contents(me, bytes), next);
      const Incoming in{before, place(dir, me) / "in"};
      const Exchanged e = exchange_files(*all, {&out, 1}, {&in, 1}, kStay);
      EXPECT_EQ(e.problem(), "");
      EXPECT_EQ(e.sent.at(0).file, out.file);
      EXPECT_EQ(e.received.at(0).file.name, fmt::format("file-{}", before));
      EXPECT_EQ(io::read_limited(in.directory / e.received[0].file.name, bytes + 1), contents(before, bytes));
    });
  }
}

TEST(FileExchange, SeveralFromSeveralInTheirOrder) {
  const TempDir dir;
  comm::run_loopback(3, [&](comm::World& world) {
    const auto all = all_of(world);
    const int me = world.rank();
    std::vector<Outgoing> out;
    std::vector<Incoming> in;
    // All to all, in one order.
    for (int from = 0; from < 3; ++from)
      for (int to = 0; to < 3; ++to) {
        if (from == to) continue;
        const std::string name = fmt::format("file-{}-{}", from, to);
        if (from == me) out.push_back(made(place(dir, me), name, contents(10 * from + to, 3000000), to));
        if (to == me) in.push_back({from, place(dir, me)});
      }
    const Exchanged e = exchange_files(*all, out, in, kStay);
    EXPECT_EQ(e.problem(), "");
    ASSERT_EQ(e.received.size(), 2u);
    for (const Passed& p : e.received) EXPECT_EQ(io::digest_file(place(dir, me) / p.file.name), p.file.digest);
  });
}

TEST(FileExchange, WhatGoesWrongWithOneFileIsToldAndEndsNothing) {
  const TempDir dir;
  comm::run_loopback(2, [&](comm::World& world) {
    const auto all = all_of(world);
    const int me = world.rank(), other = 1 - me;
    const fs::path here = place(dir, me), in = here / "in";
    fs::create_directory(in);
    Outgoing none{other, {}, {}};
    Outgoing missing{other, here / "missing", {"missing", 5, io::digest_bytes("")}};
    Outgoing damaged = made(here, "damaged", contents(me, 2000000), other);
    damaged.file.digest = io::digest_bytes("something else");
    Outgoing shorter = made(here, "shorter", contents(me, 10), other);
    shorter.file.size = 11;
    const Outgoing in_the_way = made(here, "in-the-way", contents(me, 2000000), other);
    fs::create_directory(in / "in-the-way");
    Outgoing outside = made(here, "outside", "x", other);
    outside.file.name = "../outside";
    const Outgoing good = made(here, "good", contents(me, 100), other);
    const std::vector<Outgoing> out{none, missing, damaged, shorter, in_the_way, outside, good};
    const Exchanged e = exchange_files(*all, out, std::vector<Incoming>(out.size(), Incoming{other, in}), kStay);
    EXPECT_TRUE(e.sent[0].problem.empty() && e.received[0].problem.empty() && e.received[0].file.name.empty());
    EXPECT_FALSE(e.sent[1].problem.empty());
    EXPECT_EQ(e.received[1].file.name, "");
    EXPECT_FALSE(e.sent[2].problem.empty());
    EXPECT_NE(e.received[2].problem.find("damaged"), std::string::npos) << e.received[2].problem;
    EXPECT_FALSE(e.sent[3].problem.empty());
    EXPECT_FALSE(e.received[4].problem.empty());
    EXPECT_NE(e.received[5].problem.find("is not the name of a file"), std::string::npos) << e.received[5].problem;
    EXPECT_EQ(e.received[6].problem, "");
    EXPECT_EQ(io::read_limited(in / "good", 1000), contents(other, 100));
    EXPECT_FALSE(e.problem().empty());
  });
}

TEST(FileExchange, WhoLeavesIsNotHeldBack) {
  const TempDir dir;
  comm::run_loopback(2, [&](comm::World& world) {
    const auto all = all_of(world);
    std::atomic<bool> leaving{false};
    if (world.rank() == 0) {
      std::thread soon([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        leaving = true;
      });
      const Incoming in{1, place(dir, 0)};  // nobody sends
      EXPECT_THROW(exchange_files(*all, {}, {&in, 1}, leaving), IoError);
      soon.join();
    }
  });
}

}  // namespace
}  // namespace banyan::job
