// Time as SimGrid plays it, for one rank.  What computations take is owed until the rank speaks to others or asks for
// the time; then it is slept.
#pragma once

#include <memory>

#include "comm/transport.hpp"

namespace banyan::sim {

/// This rank computes for so long.
void spend(double seconds);
/// Sleeps what is owed.
void pay();
/// Seconds of the rank's time.
double now();
/// Pays before it sends, receives, waits or looks for what is under way.  A rank that looks again and again, while
/// nothing else happens, waits, and is made to: played time does not pass otherwise.
std::unique_ptr<comm::Transport> paying(std::unique_ptr<comm::Transport> transport);

/// From now on all links of the platform carry everything at once, or nearly so.  For one rank to call, while the
/// others wait for it; sleeps a second before, until the last message has arrived.
void remove_network();

}  // namespace banyan::sim
