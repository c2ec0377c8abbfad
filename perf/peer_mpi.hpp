// The MPI library's own blocking calls, for comparison.  Nothing of Banyan's may be in flight while they run.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "perf/comm_case.hpp"

namespace banyan::perf {

class MpiPeer {
 public:
  /// MPI is initialised (comm::make_mpi_world) and outlives this.  Called by all ranks, with nothing in flight.
  MpiPeer();
  ~MpiPeer();
  MpiPeer(const MpiPeer&) = delete;
  MpiPeer& operator=(const MpiPeer&) = delete;

  /// First line of what the library says about itself.
  static std::string version();
  /// The calls that can do this: {"mpi"}, and another one where MPI has two.
  static std::vector<std::string> variants(Traffic traffic);
  /// One blocking call.
  void call(const std::string& variant, Case& c);
  void barrier();
  /// Memory that all ranks share, `bytes` each, zero, by rank; lives as long as this.  Called once, by all ranks, which
  /// sit on one node.
  std::vector<std::byte*> share(std::size_t bytes);
  /// Meets all ranks, calling `meanwhile` so that whatever else must move can.  After it the ranks may block in MPI.
  void meet(const std::function<void()>& meanwhile);

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

}  // namespace banyan::perf
