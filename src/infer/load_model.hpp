// The parameters of a checkpoint, for generation: which checkpoint, which model it holds, and filling a team of any
// mesh.
#pragma once

#include <filesystem>
#include <string>

#include "comm/communicator.hpp"
#include "io/tokenizer.hpp"
#include "src/config/config.hpp"
#include "src/job/setup.hpp"

namespace banyan::infer {

/// What is known about the saved model before a team exists.  The same on all ranks.
struct SavedModel {
  std::filesystem::path path;  ///< of the checkpoint that is likely to be loaded
  config::Config config;       ///< that it was saved with; every "0 means ..." of [model] resolved
};

/// Where a command that only reads finds its checkpoint: checkpoint.resume when that is a path, else run.dir.
std::string checkpoint_source(const config::Config& config);

/// Rank 0 looks, all ranks know.  ConfigError when there is no checkpoint, or when `config` names another model than
/// the one that was saved (the key, both values).
SavedModel find_saved_model(comm::Communicator& ranks, const config::Config& config);

/// Fills the team's stage from the newest checkpoint that verifies; returns "step 1200 of runs/x" for messages.
std::string load_model(job::Team& team, job::Job& job);

/// The tokenizer the model was trained with: tokenizer.json in the checkpoint's or the run's directory, else the one
/// inside the token files of data.train.  ConfigError when there is none, or when it knows more tokens than the model.
io::Tokenizer find_tokenizer(const SavedModel& saved, const config::Config& config);

}  // namespace banyan::infer
