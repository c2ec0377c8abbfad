// What another program prints, with a deadline.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "src/base/section.hpp"

namespace banyan {

/// Runs words[0], looked up in PATH, with the others as its arguments and nothing to read, and returns what it writes
/// to standard output.  Nothing when there is no such program, when it ends with an exit code other than 0, has more
/// than `most` bytes to say, or is not done in time: it is killed then.  `why` says which.  Does not copy this process,
/// which memory that is registered with a network would not bear.
std::optional<std::string> program_output(const std::vector<std::string>& words, Seconds deadline, std::size_t most,
                                          std::string& why);

}  // namespace banyan
