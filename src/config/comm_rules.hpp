// Rules of the section comm; rules.hpp has what a rule is.
#pragma once

#include <string>

#include "src/config/config.hpp"

namespace banyan::config {

void shared_needs_shared_memory(const Config& c);
void gpus_for_what_carries_their_memory(const Config& c);
void messages_are_checked_in_host_memory(const Config& c);
void nccl_has_its_own_collectives(const Config& c);

/// The first key that chooses how data is summed or moved by collectives of host memory, "comm.all_reduce = ring";
/// empty where all are auto.
std::string chosen_collective(const comm_section& comm);

}  // namespace banyan::config
