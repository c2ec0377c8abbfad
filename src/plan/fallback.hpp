// Which mesh a job uses that has come back with another number of ranks: its own, or one of parallel.fallback.  Pure.
#pragma once

#include <string>

#include "src/config/config.hpp"

namespace banyan::plan {

struct FittedConfig {
  config::Config config;
  std::string note;  ///< for people, when the mesh is not the first one wanted; empty: it is
};

/// The config with the first mesh that `ranks` ranks can hold: parallel.tensor x pipeline x data, else the meshes of
/// parallel.fallback in their order.  A fallback without the tensor axis has no parallel.sequence, one with another
/// number of stages than parallel.stages lists balances them.  Where none fits the config is as it was, and make_layout
/// will say why; the note has the reasons of the fallbacks.
FittedConfig fit_mesh(const config::Config& config, int ranks);

}  // namespace banyan::plan
