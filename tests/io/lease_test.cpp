#include "io/lease.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>
#include <thread>

#include "io/atomic_file.hpp"
#include "io/run_store.hpp"
#include "src/base/error.hpp"
#include "tests/sanitized.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::io {
namespace {

using test::TempDir;

const LeaseOptions kQuick{Seconds(0.02), Seconds(0.3), {}};

std::string owner_text(const std::string& host, std::int64_t pid, std::uint64_t start, const std::string& boot = "b") {
  return "{\"host\":\"" + host + "\",\"boot\":\"" + boot + "\",\"pid_space\":\"p\",\"pid\":" + std::to_string(pid) +
         ",\"start_time\":" + std::to_string(start) + ",\"job\":\"88\",\"nonce\":\"n\",\"run_uuid\":\"u\"}\n";
}

TEST(Lease, EpochsGrowAndTheRunKeepsItsName) {
  TempDir run;
  std::string uuid;
  for (std::int64_t epoch = 1; epoch <= 3; ++epoch) {
    Lease lease(run.path(), kQuick);
    EXPECT_EQ(lease.epoch(), epoch);
    EXPECT_EQ(lease.lost(), "");
    if (epoch == 1) uuid = lease.run_uuid();
    EXPECT_EQ(lease.run_uuid(), uuid);
    EXPECT_EQ(uuid.size(), 32u);
    EXPECT_FALSE(lease_base(run.path(), epoch).has_value());
    lease.record_base({"step-000000005.e1", "d"});
    EXPECT_EQ(lease_base(run.path(), epoch), (CheckpointId{"step-000000005.e1", "d"}));
  }
  EXPECT_TRUE(path_exists(run / "lease" / "e3" / "RELEASED"));
}

TEST(Lease, ALiveHolderIsNamed) {
  TempDir run;
  Lease lease(run.path(), kQuick);
  try {
    Lease second(run.path(), kQuick);
    FAIL();
  } catch (const RunHeldError& e) {
    const std::string text = e.what();
    EXPECT_NE(text.find(std::to_string(::getpid())), std::string::npos) << text;
    EXPECT_NE(text.find(lease.owner().host), std::string::npos) << text;
  }
  EXPECT_EQ(lease.lost(), "");
}

TEST(Lease, ADeadProcessOfThisMachineIsReplacedAtOnce) {
  TempDir run;
  const pid_t child = ::fork();
  if (child == 0) {
    new Lease(run.path(), kQuick);  // never released, as after kill -9
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_FALSE(path_exists(run / "lease" / "e1" / "RELEASED"));
  LeaseOptions patient = kQuick;
  patient.silence = Seconds(3600);
  Lease lease(run.path(), patient);
  EXPECT_EQ(lease.epoch(), 2);
}

TEST(Lease, APidThatWasGivenToAnotherProcessIsDead) {
  TempDir run;
  make_directories(run / "lease" / "e4");
  const LeaseOwner me = LeaseOwner::self();
  write_atomic(run / "lease" / "e4" / "OWNER",
               "{\"host\":\"" + me.host + "\",\"boot\":\"" + me.boot + "\",\"pid_space\":\"" + me.pid_space +
                   "\",\"pid\":" + std::to_string(me.pid) + ",\"start_time\":" + std::to_string(me.start_time + 1) +
                   ",\"job\":\"\",\"nonce\":\"n\",\"run_uuid\":\"u\"}");
  Lease lease(run.path(), kQuick);
  EXPECT_EQ(lease.epoch(), 5);
  EXPECT_EQ(lease.run_uuid(), "u");
}

// On a full disk nothing can be put into a file that was emptied: the heartbeat is written over what is there.
TEST(Lease, TheHeartbeatIsNeverEmptyAndGrows) {
  TempDir run;
  Lease lease(run.path(), LeaseOptions{Seconds(0.0001), Seconds(0.3), {}});
  std::string first, now;
  ASSERT_TRUE(read_if_there(run / "lease" / "e1" / "HEARTBEAT", 100, first));
  int looks = 0;
  for (now = first; looks < 100000 && (now == first || looks < 200); ++looks) {
    ASSERT_TRUE(read_if_there(run / "lease" / "e1" / "HEARTBEAT", 100, now));
    ASSERT_FALSE(now.empty());
  }
  EXPECT_NE(now, first);
}

TEST(Lease, AnotherHostIsJudgedByItsHeartbeatAlone) {
  TempDir run;
  make_directories(run / "lease" / "e1");
  write_atomic(run / "lease" / "e1" / "OWNER", owner_text("elsewhere", 1, 1));
  write_atomic(run / "lease" / "e1" / "HEARTBEAT", "1\n");
  int count = 1;
  LeaseOptions beating = kQuick;  // the holder lives: its counter moves while we watch
  beating.while_waiting = [&] { write_atomic(run / "lease" / "e1" / "HEARTBEAT", std::to_string(++count) + "\n"); };
  try {
    Lease lease(run.path(), beating);
    FAIL();
  } catch (const RunHeldError& e) {
    EXPECT_NE(std::string(e.what()).find("process 1 on elsewhere (job 88)"), std::string::npos) << e.what();
  }
  Lease lease(run.path(), kQuick);  // it stands still
  EXPECT_EQ(lease.epoch(), 2);
}

// Nothing is known of a holder whose heartbeat cannot be read: that is no silence.
TEST(Lease, AHeartbeatThatCannotBeReadIsNoDeath) {
  if (BANYAN_SANITIZED) GTEST_SKIP() << "this takes all file descriptors away, and sanitizers need some";
  TempDir run;
  make_directories(run / "lease" / "e1");
  write_atomic(run / "lease" / "e1" / "OWNER", owner_text("elsewhere", 1, 1));
  const auto heartbeat = run / "lease" / "e1" / "HEARTBEAT";
  write_atomic(heartbeat, "1\n");
  ::rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  LeaseOptions watching = kQuick;
  int looks = 0;
  watching.while_waiting = [&] {
    if (++looks != 2) return;
    ::rlimit none = before;
    none.rlim_cur = 0;  // no file can be opened any more: EMFILE
    ::setrlimit(RLIMIT_NOFILE, &none);
  };
  EXPECT_THROW(Lease(run.path(), watching), IoError);
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_GT(looks, 2);
  watching.while_waiting = [&] {  // it can be read again, and moves
    write_atomic(heartbeat, std::to_string(++looks) + "\n");
  };
  EXPECT_THROW(Lease(run.path(), watching), RunHeldError);
}

TEST(Lease, AZombieIsFenced) {
  TempDir run;
  Lease zombie(run.path(), kQuick);
  std::this_thread::sleep_for(5 * kQuick.beat);
  EXPECT_EQ(zombie.seen_lost(), "");
  make_directories(run / "lease" / "prepare-n");  // somebody took over
  write_atomic(run / "lease" / "prepare-n" / "OWNER", owner_text("n7", 12, 1));
  std::filesystem::rename(run / "lease" / "prepare-n", run / "lease" / "e2");
  EXPECT_NE(zombie.lost().find("process 12 on n7"), std::string::npos) << zombie.lost();
  // Its heart sees it by itself.
  for (int looks = 0; looks < 1000 && zombie.seen_lost().empty(); ++looks) std::this_thread::sleep_for(kQuick.beat);
  EXPECT_EQ(zombie.seen_lost(), zombie.lost());
}

TEST(Lease, TwoStartsNeverShareAnEpoch) {
  TempDir run;
  constexpr int kStarts = 6;
  int pipe_fd[2];
  ASSERT_EQ(::pipe(pipe_fd), 0);
  for (int i = 0; i < kStarts; ++i)
    if (::fork() == 0) {
      std::int64_t epoch = 0;
      try {
        epoch = (new Lease(run.path(), kQuick))->epoch();  // dies holding it, so that others may follow
      } catch (const RunHeldError&) {
      } catch (...) {
        epoch = -1;
      }
      [[maybe_unused]] auto n = ::write(pipe_fd[1], &epoch, sizeof epoch);
      ::_exit(0);
    }
  ::close(pipe_fd[1]);
  std::set<std::int64_t> epochs;
  std::int64_t epoch = 0;
  while (::read(pipe_fd[0], &epoch, sizeof epoch) == sizeof epoch) {
    EXPECT_GE(epoch, 0);
    if (epoch > 0) {
      EXPECT_TRUE(epochs.insert(epoch).second) << epoch;
    }
  }
  ::close(pipe_fd[0]);
  while (::wait(nullptr) > 0) {
  }
  EXPECT_GE(epochs.size(), 1u);
}

TEST(Lease, DamagedLeasesDoNotStopAStart) {
  TempDir run;
  for (const char* text : {"", "{", "[]", "{\"pid\": \"x\"}", "\xff"}) {
    const auto epochs = lease_epochs(run.path());
    const std::int64_t next = epochs.empty() ? 1 : epochs.back() + 1;
    make_directories(run / "lease" / ("e" + std::to_string(next)));
    write_atomic(run / "lease" / ("e" + std::to_string(next)) / "OWNER", text);
    write_atomic(run / "lease" / ("e" + std::to_string(next)) / "BASE", text);
    EXPECT_FALSE(lease_owner(run.path(), next).has_value());
    EXPECT_FALSE(lease_base(run.path(), next).has_value());
    Lease lease(run.path(), kQuick);
    EXPECT_EQ(lease.epoch(), next + 1);
  }
  make_directories(run / "lease" / "e007");
  make_directories(run / "lease" / "ex");
  make_directories(run / "lease" / "e99999999999999999999");
  EXPECT_EQ(lease_epochs(run.path()).back(), 10);
}

// A base that reads well but is another one would send the history of the run another way.
TEST(Lease, EveryBitFlipInBaseIsSeenOrHarmless) {
  TempDir run;
  const CheckpointId base{checkpoint_name(12, 3), "0123456789abcdef0123456789abcdef"};
  Lease lease(run.path(), kQuick);
  lease.record_base(base);
  const auto path = run / "lease" / "e1" / "BASE";
  const std::string good = read_limited(path, 4096);
  for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    write_atomic(path, bad);
    const auto read = lease_base(run.path(), 1);
    if (read) {
      EXPECT_TRUE(read->name == base.name && read->digest == base.digest) << bad;
    }
  }
  // Of a program that wrote no sum.
  write_atomic(path, "{\"name\":\"" + base.name + "\",\"digest\":\"d\"}\n");
  ASSERT_TRUE(lease_base(run.path(), 1).has_value());
  EXPECT_EQ(lease_base(run.path(), 1)->name, base.name);
}

}  // namespace
}  // namespace banyan::io
