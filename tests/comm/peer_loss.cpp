// Losing a rank among processes: peer_loss kill|hang|fail DIRECTORY.  The last rank goes; every other one must end with
// a CommError that names it and write "ok" to DIRECTORY/rank.N; peer_loss.sh counts these files.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "comm/communicator.hpp"
#include "src/base/error.hpp"
#include "tests/comm/conformance.hpp"

int main(int argc, char** argv) {
  using namespace banyan::comm;
  using banyan::Seconds;
  if (argc != 3) return 64;
  const std::string mode = argv[1], directory = argv[2];
  auto world = make_mpi_world();
  const int victim = world->size() - 1;
  std::string what = "nothing";
  try {
    configure_for_test(*world, Seconds{mode == "hang" ? 3.0 : 30.0});
    const auto all = everyone(*world), other = everyone(*world, 1);
    std::vector<float> a(100000, 1.0f), b(3, 1.0f);
    const banyan::View va(a.data(), {100000}), vb(b.data(), {3});
    for (int step = 0;; ++step) {
      if (step == 20 && world->rank() == victim) {
        if (mode == "kill") raise(SIGKILL);
        if (mode == "hang") {
          std::this_thread::sleep_for(std::chrono::seconds(8));  // longer than the others' patience
          _exit(69);
        }
        throw banyan::IoError("disk full in step {}", step);
      }
      auto background = other->all_reduce({}, va, ReduceOp::kMax, "gradients");
      all->all_reduce({}, vb, ReduceOp::kMax, "activations").wait();
      background.wait();
    }
  } catch (const banyan::Error& e) {
    what = e.what();
    world->announce_failure(static_cast<int>(e.code()), what);
  }
  std::fprintf(stderr, "rank %d: %s\n", world->rank(), what.c_str());
  const std::string name = "rank " + std::to_string(victim) + " on " + world->host(victim);
  const bool announced = mode == "fail";
  const std::string expected = mode == "fail"   ? name + " failed: disk full"
                               : mode == "kill" ? name + " failed: it ended without a word"
                                                : name;
  // Of a rank that hangs some find out by themselves, the rest is told.
  const bool named =
      what.find(expected) != std::string::npos && (mode != "hang" || what.find("no answer") != std::string::npos);
  const bool together = world->last_barrier(Seconds{announced ? 20.0 : 0.5});
  if (world->rank() != victim && named && together == announced)
    std::ofstream(directory + "/rank." + std::to_string(world->rank())) << "ok\n";
  world.release();  // no finalizing without the dead
  _exit(69);
}
