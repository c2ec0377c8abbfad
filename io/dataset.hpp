// What training reads: samples of `length` + 1 consecutive tokens from one or several token files.
//
// The training stream is endless and a pure function of (seed, files, weights): sample i comes from the file that slot
// i mod kPeriod of a fixed interleaving names, and within that file from a keyed permutation of its samples, a new one
// for each time through.  So a position is one integer, nothing repeats before everything was read, and neither the
// mesh nor a restart changes which samples a global batch has. The end of every file is held out for validation, or a
// file of its own is used; validation samples come in order.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/token_file.hpp"

namespace banyan::io {

enum class Split : std::uint8_t { kTrain, kValidation };

struct DatasetOptions {
  std::string train;               ///< "PATH[:WEIGHT],..."; without weights files count by their size
  std::string validation;          ///< the same without weights; empty: hold out
  double validation_fraction = 0;  ///< of every training file, when `validation` is empty
  std::int64_t length = 0;         ///< tokens of a sample
  std::uint64_t seed = 0;
};

/// Movable; belongs to one thread.
class Dataset {
 public:
  /// Slots of the interleaving; the resolution of weights.
  static constexpr std::int64_t kPeriod = 4096;
  /// Files of up to so many tokens are verified when they are opened (a moment), larger ones block by block as they are
  /// read: either way no damaged token is trained on.
  static constexpr std::int64_t kVerifiedAtOpen = std::int64_t{1} << 27;

  /// ConfigError for a malformed list, DataError for files that cannot be read, have different tokenizers, or are too
  /// short (says how many tokens are needed).
  static Dataset open(const DatasetOptions& options);

  /// Tokens i, i+1, ... of sample `index` (>= 0); out has up to length + 1 places.  Past the last validation sample it
  /// starts over.
  void read(Split split, std::int64_t index, std::span<std::int32_t> out);
  /// Different samples of a split.
  std::int64_t samples(Split split) const;
  std::int64_t tokens(Split split) const;
  std::int32_t vocab() const;
  std::string_view tokenizer_json() const { return files_.front().tokenizer_json(); }
  /// The same when and only when the stream of samples is the same (whatever the paths).
  std::string fingerprint() const;
  /// One line for people.
  std::string describe() const;

 private:
  struct Range {  ///< of one file, for one split
    std::size_t file = 0;
    std::int64_t begin = 0, samples = 0;
    std::int64_t slots = 0;  ///< of a period
  };
  Dataset() = default;
  void interleave(const std::vector<double>& weights);

  DatasetOptions options_;
  std::vector<TokenFile> files_;
  std::vector<Range> train_, validation_;
  struct Slot {
    std::uint32_t range, before;  ///< which range, and how many slots of it come earlier in the period
  };
  std::vector<Slot> slots_;  ///< kPeriod, or one when there is one file
};

}  // namespace banyan::io
