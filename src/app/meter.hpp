// How far a long pass over bytes has come: a live line on a terminal, a line every ten seconds otherwise.  It is also
// where such a pass notices that it shall stop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "src/base/section.hpp"

namespace banyan::app {

class Meter {
 public:
  Meter(std::string what, std::int64_t total);
  /// Error with code 75 when a signal asked to stop.
  void add(std::size_t bytes);
  /// The same, for passes that count something else than bytes.
  void stop_if_asked() const;

 private:
  std::string what_;
  std::int64_t total_, done_ = 0;
  Clock::time_point begun_, said_;
};

}  // namespace banyan::app
