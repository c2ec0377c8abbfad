// What training and evaluation ask of data: numbered samples of tokens.  A split of a dataset is one implementation, a
// tokenized text another, and tests bring their own.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "src/config/config.hpp"

namespace banyan::io {
class Dataset;
enum class Split : std::uint8_t;
}  // namespace banyan::io

namespace banyan::train {

class Samples {
 public:
  virtual ~Samples() = default;
  /// Tokens of the vocabulary the samples are written in.
  virtual std::int64_t vocab() const = 0;
  /// Different samples there are.
  virtual std::int64_t count() const = 0;
  /// Fills `out` with sample number `index` (>= 0): context tokens and one more, each the target of the one before it.
  /// A token that is no target is negative; the first never is.
  virtual void read(std::int64_t index, std::span<std::int32_t> out) = 0;
  /// Identifies content and order, for resumes: equal text, equal samples.
  virtual std::string fingerprint() const = 0;
};

/// [data] of a configuration, opened and checked.
std::shared_ptr<io::Dataset> open_dataset(const config::Config& config);
std::unique_ptr<Samples> samples_of(std::shared_ptr<io::Dataset> dataset, io::Split split);

}  // namespace banyan::train
