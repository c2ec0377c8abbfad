#include "src/train/replicas.hpp"

#include <cstring>
#include <string>
#include <vector>

#include "io/checksum.hpp"

namespace banyan::train {
namespace {

std::uint64_t checksum(ConstView v) {
  io::Checksum64 sum;
  sum.update(v.data, v.bytes());
  return sum.value();
}

struct Copy {
  std::string name;
  std::uint64_t checksum;
};

/// Every member of the group holds copies of the same tensors, in the same order.
void compare(comm::Communicator* group, const std::vector<Copy>& copies, std::int64_t step) {
  if (!group || copies.empty()) return;
  std::string mine(copies.size() * sizeof(std::uint64_t), '\0');
  for (std::size_t i = 0; i < copies.size(); ++i)
    std::memcpy(mine.data() + i * sizeof(std::uint64_t), &copies[i].checksum, sizeof(std::uint64_t));
  const std::vector<std::string> all = comm::all_gather_strings(*group, mine, "checksums of replicas");
  for (std::size_t member = 1; member < all.size(); ++member) {
    if (all[member].size() != all[0].size())
      throw BugError("{} holds other tensors", group->peer_name(static_cast<int>(member)));
    for (std::size_t i = 0; i < copies.size(); ++i) {
      const std::size_t at = i * sizeof(std::uint64_t);
      if (std::memcmp(all[member].data() + at, all[0].data() + at, sizeof(std::uint64_t)) != 0)
        throw NumericsError(
            "after step {} the copies of {} on {} and {} differ; memory or a message went wrong, "
            "nothing was saved: check these hosts and resume from the last checkpoint",
            step, copies[i].name, group->peer_name(0), group->peer_name(static_cast<int>(member)));
    }
  }
}

}  // namespace

void compare_replicas(Trainer& t, std::int64_t step) {
  std::vector<Copy> params, moments, replicated, tied;
  const std::vector<model::LocalParam>& list = t.stage.params();
  for (const model::LocalParam& p : list) {
    const Copy copy{p.logical.name, checksum(p.param)};
    params.push_back(copy);
    if (p.replicated) replicated.push_back(copy);
    if (p.tied || p.tied_copy) tied.push_back(copy);
  }
  if (!t.team.layout.zero)
    for (const MomentSlab& s : t.optimizer.state()) {
      const std::string& name = list[static_cast<std::size_t>(s.param)].logical.name;
      moments.push_back({"m of " + name, checksum(s.m)});
      moments.push_back({"v of " + name, checksum(s.v)});
    }
  compare(t.team.data.get(), params, step);
  compare(t.team.data.get(), moments, step);
  compare(t.team.tensor.get(), replicated, step);
  compare(t.team.tied.get(), tied, step);
}

}  // namespace banyan::train
