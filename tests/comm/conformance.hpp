// What every World must do, whatever its transport: cases that all ranks run together.  A case throws when something is
// not as promised.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.hpp"

namespace banyan::comm {

struct ConformanceCase {
  std::string name;
  std::function<void(World&)> body;
};
const std::vector<ConformanceCase>& conformance_cases();

/// Throws std::runtime_error(what) unless it holds.
void require(bool holds, std::string_view what);
/// Element by element in float, double, int32 and int64.
void reduce_on_host(Queue, View out, ConstView a, ConstView b, ReduceOp op);
/// The defaults, over the transport that BANYAN_TEST_TRANSPORT names (ranks that are processes), without shared windows
/// when BANYAN_TEST_MESSAGES_ONLY is set, with a thread that moves messages when BANYAN_TEST_BACKGROUND is.
WorldOptions options_for_test();
/// Gives the world these, the reduction above and a short timeout.
void configure_for_test(World& world, Seconds timeout = Seconds{30}, bool checksum = false, bool shared_memory = true,
                        bool background = false);
/// Communicator of all ranks, with the algorithm that BANYAN_TEST_ALGORITHM names.
std::unique_ptr<Communicator> everyone(World& world, int id = 0);

}  // namespace banyan::comm
