// Which groups of ranks a mesh makes, and the book of plans for their collectives.  Pure.
#pragma once

#include <string>
#include <vector>

#include "comm/plan_book.hpp"
#include "comm/plan_choice.hpp"
#include "src/config/config.hpp"
#include "src/parallel/mesh.hpp"
#include "src/parallel/placement.hpp"

namespace banyan::plan {

// Names of groups, in messages and in books.
inline constexpr const char *kWorldGroup = "world", *kMeshGroup = "mesh", *kTensorGroup = "tensor group",
                            *kDataGroup = "data group", *kPipelineGroup = "pipeline", *kTiedGroup = "tied embedding";

/// All groups of one kind: they do the same in lockstep, and what is replicated over another axis stays equal only if
/// they add in the same order, so that they share their plans.
struct Axis {
  std::string name;
  std::vector<std::vector<int>> groups;  ///< world ranks of the members of each; of equal size, at least two
};
/// Of a mesh in a world of so many ranks; axes of one rank are left out.  `tied`: the first and last stage share the
/// token embedding.
std::vector<Axis> axes(const parallel::Mesh& mesh, int world, bool tied);

/// What the configuration asks for.
comm::PlanWishes wishes(const config::Config& config);

/// What a book is made from.
struct BookRequest {
  std::vector<Axis> axes;
  parallel::Fabric fabric;
  bool shared_memory = true;  ///< ranks of one node share memory
  comm::PlanWishes wishes;
  comm::Links links;
  /// Plans to keep where the configuration says "auto"; nullptr for none.
  const comm::PlanBook* recorded = nullptr;
};
struct BookAnswer {
  comm::PlanBook book;
  std::vector<std::string> chosen_anew;  ///< groups of another size than recorded, or not recorded
  std::vector<std::string> overruled;    ///< "all-reduce of the data group": the configuration asks for something else
};
/// Chosen for links that the groups of an axis share, as they do while all of them are at it; the book keeps the links.
/// ConfigError when comm.X = shared and no group has all its members on one node.
BookAnswer make_book(const BookRequest& request);

}  // namespace banyan::plan
