// The fault cases over MPI: mpirun -n N faults_mpi CASE.
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <exception>

#include "comm/mpi/mpi_world.hpp"
#include "tests/comm/fault_cases.hpp"

namespace banyan::comm {
namespace {

constexpr std::size_t kLongestError = 4096;

// Rank 0 judges the errors of all: over MPI, which no World is using any more.
std::string judge_together(const FaultCase& fault, int rank, int size, std::string error) {
  error.resize(kLongestError);
  std::string all(static_cast<std::size_t>(size) * kLongestError, 0);
  MPI_Gather(error.data(), kLongestError, MPI_BYTE, all.data(), kLongestError, MPI_BYTE, 0, MPI_COMM_WORLD);
  if (rank != 0) return {};
  std::vector<std::string> errors;
  for (std::size_t at = 0; at < all.size(); at += kLongestError) errors.emplace_back(all.c_str() + at);
  return judge(fault, errors);
}

}  // namespace
}  // namespace banyan::comm

int main(int argc, char** argv) {
  using namespace banyan::comm;
  const auto& cases = fault_cases();
  const auto fault = std::find_if(cases.begin(), cases.end(), [&](const FaultCase& c) { return c.name == argv[1]; });
  if (argc != 2 || fault == cases.end()) return 64;
  auto world = make_mpi_world_wrapped(
      [&](std::unique_ptr<Transport> t) { return std::make_unique<FaultyTransport>(std::move(t), fault->faults); });
  std::string verdict;
  try {
    const std::string error = run_among_faults(*world, *fault);
    if (!error.empty()) world->announce_failure(69, error);
    const int rank = world->rank(), size = world->size();
    if (!world->last_barrier(banyan::Seconds{20})) throw std::runtime_error("a rank did not come to the last barrier");
    verdict = judge_together(*fault, rank, size, error);
  } catch (const std::exception& e) {
    verdict = e.what();
  }
  if (!verdict.empty()) std::fprintf(stderr, "%s\n", verdict.c_str());
  world.release();  // an orderly end is not for a World that failed
  if (verdict.empty()) MPI_Finalize();
  _exit(verdict.empty() ? 0 : 1);
}
