// Saves and loads over real processes.  Every rank checks its own values; exit code 0 means all were right.
#include <cstdio>
#include <cstdlib>

#include "src/base/error.hpp"
#include "tests/job/logical_model.hpp"
#include "tests/temp_dir.hpp"

namespace {

using namespace banyan;

int failures = 0;

void check(bool ok, int rank, const char* what) {
  if (ok) return;
  ++failures;
  std::fprintf(stderr, "rank %d: %s\n", rank, what);
}

void body(comm::World& world) {
  std::vector<int> members;
  for (int i = 0; i < world.size(); ++i) members.push_back(i);
  const auto all = world.group(members, 1, "all");
  std::optional<test::TempDir> dir;
  if (world.rank() == 0) dir.emplace();
  const std::string run = comm::broadcast_string(*all, dir ? dir->path().string() : "", 0, "the directory");
  for (int attempt = 1; attempt <= 2; ++attempt) {
    job::Checkpoints ckpt(*all, {.run_dir = run});
    int wrong = -1;
    const auto from = ckpt.load(test::checking_fill(
        world.rank(), world.size(), [](const io::Manifest& m) { return static_cast<int>(m.step); }, wrong));
    check(from.has_value() == (attempt == 2), world.rank(), "resumed when it should not have, or not");
    check(!from || (from->step == 3 && wrong == 0), world.rank(), "read other values than were written");
    for (int step : {2 * attempt, 2 * attempt + 1}) {
      const test::Holding mine(world.rank(), world.size(), step);
      job::SaveResult r =
          step % 2 == 0 ? ckpt.begin({.step = step}, mine.tensors) : ckpt.save({.step = step}, mine.tensors);
      while (ckpt.in_flight()) r = ckpt.finish();
      check(r.ok, world.rank(), r.error.c_str());
    }
    all->barrier("the end of the attempt");
  }
  if (world.rank() == 0) {
    const auto list = io::RunStore(run).list();
    check(list.size() == 3 && list[0].name == io::checkpoint_name(5, 2), 0, "not the checkpoints that should be there");
    io::CheckpointReader reader(io::RunStore(run).path_of(list[0].name));
    check(reader.verify_files().empty(), 0, "files do not verify");
  }
  all->barrier("the end");
}

}  // namespace

int main() {
  auto world = comm::make_mpi_world();
  try {
    body(*world);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "rank %d: %s\n", world->rank(), e.what());
    world->announce_failure(1, e.what());
    std::_Exit(1);
  }
  world.reset();
  return failures == 0 ? 0 : 1;
}
