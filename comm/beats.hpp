// How far ranks were when they were last heard of: each counts the pieces of its work (microbatches) and says where it
// is.  Pure but for the clock.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "src/base/section.hpp"

namespace banyan::comm {

struct Beat {
  std::uint32_t count = 0;      ///< pieces of work done
  std::string where = {};       ///< "step 7, microbatch 3"
  Clock::time_point when = {};  ///< it was so
};

class Beats {
 public:
  /// One more of this rank.
  const Beat& add(int rank, std::string_view where);
  /// What was heard of another rank; false when it was known.
  bool note(int rank, const Beat& beat);
  /// nullptr: nothing was ever heard.
  const Beat* of(int rank) const;

  /// "COUNT MILLISECONDS WHERE", for those who were not there: clocks of hosts differ, ages do not.
  static std::string pack(const Beat& beat);
  /// The reverse; count 0 for anything else.
  static Beat unpack(std::string_view text);

 private:
  std::map<int, Beat> of_;
};

/// "it was last heard of 4.2 s ago, at step 7, microbatch 3".
std::string last_heard(const Beat& beat);

}  // namespace banyan::comm
