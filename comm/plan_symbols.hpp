// Numbers and memory as the plan verifier sees them: expressions over what the ranks contribute.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

#include "comm/plans/plan.hpp"

namespace banyan::comm {

inline constexpr int kNothing = -1;  ///< the symbol of memory that was never written

/// Symbols stand for expressions.  The same expression always gets the same symbol, from one Symbols.
class Symbols {
 public:
  explicit Symbols(int ranks) : ranks_(ranks) {}
  /// Element `index` of what `rank` contributes.
  int leaf(int rank, std::int64_t index) {
    return number({-1 - rank, index}, [&] {
      Node node{
          .ranks = std::vector<std::uint64_t>(static_cast<std::size_t>(ranks_ + 63) / 64), .index = index, .count = 1};
      node.ranks[static_cast<std::size_t>(rank / 64)] = std::uint64_t{1} << (rank % 64);
      return node;
    });
  }
  /// left op right.
  int combine(int left, int right) {
    if (left == kNothing || right == kNothing) return kNothing;
    return number({left, right}, [&] {
      Node node = nodes_[static_cast<std::size_t>(left)];
      const Node& more = nodes_[static_cast<std::size_t>(right)];
      for (std::size_t i = 0; i < node.ranks.size(); ++i) {
        node.sound = node.sound && (node.ranks[i] & more.ranks[i]) == 0;  // nobody contributes twice
        node.ranks[i] |= more.ranks[i];
      }
      node.sound = node.sound && more.sound && node.index == more.index;
      node.count += more.count;
      return node;
    });
  }
  /// Whether a symbol is element `index` of every rank, each once.
  bool complete(int symbol, std::int64_t index) const {
    if (symbol == kNothing) return false;
    const Node& node = nodes_[static_cast<std::size_t>(symbol)];
    return node.sound && node.count == ranks_ && node.index == index;
  }

 private:
  struct Node {
    std::vector<std::uint64_t> ranks;  // whose contributions are in it, as bits
    std::int64_t index = 0;
    int count = 0;
    bool sound = true;
  };
  int number(std::pair<std::int64_t, std::int64_t> key, const auto& make) {
    const auto [at, fresh] = numbers_.try_emplace(key, static_cast<int>(nodes_.size()));
    if (fresh) nodes_.push_back(make());
    return at->second;
  }
  struct Hash {
    std::size_t operator()(const std::pair<std::int64_t, std::int64_t>& key) const {
      return static_cast<std::size_t>(key.first) * 0x9E3779B97F4A7C15u ^
             static_cast<std::size_t>(key.second) * 0xBF58476D1CE4E5B9u;
    }
  };
  const int ranks_;
  std::unordered_map<std::pair<std::int64_t, std::int64_t>, int, Hash> numbers_;
  std::vector<Node> nodes_;
};

/// One rank's memory and how far it is.
struct Machine {
  std::vector<int> buffers[3];
  std::int64_t alias_begin = 0;                               // where the small buffer lies in the large one
  Buffer small = Buffer::kScratch, large = Buffer::kScratch;  // aliased pair; equal: none
  std::size_t next = 0;                                       // first step not issued
  std::vector<bool> done;
  int published = 0;                 // pieces that not all readers have folded
  std::vector<std::uint64_t> knows;  // barrier: ranks known to have come, as bits

  Slice resolve(Slice s) const {
    if (small != large && s.buffer == small) return {large, s.begin + alias_begin, s.count};
    return s;
  }
  int* at(Slice s) { return buffers[static_cast<int>(s.buffer)].data() + s.begin; }
  bool fits(const Slice& s) const {
    return s.begin >= 0 && s.count >= 0 &&
           s.end() <= static_cast<std::int64_t>(buffers[static_cast<int>(s.buffer)].size());
  }
};

}  // namespace banyan::comm
