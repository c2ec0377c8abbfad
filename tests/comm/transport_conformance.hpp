// What every Transport must do: cases that all ranks run together, below groups and plans.  A case throws when
// something is not as promised.  Whoever runs the cases brings the transport: threads in
// transport_test.cpp, processes in transport_ranks.hpp.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/comm/caller.hpp"

namespace banyan::comm {

struct TransportCase {
  std::string name;
  std::function<void(Caller&)> body;
  bool gives_up = false;       ///< leaves the transport as after a failure: it is not used again, nor closed in order
  bool needs_numbers = false;  ///< holds where sequence numbers travel (Transport::carries_sequence)
};
const std::vector<TransportCase>& transport_cases();

/// Rank 0 sends 256 MiB to rank 1, twice.
void largest_message(Caller& caller);

/// The last of three or more ranks calls `die`, which does not return.  The others go on among themselves; what is
/// posted to and from the dead fails or stays pending, and is never taken for complete.  The transport is given up.
void peer_death(Caller& caller, const std::function<void()>& die);

/// The cases about errors; part of transport_cases().
void cancelled_receives(Caller& caller);
void cancelled_while_it_comes(Caller& caller);
void wrong_length(Caller& caller);
void wrong_sequence(Caller& caller);
void silence_ends_a_wait(Caller& caller);
void a_section_ends_a_wait(Caller& caller);

}  // namespace banyan::comm
