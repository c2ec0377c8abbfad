// How far a long pass over bytes has come: a live line on a terminal, a line every ten seconds otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "src/base/section.hpp"

namespace banyan::app {

class Meter {
 public:
  Meter(std::string what, std::int64_t total);
  void add(std::size_t bytes);

 private:
  std::string what_;
  std::int64_t total_, done_ = 0;
  Clock::time_point begun_, said_;
};

}  // namespace banyan::app
