// The conformance cases of processes: mpirun -n N world_conformance [CASE].
#include <unistd.h>

#include <cstdio>
#include <exception>

#include "comm/communicator.hpp"
#include "tests/comm/conformance.hpp"

int main(int argc, char** argv) {
  using namespace banyan::comm;
  auto world = make_mpi_world();
  try {
    configure_for_test(*world);
    for (const ConformanceCase& c : conformance_cases()) {
      if (argc > 1 && c.name != argv[1]) continue;
      if (world->rank() == 0) std::fprintf(stderr, "%s\n", c.name.c_str());
      c.body(*world);
    }
  } catch (const std::exception& e) {
    std::fprintf(stderr, "rank %d: %s\n", world->rank(), e.what());
    world->announce_failure(1, e.what());
    world->last_barrier(banyan::Seconds{5});
    _exit(1);
  }
  return 0;
}
