// The one file format of a fabric that is Banyan's own: written by `banyan topo --write`, by hand where nothing else
// tells, read wherever a topology is asked for.  One line for each switch:
//
//   # comment
//   switch NAME [hosts=LIST] [switches=LIST] [cables=N] [rate=SIZE] [reason=WORD] [routes=WORD]
//
// LIST is a host list (comm/topology/host_list.hpp).  cables and rate are those of the way from each of the listed
// hosts and switches up to this switch: how many cables, and what all of them carry together in one direction
// ("12.5GB", a second).  Hosts and switches whose ways differ come in further lines of the same switch.  reason says
// why a way carries less than its like ("2_of_4_cables").  routes=in_turn: what goes to the n-th host always takes
// cable n mod cables of such a way; without it the cables share evenly what comes.
#pragma once

#include <string>
#include <string_view>

#include "comm/topology/fabric.hpp"

namespace banyan::comm {

/// DataError with file and line.
Fabric parse_fabric_file(std::string_view text, const std::string& file);
/// Reads back to the same fabric but for its source.
std::string write_fabric_file(const Fabric& fabric);

}  // namespace banyan::comm
