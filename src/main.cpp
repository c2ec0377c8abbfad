// Parses nothing itself: hands the words to the command table and maps what comes back to the exit code.
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "src/app/command.hpp"
#include "src/base/error.hpp"
#include "src/base/log.hpp"
#include "src/base/signals.hpp"
#include "src/base/units.hpp"

namespace {

using namespace banyan;

/// Number of this process before MPI is up, as the launcher wrote it into the environment; 0 without a launcher.
int from_environment(std::initializer_list<const char*> names, int otherwise) {
  for (const char* name : names) {
    const char* text = std::getenv(name);
    const std::optional<std::int64_t> n = text ? parse_count(text) : std::nullopt;
    if (n && *n >= 0 && *n < (1 << 24)) return static_cast<int>(*n);
  }
  return otherwise;
}

/// A wrong command line or config is wrong on every rank in the same words, so only rank 0 says it.
int report(ExitCode code, const char* message, int rank) {
  log::end_live_line();
  const bool same_everywhere = code == ExitCode::kUsage || code == ExitCode::kConfig;
  if (rank == 0 || !same_everywhere) log::error("{}", message);
  log::flush();
  return static_cast<int>(code);
}

}  // namespace

int main(int argc, char** argv) {
  const int rank = from_environment({"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}, 0);
  const int ranks = from_environment({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS"}, 1);
  try {
    signals::install();
    log::setup({.rank = rank, .ranks = ranks});
    return static_cast<int>(app::dispatch(std::vector<std::string>(argv + 1, argv + argc)));
  } catch (const Error& e) {
    return report(e.code(), e.what(), rank);
  } catch (const std::bad_alloc&) {
    return report(ExitCode::kBug,
                  "out of memory; make the model, the batch or the number of ranks of this host smaller", rank);
  } catch (const std::exception& e) {
    return report(ExitCode::kBug, (std::string("this is a bug of banyan, please report it: ") + e.what()).c_str(),
                  rank);
  }
}
