#include "src/train/samples.hpp"

#include <utility>

#include "io/dataset.hpp"
#include "src/base/error.hpp"

namespace banyan::train {
namespace {

class SplitSamples : public Samples {
 public:
  SplitSamples(std::shared_ptr<io::Dataset> dataset, io::Split split) : dataset_(std::move(dataset)), split_(split) {}
  std::int64_t vocab() const override { return dataset_->vocab(); }
  std::int64_t count() const override { return dataset_->samples(split_); }
  std::string fingerprint() const override { return dataset_->fingerprint(); }
  void read(std::int64_t index, std::span<std::int32_t> out) override { dataset_->read(split_, index, out); }

 private:
  std::shared_ptr<io::Dataset> dataset_;
  io::Split split_;
};

}  // namespace

std::shared_ptr<io::Dataset> open_dataset(const config::Config& config) {
  if (config.data.train.empty())
    throw ConfigError("data.train is empty; name a token file (`banyan tokenize` makes one from text)");
  return std::make_shared<io::Dataset>(io::Dataset::open({.train = config.data.train,
                                                          .validation = config.data.validation,
                                                          .validation_fraction = config.data.validation_fraction,
                                                          .length = config.model.context,
                                                          .seed = static_cast<std::uint64_t>(config.run.seed)}));
}

std::unique_ptr<Samples> samples_of(std::shared_ptr<io::Dataset> dataset, io::Split split) {
  return std::make_unique<SplitSamples>(std::move(dataset), split);
}

}  // namespace banyan::train
