#include "src/train/replicas.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "io/checksum.hpp"
#include "src/job/causes.hpp"

namespace banyan::train {
namespace {

struct Copies {
  std::vector<std::string> names;
  std::vector<std::uint64_t> sums;

  void add(std::string name, HostCopy& host, ConstView v) {
    names.push_back(std::move(name));
    const ConstView here = host.of(v);
    sums.push_back(io::checksum64(here.data, here.bytes()));
  }
};

std::string bytes_of(const std::vector<std::uint64_t>& sums) {
  return {reinterpret_cast<const char*>(sums.data()), sums.size() * sizeof(std::uint64_t)};
}

/// Every member of the group, these ranks of the world, holds copies of the same tensors, in the same order.
void compare(Trainer& t, comm::Communicator* group, const std::vector<int>& ranks, const Copies& copies,
             std::int64_t step, std::vector<Finding>& findings) {
  if (!group || copies.sums.empty()) return;
  // One checksum of all is enough as long as they agree.
  const std::string all_mine = bytes_of(copies.sums);
  std::vector<std::string> all = comm::all_gather_strings(
      *group, bytes_of({io::checksum64(all_mine.data(), all_mine.size())}), "checksums of replicas");
  if (std::equal(all.begin() + 1, all.end(), all.begin())) return;
  all = comm::all_gather_strings(*group, all_mine, "checksums of each replica");
  for (std::size_t i = 0; i < copies.sums.size(); ++i) {
    std::vector<std::uint64_t> sums(all.size());
    for (std::size_t member = 0; member < all.size(); ++member) {
      if (all[member].size() != all_mine.size())
        throw BugError("{} holds other tensors", group->peer_name(static_cast<int>(member)));
      std::memcpy(&sums[member], all[member].data() + i * sizeof(std::uint64_t), sizeof(std::uint64_t));
    }
    const std::vector<int> odd = odd_ones(sums);
    if (odd.empty()) continue;
    Finding f;
    std::string names;
    for (const int member : odd) {
      const int rank = ranks[static_cast<std::size_t>(member)];
      f.ranks.push_back(rank);
      names += fmt::format("{}rank {} on {}", names.empty() ? "" : " and ", rank, t.job.world.host(rank));
    }
    f.sentence = odd.size() == all.size()
                     ? fmt::format("after step {} the copies of {} on {} differ", step, copies.names[i], names)
                     : fmt::format("after step {} {} of {} on {} differs from that of the others", step,
                                   odd.size() == 1 ? "the copy" : "each copy", copies.names[i], names);
    findings.push_back(std::move(f));
    return;
  }
}

}  // namespace

void compare_replicas(Trainer& t, std::int64_t step) {
  Copies params, moments, replicated, tied;
  const std::vector<model::LocalParam>& list = t.stage.params();
  for (const model::LocalParam& p : list) {
    // What is spread over data ranks they have in common as its rounded copy.
    params.add(p.logical.name, t.host_copy, p.spread ? p.rounded : p.param);
    const auto again = [&](Copies& copies) {
      if (p.spread) return copies.add(p.logical.name, t.host_copy, p.param);
      copies.names.push_back(p.logical.name);
      copies.sums.push_back(params.sums.back());
    };
    if (p.replicated) again(replicated);
    if (p.tied || p.tied_copy) again(tied);
  }
  if (!t.team.layout.zero)
    for (const MomentSlab& s : t.optimizer.state()) {
      const std::string& name = list[static_cast<std::size_t>(s.param)].logical.name;
      moments.add("m of " + name, t.host_copy, s.m);
      moments.add("v of " + name, t.host_copy, s.v);
    }
  const parallel::Mesh& mesh = t.team.mesh;
  const std::vector<int> column = mesh.pipeline_group(t.team.at);
  std::vector<Finding> findings;
  compare(t, t.team.data.get(), mesh.data_group(t.team.at), params, step, findings);
  compare(t, t.team.data.get(), mesh.data_group(t.team.at), moments, step, findings);
  compare(t, t.team.tensor.get(), mesh.tensor_group(t.team.at), replicated, step, findings);
  compare(t, t.team.tied.get(), {column.front(), column.back()}, tied, step, findings);
  settle(t, findings);
}

void settle(Trainer& t, std::span<const Finding> mine) {
  comm::Communicator& all = *t.team.all;
  if (comm::all_reduce_value(all, std::ssize(mine), comm::ReduceOp::kMax, "whether all ranks agree") == 0) return;
  std::vector<Finding> findings;
  for (const std::string& text : comm::all_gather_strings(all, encode(mine), "what ranks disagree about"))
    for (Finding& f : decode(text)) findings.push_back(std::move(f));
  const std::vector<int> ranks = suspects(findings);
  std::string names;
  for (const int r : ranks)
    names += fmt::format("{}rank {} on {}", names.empty() ? "" : " or ", r, t.job.world.host(r));
  t.job.reason = job::kWrong;
  const auto beside_first = [&](int r) { return t.job.world.host(r) == t.job.world.host(ranks.front()); };
  if (std::all_of(ranks.begin(), ranks.end(), beside_first)) t.job.suspect = ranks.front();
  // The finding that is about no more than those that are left says the most.
  const Finding* best = &findings.front();
  for (const Finding& f : findings)
    if (f.ranks == ranks) {
      best = &f;
      break;
    }
  // Nobody leaves, and ends the waits of others by that, before all know.
  all.barrier("all ranks to know who is to blame");
  throw CommError(
      "{}{}; nothing was saved since: started again, the job goes on from its last checkpoint, better without that "
      "host if this comes again",
      best->sentence, best->ranks == ranks ? "" : fmt::format("; what others found leaves {}", names));
}

}  // namespace banyan::train
