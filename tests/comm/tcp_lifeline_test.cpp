// The tree of connections: who hears what when somebody goes.
#include "comm/tcp_lifeline.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <thread>

namespace banyan::comm {
namespace {

// `size` lifelines, connected, each on a thread of its own.
void run(int size, const std::function<void(std::unique_ptr<TcpLifeline>&, int rank)>& body,
         const std::function<void(const std::vector<std::string>&)>& before = nullptr) {
  std::vector<std::unique_ptr<TcpLifeline>> lines;
  std::vector<std::string> addresses;
  for (int r = 0; r < size; ++r) {
    lines.push_back(std::make_unique<TcpLifeline>(r, size, "the key of this job"));
    addresses.push_back(lines.back()->address());
  }
  if (before) before(addresses);
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r)
    threads.emplace_back([&, r] {
      auto& line = lines[static_cast<std::size_t>(r)];
      ASSERT_TRUE(line->connect(addresses, Seconds{20}));
      body(line, r);
    });
  for (auto& t : threads) t.join();
}

void poll_until_announced(TcpLifeline& line) {
  const Section section("word of a failure", Seconds{20});
  for (Backoff backoff; !line.announced(); backoff.pause()) {
    line.poll();
    section.check();
  }
}

// Ranks of one host have no port that other hosts can reach.
TEST(TcpLifeline, OnOneHostItListensToThatHostAlone) {
  std::vector<std::unique_ptr<TcpLifeline>> lines;
  std::vector<std::string> addresses;
  for (int r = 0; r < 2; ++r) {
    lines.push_back(std::make_unique<TcpLifeline>(r, 2, "the key of this job", true));
    addresses.push_back(lines.back()->address());
  }
  const std::string& address = addresses[0];
  EXPECT_EQ(address.substr(address.find(' ')), " 127.0.0.1") << address;
  ifaddrs* all = nullptr;
  ASSERT_EQ(getifaddrs(&all), 0);
  for (const ifaddrs* i = all; i; i = i->ifa_next) {
    if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || (i->ifa_flags & IFF_LOOPBACK)) continue;
    sockaddr_in there = *reinterpret_cast<const sockaddr_in*>(i->ifa_addr);
    there.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address)));
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_NE(::connect(fd, reinterpret_cast<sockaddr*>(&there), sizeof there), 0) << i->ifa_name;
    close(fd);
  }
  freeifaddrs(all);
  std::thread upper([&] { EXPECT_TRUE(lines[0]->connect(addresses, Seconds{20})); });
  EXPECT_TRUE(lines[1]->connect(addresses, Seconds{20}));
  upper.join();
}

// Sockets of this process that listen.
int listening() {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    int on = 0;
    socklen_t length = sizeof on;
    const int fd = std::stoi(entry.path().filename().string());
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &length) == 0) count += on;
  }
  return count;
}

TEST(TcpLifeline, OnceConnectedNobodyListens) {
  const int before = listening();
  int at_start = 0;
  std::vector<std::unique_ptr<TcpLifeline>> kept(10);
  run(
      10, [&](auto& line, int r) { kept[static_cast<std::size_t>(r)] = std::move(line); },
      [&](const std::vector<std::string>&) { at_start = listening(); });
  EXPECT_EQ(at_start, before + 2);  // rank 0 and rank 1 have others below them
  EXPECT_EQ(listening(), before);
}

class Sizes : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(TcpLifeline, Sizes, testing::Values(1, 2, 9, 10, 80));

TEST_P(Sizes, AllMeet) {
  run(GetParam(), [](auto& line, int) { EXPECT_TRUE(line->meet(Seconds{20})); });
}

TEST_P(Sizes, EveryoneHearsWhatOneAnnounces) {
  const int size = GetParam(), speaker = size / 2;
  run(size, [&](auto& line, int rank) {
    if (rank == speaker) {
      line->announce({rank, 76, "loss is NaN in step 12"});
    } else {
      poll_until_announced(*line);
      EXPECT_EQ(line->announced()->rank, speaker);
      EXPECT_EQ(line->announced()->code, 76);
      EXPECT_EQ(line->announced()->message, "loss is NaN in step 12");
      EXPECT_FALSE(line->announced()->hang);
    }
    EXPECT_TRUE(line->meet(Seconds{20}));
  });
}

TEST_P(Sizes, EveryoneHearsWhoHangs) {
  const int size = GetParam(), finder = size / 2;
  run(size, [&](auto& line, int rank) {
    if (rank == finder) {
      line->announce({0, 69, "it gave no answer", true});
    } else {
      poll_until_announced(*line);
      EXPECT_EQ(line->announced()->rank, 0);
      EXPECT_EQ(line->announced()->code, 69);
      EXPECT_TRUE(line->announced()->hang);
    }
    EXPECT_TRUE(line->meet(Seconds{20}));
  });
}

TEST_P(Sizes, EveryoneNoticesADeath) {
  const int size = GetParam();
  for (int victim : {0, 1, size - 1}) {
    if (victim < 0 || victim >= size) continue;
    run(size, [&](auto& line, int rank) {
      if (rank == victim) {
        line.reset();  // what the kernel does for a dead process
        return;
      }
      poll_until_announced(*line);
      EXPECT_EQ(line->announced()->rank, victim);
      EXPECT_EQ(line->announced()->code, 69);
      EXPECT_FALSE(line->meet(Seconds{20}));  // all the others have come, but not all
    });
  }
}

// Neighbours hear of a rank's work now and then; once somebody waits for it, all hear of every piece.
TEST(TcpLifeline, WorkOfARankThatIsWaitedForIsKnownToAll) {
  constexpr int kSize = 80, kBusy = 79, kWaiting = 20;
  std::atomic<int> know{0};
  run(kSize, [&](auto& line, int rank) {
    const Section section("word of a rank's work", Seconds{20});
    if (rank == kWaiting) line->waits(kBusy);
    for (int i = 1; know < kSize; ++i) {
      line->poll();
      if (rank == kBusy && line->is_waited_for()) line->beat("microbatch " + std::to_string(i));
      const Beat* beat = line->last_beat(kBusy);
      if (beat && beat->count > 0 && beat->where.starts_with("microbatch ")) {
        ++know;
        while (know < kSize) {
          line->poll();
          if (rank == kBusy) line->beat("microbatch 2");
          section.check();
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
      }
      section.check();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  EXPECT_EQ(know, kSize);
}

TEST(TcpLifeline, LeavingInGoodOrderIsNoDeath) {
  run(10, [](auto& line, int rank) {
    line->leave();
    if (rank % 2) line.reset();
    if (!line) return;
    for (int i = 0; i < 20; ++i) {
      line->poll();
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    EXPECT_FALSE(line->announced());
  });
}

TEST(TcpLifeline, MeetingEndsAtTheDeadline) {
  run(3, [](auto& line, int rank) {
    if (rank == 1)
      std::this_thread::sleep_for(std::chrono::milliseconds(400));
    else
      EXPECT_FALSE(line->meet(Seconds{0.1}));
  });
}

// Somebody who does not know the key cannot take a rank's place, nor keep it from coming.
TEST(TcpLifeline, StrangersAreTurnedAway) {
  int stranger = -1;
  run(
      2, [](auto& line, int) { EXPECT_TRUE(line->meet(Seconds{20})); },
      [&](const std::vector<std::string>& addresses) {
        stranger = socket(AF_INET, SOCK_STREAM, 0);
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(addresses[0])));
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        ASSERT_EQ(connect(stranger, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
        const std::string guess(16 + 19, 'x');
        ASSERT_EQ(send(stranger, guess.data(), guess.size(), 0), static_cast<ssize_t>(guess.size()));
      });
  close(stranger);
}

}  // namespace
}  // namespace banyan::comm
