// Rules between keys, one named function each.  Each throws a ConfigError that names both keys, both values and one
// fix. Only what the config alone can tell; what needs the number of ranks is checked by src/job.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/config/config.hpp"

namespace banyan::config {

struct Rule {
  const char* name;
  void (*check)(const Config&);
};

/// All rules, in the order they are checked.
const std::vector<Rule>& rules();
/// Runs them all; throws what the first broken one says.
void check_rules(const Config& config);

// What a zero in the config stands for; used by the rules and by src/job/setup.
std::int64_t effective_kv_heads(const model_section& m);
std::int64_t effective_ffn(const model_section& m);
std::int64_t effective_virtual_stages(const parallel_section& p);

/// Blocks per pipeline stage, or per chunk of the model, written out in parallel.stages ("5,7"); empty for auto.
/// ConfigError when malformed.
std::vector<std::int64_t> stage_list(const std::string& stages);

/// One mesh of parallel.fallback.
struct FallbackMesh {
  std::int64_t tensor = 1, pipeline = 1, data = 0;  ///< data 0: as many as fit
  std::string str() const;                          ///< "2x1", "2x1x3"
  bool operator==(const FallbackMesh&) const = default;
};
/// Of parallel.fallback ("2x2,1x2x3"); empty for none.  ConfigError when malformed.
std::vector<FallbackMesh> fallback_list(const std::string& fallback);
/// The config with that mesh instead of its own: parallel.sequence only where there is a tensor axis, parallel.stages
/// auto where it lists another number of stages, a plain schedule where there is one stage, no fallback any more.
Config with_mesh(const Config& config, const FallbackMesh& mesh);

/// Divisors of n, ascending, "1 2 3 4 6 12"; at most 16 of them, then "...".
std::string divisors_text(std::int64_t n);

}  // namespace banyan::config
