// The run directory as a job uses it: who may write what, when.
//
//   open_run_dir     before the lease: makes the directory, claims the number of this attempt
//   write_run_files  with the lease: config.ini and tokenizer.json of this attempt; once the plans are settled, plan.txt and plans.json
//   note_attempt     after the resume: a line of attempts.jsonl
// Only rank 0 writes; cause records are the exception (causes.hpp).
#pragma once

#include <string>

#include "src/job/setup.hpp"

namespace banyan::job {

/// Makes RUN (0750) with its folders and claims the next attempt number, job.attempt on all ranks.  Called by all
/// ranks. IoError when the directory cannot be made or written.
void open_run_dir(Job& job);

/// Where log lines of this rank go from now on; the file is written by rank 0 only and may be "".
void log_to(const comm::World& world, const config::Config& config, const std::string& file);

/// The effective configuration, and `tokenizer`: what the data is written in, for generation.  From here on log lines go
/// to log.txt too.  Rank 0 writes.
void write_run_files(const Job& job, const std::string& tokenizer);

/// One line of attempts.jsonl; `rolled_back`: it goes on in the process of the attempt before.  Rank 0 writes; a full
/// disk is reported, not fatal.
void note_attempt(const Job& job, const std::string& mesh, std::int64_t epoch, std::int64_t from_step,
                  bool rolled_back);

}  // namespace banyan::job
