#include "io/bpe_trainer.hpp"

#include <algorithm>
#include <queue>
#include <set>

#include "src/base/error.hpp"

namespace banyan::io {
namespace {

constexpr std::size_t kLongestPiece = 128;

using Pair = std::pair<std::int32_t, std::int32_t>;
struct PairHash {
  std::size_t operator()(const Pair& p) const {
    return std::hash<std::uint64_t>()(static_cast<std::uint64_t>(static_cast<std::uint32_t>(p.first)) << 32 |
                                      static_cast<std::uint32_t>(p.second));
  }
};

struct Word {
  std::vector<std::int32_t> ids;
  std::int64_t count;
};

struct Candidate {
  std::int64_t count;
  Pair pair;
  /// Most frequent first, then smaller ids.
  bool operator<(const Candidate& o) const { return count != o.count ? count < o.count : pair > o.pair; }
};

constexpr std::int32_t kAnyToken = -1;

/// Occurrences of every pair, and which words may hold it (words that lost it stay listed; looking again is cheap).
struct PairTable {
  std::unordered_map<Pair, std::int64_t, PairHash> counts;
  std::unordered_map<Pair, std::vector<std::uint32_t>, PairHash> words;

  void remove(const Word& w) {
    for (std::size_t i = 0; i + 1 < w.ids.size(); ++i) counts[{w.ids[i], w.ids[i + 1]}] -= w.count;
  }
  /// Lists the word under its pairs with the token `added`; under the others it is listed already.
  void add(const Word& w, std::uint32_t index, std::int32_t added) {
    for (std::size_t i = 0; i + 1 < w.ids.size(); ++i) {
      const Pair p{w.ids[i], w.ids[i + 1]};
      counts[p] += w.count;
      if (added != kAnyToken && p.first != added && p.second != added) continue;
      auto& list = words[p];
      if (list.empty() || list.back() != index) list.push_back(index);
    }
  }
};

bool holds(const std::vector<std::int32_t>& ids, const Pair& pair) {
  for (std::size_t i = 0; i + 1 < ids.size(); ++i)
    if (ids[i] == pair.first && ids[i + 1] == pair.second) return true;
  return false;
}

void join(std::vector<std::int32_t>& ids, const Pair& pair, std::int32_t result) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (i + 1 < ids.size() && ids[i] == pair.first && ids[i + 1] == pair.second) {
      ids[kept++] = result;
      ++i;
    } else {
      ids[kept++] = ids[i];
    }
  }
  ids.resize(kept);
}

}  // namespace

BpeTrainer::BpeTrainer() : pieces_(std::string(kGpt2Pieces)) {}

void BpeTrainer::add(std::string_view text) {
  pieces_.for_each(text, [&](std::string_view piece) { ++counts_[std::string(piece.substr(0, kLongestPiece))]; });
  for (std::int64_t rare = 1; counts_.size() > kLargestTable; rare *= 2)
    std::erase_if(counts_, [&](const auto& entry) { return entry.second <= rare; });
}

std::vector<Pair> BpeTrainer::train(std::int32_t vocab, const std::function<void(std::size_t)>& progress) const {
  if (vocab < 257)
    throw UsageError("a vocabulary of {} tokens has no room for 256 bytes and the end token; ask for at least 257",
                     vocab);
  std::vector<Word> words;
  words.reserve(counts_.size());
  std::vector<std::pair<std::string, std::int64_t>> sorted(counts_.begin(), counts_.end());
  std::sort(sorted.begin(), sorted.end());
  for (const auto& [bytes, count] : sorted) {
    Word w{{}, count};
    for (char c : bytes) w.ids.push_back(static_cast<unsigned char>(c));
    words.push_back(std::move(w));
  }
  PairTable table;
  for (std::uint32_t i = 0; i < words.size(); ++i) table.add(words[i], i, kAnyToken);
  std::priority_queue<Candidate> heap;
  for (const auto& [pair, count] : table.counts) heap.push({count, pair});

  std::vector<Pair> merges;
  std::vector<std::string> bytes;
  for (int b = 0; b < 256; ++b) bytes.emplace_back(1, static_cast<char>(b));
  std::set<std::string> known(bytes.begin(), bytes.end());
  while (merges.size() < static_cast<std::size_t>(vocab - 257) && !heap.empty()) {
    const Candidate best = heap.top();
    heap.pop();
    const std::int64_t now = table.counts[best.pair];
    if (now != best.count) {  // outdated: offered again with what it is now
      if (now > 1) heap.push({now, best.pair});
      continue;
    }
    if (best.count < 2) break;
    // Two ways to spell one token would make encoding ambiguous; the second way is left unmerged.
    const std::string joined =
        bytes[static_cast<std::size_t>(best.pair.first)] + bytes[static_cast<std::size_t>(best.pair.second)];
    if (!known.insert(joined).second) continue;
    const auto result = static_cast<std::int32_t>(bytes.size());
    bytes.push_back(joined);
    merges.push_back(best.pair);
    std::set<Pair> grown;
    const std::vector<std::uint32_t> holders = std::move(table.words[best.pair]);
    for (std::uint32_t index : holders) {
      Word& w = words[index];
      if (!holds(w.ids, best.pair)) continue;
      table.remove(w);
      join(w.ids, best.pair, result);
      table.add(w, index, result);
      for (std::size_t i = 0; i + 1 < w.ids.size(); ++i)
        if (w.ids[i] == result || w.ids[i + 1] == result) grown.insert({w.ids[i], w.ids[i + 1]});
    }
    table.words.erase(best.pair);
    for (const Pair& p : grown) heap.push({table.counts[p], p});
    if (progress) progress(merges.size());
  }
  return merges;
}

}  // namespace banyan::io
