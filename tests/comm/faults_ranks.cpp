// The fault cases among processes: faults_ranks CASE DIRECTORY.  Every rank leaves its error in DIRECTORY/error.N, rank
// 0 judges them all and writes DIRECTORY/verdict, empty when all is well.  After a failure nobody touches MPI again,
// not even to finalize: what is under way would be written to memory that is gone.  Hence the files, and no word by
// exit code.
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "comm/mpi/mpi_world.hpp"
#include "src/base/section.hpp"
#include "tests/comm/fault_cases.hpp"

namespace banyan::comm {
namespace {

std::string verdict_of_all(const FaultCase& fault, int size, const std::string& directory) {
  std::vector<std::string> errors;
  for (int r = 0; r < size; ++r) {
    if (fault.one_dies && r == fault.faults.rank) continue;
    std::ifstream in(directory + "/error." + std::to_string(r));
    if (!in) return "rank " + std::to_string(r) + " left nothing";
    std::ostringstream text;
    text << in.rdbuf();
    errors.push_back(text.str());
  }
  return judge(fault, errors);
}

}  // namespace
}  // namespace banyan::comm

int main(int argc, char** argv) {
  using namespace banyan::comm;
  namespace fs = std::filesystem;
  if (argc != 3) return 64;
  const std::string name = argv[1], directory = argv[2];
  const auto& cases = fault_cases();
  const auto fault = std::find_if(cases.begin(), cases.end(), [&](const FaultCase& c) { return c.name == name; });
  if (fault == cases.end()) return 64;
  auto world = make_mpi_world_wrapped(
      [&](std::unique_ptr<Transport> t) { return std::make_unique<FaultyTransport>(std::move(t), fault->faults); });
  std::string verdict;
  try {
    const std::string error = run_among_faults(*world, *fault);
    std::ofstream(directory + "/error." + std::to_string(world->rank())) << error;
    if (!error.empty()) world->announce_failure(69, error);
    // Not all come where one has died; then those who are left are waited for all the same.
    if (!world->last_barrier(banyan::Seconds{20}) && !fault->one_dies)
      throw std::runtime_error("a rank did not come to the last barrier");
    if (world->rank() == 0) verdict = verdict_of_all(*fault, world->size(), directory);
  } catch (const std::exception& e) {
    verdict = e.what();
  }
  const fs::path file = directory + "/verdict";
  if (world->rank() == 0 || !verdict.empty()) {
    const fs::path mine = file.string() + "." + std::to_string(world->rank());
    std::ofstream(mine) << verdict;
    fs::rename(mine, file);
  }
  // The first that leaves has mpirun end the others.
  const auto end = banyan::Clock::now() + std::chrono::seconds(10);
  for (banyan::Backoff backoff; !fs::exists(file) && banyan::Clock::now() < end;) backoff.pause();
  world.release();
  _exit(69);
}
