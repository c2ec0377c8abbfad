// `banyan generate`, from an assembled job to text on the screen.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "src/base/exit_code.hpp"
#include "src/job/setup.hpp"

namespace banyan::infer {

/// What to complete and where to write it.  Either prompts (and a file that is one prompt), or a JSONL file.
struct RunOptions {
  std::vector<std::string> prompts;
  std::optional<std::string> prompt_file;
  std::optional<std::string> jsonl;
  std::string out;       ///< of JSONL; empty: standard output
  bool json = false;     ///< answers as JSONL although the prompts are no JSONL
  bool replace = false;  ///< `out` may exist
};

/// Loads, generates, writes.  Called by all ranks; only rank 0 reads prompts and writes.
ExitCode run_generate(job::Job& job, const RunOptions& options);

}  // namespace banyan::infer
