// The communicators of `bench comm`: one for each algorithm, all of all ranks.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/cost.hpp"
#include "comm/plans/catalog.hpp"
#include "perf/comm_case.hpp"

namespace banyan::perf {

class CommGroups {
 public:
  /// The world is configured and outlives this.  Called by all ranks; measures the links, as training does when it
  /// starts.
  CommGroups(comm::World& world, const comm::ReduceFunction& reduce);

  /// All ranks, with no collective of theirs measured: barriers and small values between measurements.
  comm::Communicator& quiet() { return *quiet_; }
  /// What can be asked for: "auto", then every algorithm of the kind.  Point-to-point traffic has "auto" only.
  static std::vector<std::string> algorithms(Traffic traffic);
  /// All ranks by that algorithm; "auto" chooses as training does.  `piece` bytes at most a message, 0: as usual.
  comm::Communicator& with(Traffic traffic, const std::string& algorithm, std::int64_t piece);
  /// "direct" or what else is chosen for that size.
  std::string chosen(Traffic traffic, std::int64_t bytes) const;
  const comm::Links& links() const { return links_; }

 private:
  std::unique_ptr<comm::Communicator> make(const std::string& name);

  comm::World& world_;
  int next_id_ = 0;
  std::unique_ptr<comm::Communicator> quiet_;
  comm::GroupTree tree_;
  bool window_ = false;
  comm::Links links_;
  std::map<std::string, std::unique_ptr<comm::Communicator>> made_;
};

}  // namespace banyan::perf
