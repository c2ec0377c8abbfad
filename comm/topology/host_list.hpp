// Names written short, as Slurm writes them: "n[1-3,7],gpu[01-16]-ib[0,1],login".  Numbers keep their leading zeros;
// several brackets in a name multiply, the last one counting fastest.  Slurm's scontrol(1), "show hostnames".
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace banyan::comm {

/// More hosts than that no cluster has; a list that is longer is a slip, or meant to harm.
inline constexpr std::size_t kMostHosts = 1u << 18;

/// All names, in the order written.  DataError with the position of what is wrong, or when there are more than `most`,
/// which is found before they are made.
std::vector<std::string> expand_host_list(std::string_view text, std::size_t most = kMostHosts);

/// The reverse: neighbours in the list that differ in their last number alone are folded.  Expanding it gives the names
/// again, in the same order.
std::string fold_host_list(const std::vector<std::string>& names);

}  // namespace banyan::comm
