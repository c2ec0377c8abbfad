#include "src/plan/fallback.hpp"

#include <fmt/format.h>

#include "src/base/error.hpp"
#include "src/config/rules.hpp"
#include "src/plan/layout.hpp"

namespace banyan::plan {
namespace {

/// Why the mesh does not fit; empty when it does.  What the vocabulary decides does not depend on the number of ranks.
std::string objection(config::Config config, int ranks) {
  if (config.model.vocab == 0) config.model.vocab = 256 * config.parallel.tensor;
  try {
    make_layout(config, ranks, 0);
    return "";
  } catch (const ConfigError& e) {
    return e.what();
  }
}

}  // namespace

FittedConfig fit_mesh(const config::Config& config, int ranks) {
  const std::vector<config::FallbackMesh> meshes = config::fallback_list(config.parallel.fallback);
  if (meshes.empty()) return {config, ""};
  const std::string first = objection(config, ranks);
  if (first.empty()) return {config, ""};
  std::string reasons;
  for (const config::FallbackMesh& mesh : meshes) {
    config::Config other = config::with_mesh(config, mesh);
    const std::string why = objection(other, ranks);
    if (why.empty())
      return {std::move(other), fmt::format("{} rank{}: {}; using the mesh {} of parallel.fallback", ranks,
                                            ranks == 1 ? "" : "s", first, mesh.str())};
    reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", mesh.str(), why);
  }
  return {config,
          fmt::format("no mesh of parallel.fallback fits {} rank{} either: {}", ranks, ranks == 1 ? "" : "s", reasons)};
}

}  // namespace banyan::plan
