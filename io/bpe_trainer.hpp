// Learns the merges of byte-pair encoding from text: repeatedly joins the pair of neighbours that is most frequent
// (Sennrich et al., ACL'16, algorithm 1), with counts kept up to date per merge.  The result is a function of the
// counted pieces alone: of equally frequent pairs the one with the smaller ids wins.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "io/text_pieces.hpp"

namespace banyan::io {

class BpeTrainer {
 public:
  BpeTrainer();
  /// Counts the pieces of a text (GPT-2's expression), of each its first 128 bytes.  When more than `kLargestTable`
  /// different ones are known the rarest are forgotten (those seen once, if that makes room), which touches no frequent
  /// pair.
  void add(std::string_view text);
  /// Merges for a vocabulary of `vocab` tokens: 256 bytes, the merges, the end token.  Fewer when no pair occurs twice
  /// any more.  `progress` is told how many are done.
  std::vector<std::pair<std::int32_t, std::int32_t>> train(std::int32_t vocab,
                                                           const std::function<void(std::size_t)>& progress = {}) const;

  /// Different pieces that are counted now.
  std::size_t known() const { return counts_.size(); }

  static constexpr std::size_t kLargestTable = std::size_t{1} << 21;

 private:
  TextPieces pieces_;
  std::unordered_map<std::string, std::int64_t> counts_;
};

}  // namespace banyan::io
