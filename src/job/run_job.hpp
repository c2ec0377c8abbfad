// The frame of a command that runs on ranks: World, signals, the same configuration everywhere, and leaving in order.
//
//   rank 0 reads CONFIG and broadcasts the effective text, so that all ranks compute from the same one.
//   The body returns an exit code or throws.  An Error on any rank is written to causes/ATTEMPT.RANK.json (when there
//   is a run directory), announced to the other ranks, which then leave what they wait for, and logged once.  All ranks
//   pass a last barrier before the first one exits with a code other than 0.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "src/base/exit_code.hpp"
#include "src/job/setup.hpp"

namespace banyan::job {

struct JobArgs {
  std::string command;                 ///< "train"
  std::string config_path;             ///< read by rank 0 only
  std::vector<std::string> overrides;  ///< "--section.key=value"
};

/// Returns the exit code of this process; throws nothing.
ExitCode run_job(const JobArgs& args, const std::function<ExitCode(Job&)>& body);

}  // namespace banyan::job
