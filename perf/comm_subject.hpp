// Who carries the traffic of `bench comm`: Banyan with one of its algorithms, the MPI library, or nothing but memcpy.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "perf/comm_case.hpp"
#include "perf/copy_limit.hpp"
#include "perf/peer_mpi.hpp"

namespace banyan::perf {

// Names of limits.
inline constexpr const char *kMemcpy = "memcpy", *kWindow = "window", *kWindowPastCaches = "window, past caches",
                            *kPerftest = "ucx_perftest";

struct Subject {
  std::string name;
  /// One call, complete when it returns.
  std::function<void(Case&)> call;
  /// Brings all ranks to the same point, by the means that calls use.
  std::function<void()> meet;
  /// Its results can be checked.
  bool checked = true;
};

/// One call over a communicator.
void call_banyan(comm::Communicator& c, Case& k);
/// memcpy of the bytes that a window must carry at least, between two buffers of the case's size, in each rank at once.
Subject copy_subject(comm::Communicator& c);
/// The same bytes through shared memory.
Subject window_subject(comm::Communicator& c, CopyLimit& limit, bool past_caches);
Subject banyan_subject(comm::Communicator& c, const std::string& algorithm);
Subject mpi_subject(MpiPeer& peer, const std::string& variant);

/// Seconds per message as ucx_perftest has it, by the script beside this program; below 0 where it cannot tell.
double ucx_limit(Traffic traffic, std::int64_t bytes);

}  // namespace banyan::perf
