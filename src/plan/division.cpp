#include "src/plan/division.hpp"

#include "src/base/error.hpp"

namespace banyan::plan {

std::string_view name_of(parallel::ScheduleKind kind) {
  using parallel::ScheduleKind;
  switch (kind) {
    case ScheduleKind::kGpipe:
      return "gpipe";
    case ScheduleKind::k1F1B:
      return "1f1b";
    case ScheduleKind::kInterleaved:
      return "interleaved";
    case ScheduleKind::kZbH1:
      return "zb-h1";
    case ScheduleKind::kZbV:
      return "zb-v";
  }
  throw BugError("a schedule of kind {}", static_cast<int>(kind));
}

}  // namespace banyan::plan
