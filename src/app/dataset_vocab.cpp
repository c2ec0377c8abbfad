#include "src/app/dataset_vocab.hpp"

#include "io/dataset.hpp"

namespace banyan::app {

std::int64_t dataset_vocab(const config::Config& config) {
  if (config.model.vocab != 0 || config.data.train.empty()) return 0;
  io::DatasetOptions options;
  options.train = config.data.train;
  options.length = 1;
  return io::Dataset::open(options).vocab();
}

}  // namespace banyan::app
