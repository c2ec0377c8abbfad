// What train.recompute = auto means: the least that makes a job fit into memory.
#pragma once

#include <cstdint>
#include <string>

#include "src/config/config.hpp"

namespace banyan::plan {

struct RecomputeChoice {
  std::string recompute;     ///< as train.recompute has it
  std::int64_t without = 0;  ///< bytes of the largest rank that computes nothing again
  std::int64_t needed = 0;   ///< and with the choice
  std::string str() const;   ///< "cheap: a rank needs 1.5 GiB, 2.1 GiB without"
};

/// The first of none, cheap and block with which no rank of the mesh plans more than `memory` bytes; the last that its
/// schedule allows where none fits.  Results do not depend on it.  Pure.  memory = 0: not known, none.  ConfigError as
/// make_layout.
RecomputeChoice choose_recompute(const config::Config& config, int ranks, std::int64_t dataset_vocab,
                                 std::int64_t memory);

}  // namespace banyan::plan
