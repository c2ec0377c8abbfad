#include "io/tokenizer.hpp"

#include <algorithm>
#include <limits>
#include <queue>

#include "io/tokenizer_impl.hpp"
#include "src/base/error.hpp"

namespace banyan::io {
namespace {

constexpr std::size_t kCachedPieces = std::size_t{1} << 18;  // then the cache starts anew
constexpr std::size_t kCachedLength = 64;                    // longer pieces are rare
constexpr std::size_t kShortPiece = 48;                      // up to here scanning beats a heap

using Impl_Merge = TokenizerTables::Merge;
constexpr Impl_Merge kNoMerge{std::numeric_limits<std::int32_t>::max(), -1};

/// Repeatedly merges the pair learned first, leftmost first.  Quadratic, for short pieces.
void merge_short(const TokenizerTables& t, std::vector<std::int32_t>& ids) {
  while (ids.size() > 1) {
    Impl_Merge best = kNoMerge;
    std::size_t where = 0;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      const Impl_Merge m = t.merge(ids[i], ids[i + 1]);
      if (m.rank < best.rank) {
        best = m;
        where = i;
      }
    }
    if (best.result < 0) return;
    ids[where] = best.result;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(where) + 1);
  }
}

/// The same result with a heap over a linked list: n log n, so that a megabyte without white space is no attack.
void merge_long(const TokenizerTables& t, std::vector<std::int32_t>& ids) {
  struct Candidate {
    std::int32_t rank;
    std::size_t left, right;
    std::int32_t left_id, right_id;  // stale when the list holds others by now
    bool operator>(const Candidate& o) const { return rank != o.rank ? rank > o.rank : left > o.left; }
  };
  const std::size_t n = ids.size(), none = n;
  std::vector<std::size_t> next(n), previous(n);
  for (std::size_t i = 0; i < n; ++i) {
    next[i] = i + 1;
    previous[i] = i == 0 ? none : i - 1;
  }
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> heap;
  const auto offer = [&](std::size_t left, std::size_t right) {
    if (left == none || right == none) return;
    const Impl_Merge m = t.merge(ids[left], ids[right]);
    if (m.result >= 0) heap.push({m.rank, left, right, ids[left], ids[right]});
  };
  for (std::size_t i = 0; i + 1 < n; ++i) offer(i, i + 1);
  std::vector<char> gone(n, 0);
  while (!heap.empty()) {
    const Candidate c = heap.top();
    heap.pop();
    if (gone[c.left] || gone[c.right] || next[c.left] != c.right || ids[c.left] != c.left_id ||
        ids[c.right] != c.right_id)
      continue;
    ids[c.left] = t.merge(c.left_id, c.right_id).result;
    gone[c.right] = 1;
    next[c.left] = next[c.right];
    if (next[c.left] != none) previous[next[c.left]] = c.left;
    offer(previous[c.left], c.left);
    offer(c.left, next[c.left]);
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < n; ++i)
    if (!gone[i]) ids[kept++] = ids[i];
  ids.resize(kept);
}

}  // namespace

Impl_Merge TokenizerTables::merge(std::int32_t left, std::int32_t right) const {
  const auto it = merges.find(pair_key(left, right));
  return it == merges.end() ? kNoMerge : it->second;
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

std::int32_t Tokenizer::vocab() const { return static_cast<std::int32_t>(impl_->tables.bytes.size()); }
std::int32_t Tokenizer::end_token() const { return impl_->tables.end_token; }
const std::string& Tokenizer::json() const { return impl_->json; }

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) {
  std::vector<std::int32_t> ids;
  encode(text, ids);
  return ids;
}

void Tokenizer::encode(std::string_view text, std::vector<std::int32_t>& append_to) {
  impl_->pieces.for_each(text, [&](std::string_view piece) { impl_->encode_piece(piece, append_to); });
}

void Tokenizer::Impl::encode_piece(std::string_view piece, std::vector<std::int32_t>& append_to) {
  const bool cacheable = piece.size() <= kCachedLength;
  std::string key;
  if (cacheable) {
    key.assign(piece);
    if (const auto it = cache.find(key); it != cache.end()) {
      append_to.insert(append_to.end(), it->second.begin(), it->second.end());
      return;
    }
  }
  std::vector<std::int32_t> ids;
  if (tables.whole_pieces_first) {
    if (const auto it = tables.id_of.find(std::string(piece)); it != tables.id_of.end()) ids.push_back(it->second);
  }
  if (ids.empty()) {
    ids.reserve(piece.size());
    for (char c : piece) ids.push_back(tables.byte_id[static_cast<unsigned char>(c)]);
    if (ids.size() <= kShortPiece)
      merge_short(tables, ids);
    else
      merge_long(tables, ids);
  }
  append_to.insert(append_to.end(), ids.begin(), ids.end());
  if (!cacheable) return;
  if (cache.size() >= kCachedPieces) cache.clear();
  cache.emplace(std::move(key), std::move(ids));
}

const std::string& Tokenizer::bytes_of(std::int32_t id) const {
  if (id < 0 || id >= vocab()) throw BugError("token {} is outside the vocabulary of {}", id, vocab());
  return impl_->tables.bytes[static_cast<std::size_t>(id)];
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  for (std::int32_t id : ids) text += bytes_of(id);
  return text;
}

void Tokenizer::for_each_piece(std::string_view text, const std::function<void(std::string_view)>& piece) const {
  impl_->pieces.for_each(text, piece);
}

std::size_t Tokenizer::last_safe_cut(std::string_view text) const { return impl_->pieces.last_safe_cut(text); }

void StreamEncoder::feed(std::string_view part, std::vector<std::int32_t>& append_to) {
  pending_ += part;
  std::size_t cut = tokenizer_.last_safe_cut(pending_);
  if (cut == 0) {
    if (pending_.size() < kLargestRun) return;
    cut = pending_.size();  // between characters, so that at least those stay whole
    while (cut > pending_.size() - 4 && (static_cast<unsigned char>(pending_[cut - 1]) & 0xC0) == 0x80) --cut;
    if (static_cast<unsigned char>(pending_[cut - 1]) >= 0xC0) --cut;
  }
  tokenizer_.encode(std::string_view(pending_).substr(0, cut), append_to);
  pending_.erase(0, cut);
}

void StreamEncoder::finish(std::vector<std::int32_t>& append_to) {
  tokenizer_.encode(pending_, append_to);
  pending_.clear();
}

}  // namespace banyan::io
