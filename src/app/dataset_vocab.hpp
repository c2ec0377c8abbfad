// The vocabulary that model.vocab = 0 stands for.
#pragma once

#include <cstdint>

#include "src/config/config.hpp"

namespace banyan::app {

/// Tokens of the dataset of data.train, whose files are opened for it; 0 where model.vocab says it, or no dataset is
/// named.  DataError or IoError for files that are none or not there.
std::int64_t dataset_vocab(const config::Config& config);

}  // namespace banyan::app
