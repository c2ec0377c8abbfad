// Fabrics and layouts for the tests of placements.
#pragma once

#include <vector>

#include "src/parallel/placement.hpp"
#include "tests/plan/test_config.hpp"

namespace banyan::plan {

inline Layout layout_of(int tensor, int data, int pipeline) {
  config::Config c = gpt2_124m();
  c.parallel.tensor = tensor;
  c.parallel.pipeline = pipeline;
  c.train.batch = std::max<std::int64_t>(c.train.batch, 8 * data);
  return make_layout(c, tensor * data * pipeline, 0);
}

/// Nodes of `per_node` ranks in the order given; `leaves[n]` is the leaf of node n.
inline parallel::Fabric fabric(const std::vector<int>& leaves, int per_node) {
  parallel::Fabric f;
  for (std::size_t n = 0; n < leaves.size(); ++n)
    for (int i = 0; i < per_node; ++i) f.places.push_back({static_cast<int>(n), i, leaves[n]});
  return f;
}

/// `leaves` leaves of `nodes` nodes each, the nodes dealt out to the leaves in turn.
inline parallel::Fabric dealt(int leaves, int nodes, int per_node) {
  std::vector<int> of;
  for (int n = 0; n < leaves * nodes; ++n) of.push_back(n % leaves);
  return fabric(of, per_node);
}

}  // namespace banyan::plan
