// The transport cases on ranks that are processes: main of one program per transport.
#pragma once

#include <functional>
#include <memory>

#include "comm/transport.hpp"

namespace banyan::comm {

/// How a program comes by its transport.
struct TransportMaker {
  /// Called by all ranks together, for every case.
  std::function<std::unique_ptr<Transport>()> make;
  /// Called by all ranks together when a case left it in good order.
  std::function<void(Transport&)> close;
  /// Whether one may be closed in which a case has left messages posted that never come.
  bool closes_what_gave_up = false;
  bool stops_long_messages = true;  ///< see Caller
};

/// Runs all cases (or those named on the command line) and gives the exit code; a rank whose case fails ends the
/// program.  `--checked` as the first argument runs them over a CheckedTransport (comm.checksum = on).  `--death
/// DIRECTORY` runs peer_death instead, in which the last rank kills itself and every other one leaves a file
/// DIRECTORY/rank.N.
int run_transport_cases(const TransportMaker& maker, int argc, char** argv);

}  // namespace banyan::comm
