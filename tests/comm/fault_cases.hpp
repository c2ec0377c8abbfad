// What must come of each fault that FaultyTransport stages: one program on all ranks, once per case.
#pragma once

#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "tests/comm/faulty_transport.hpp"

namespace banyan::comm {

struct FaultCase {
  std::string name;
  Faults faults;
  bool checksum = false;  ///< comm.checksum
  /// Regular expression that the error of at least one rank meets; every other rank must have an error, too.  Empty:
  /// all goes well.
  std::string error;
  bool needs_numbers = false;  ///< where the transport carries sequence numbers
  bool one_dies = false;       ///< the faulty rank itself has nothing to tell
};
/// For ranks that are processes or, unless one dies, threads; rank 1 is the faulty one.
const std::vector<FaultCase>& fault_cases();

/// All-reduces, barriers and messages around, all checked, long enough for the tags of collectives to come again. Gives
/// the CommError it ended with, empty if none; throws std::runtime_error when wrong values came without an error.
std::string run_among_faults(World& world, const FaultCase& fault);

/// Whether the errors of all ranks (those of the dead left out) are what the case wants; else says what is not.
std::string judge(const FaultCase& fault, const std::vector<std::string>& errors);

}  // namespace banyan::comm
