// A job that does nothing but load and save: ranks as threads, values known.  Faults are injected from outside.  Every
// other save, the first among them, is written in the background while the values change.
//
//   checkpoint_victim RUN RANKS STEP...
//
// Prints, unbuffered, "resumed STEP" (-1: fresh), then for each step "committed STEP" or "failed STEP MESSAGE".  Values
// that differ from what the checkpoint's step must hold end it with exit code 1; errors with their own code.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <string>

#include "src/base/error.hpp"
#include "tests/job/logical_model.hpp"

namespace {

using namespace banyan;

void say(const std::string& line) {
  // Not through write(2), which the fault library counts only for files of the run anyway, but in one piece.
  const std::string text = line + "\n";
  [[maybe_unused]] const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
}

}  // namespace

int main(int argc, char** argv) {
  ::signal(SIGXFSZ, SIG_IGN);
  const std::string run = argv[1];
  const int ranks = std::stoi(argv[2]);
  std::atomic<int> differences = 0;
  try {
    comm::run_loopback(ranks, [&](comm::World& world) {
      std::vector<int> members;
      for (int i = 0; i < ranks; ++i) members.push_back(i);
      const auto all = world.group(members, 1, "all");
      const bool root = world.rank() == 0;
      job::Checkpoints ckpt(*all, {.run_dir = run, .keep = 2});
      int wrong = 0;
      const auto from = ckpt.load(test::checking_fill(
          world.rank(), ranks, [](const io::Manifest& m) { return static_cast<int>(m.step); }, wrong));
      differences += wrong;
      if (root) say("resumed " + std::to_string(from ? from->step : -1));
      for (int i = 3; i < argc; ++i) {
        const int step = std::stoi(argv[i]);
        test::Holding mine(world.rank(), ranks, step);
        const bool background = i % 2 != 0;
        job::SaveResult r =
            background ? ckpt.begin({.step = step}, mine.tensors) : ckpt.save({.step = step}, mine.tensors);
        for (auto& values : mine.memory) std::fill(values.begin(), values.end(), -1.0f);
        while (ckpt.in_flight()) r = ckpt.finish();
        if (root) say((r.ok ? "committed " : "failed ") + std::to_string(step) + " " + r.error);
      }
    });
  } catch (const Error& e) {
    say(std::string("error ") + e.what());
    return static_cast<int>(e.code());
  }
  return differences == 0 ? 0 : 1;
}
