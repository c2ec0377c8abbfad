#include "src/parallel/microbatches.hpp"

#include <algorithm>

#include "src/base/error.hpp"

namespace banyan::parallel {

MicrobatchRange split_microbatches(std::int64_t total, int rank, int ranks) {
  if (ranks < 1 || rank < 0 || rank >= ranks || total < 0)
    throw BugError("microbatches of data rank {} of {}, {} in all", rank, ranks, total);
  const std::int64_t each = total / ranks, more = total % ranks;
  return {rank * each + std::min<std::int64_t>(rank, more), each + (rank < more ? 1 : 0)};
}

}  // namespace banyan::parallel
