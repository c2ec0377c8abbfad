#include "comm/plan_verifier.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <deque>
#include <map>
#include <unordered_map>
#include <utility>

namespace banyan::comm {
namespace {

constexpr int kNothing = -1;  // the symbol of memory that was never written

// Symbols: numbers that stand for expressions.  The same expression always gets the same number.
class Symbols {
 public:
  explicit Symbols(int ranks) : ranks_(ranks) {}
  // Element `index` of what `rank` contributes.
  int leaf(int rank, std::int64_t index) {
    return number({-1 - rank, index}, [&] {
      Node node{
          .ranks = std::vector<std::uint64_t>(static_cast<std::size_t>(ranks_ + 63) / 64), .index = index, .count = 1};
      node.ranks[static_cast<std::size_t>(rank / 64)] = std::uint64_t{1} << (rank % 64);
      return node;
    });
  }
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
  // Whether a symbol is element `index` of every rank, each once.
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

bool is_message(const Step& s) { return s.kind == Step::Kind::kSend || s.kind == Step::Kind::kReceive; }

// One rank's memory and how far it is.
struct Machine {
  std::vector<int> buffers[3];
  std::int64_t alias_begin = 0;                               // where the small buffer lies in the large one
  Buffer small = Buffer::kScratch, large = Buffer::kScratch;  // aliased pair; equal: none
  std::size_t next = 0;                                       // first step not issued
  std::vector<bool> done;
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

class Execution {
 public:
  Execution(const Collective& collective, const std::vector<Plan>& plans)
      : collective_(collective), plans_(plans), size_(static_cast<int>(plans.size())), symbols_(size_) {}

  std::string run() {
    set_up();
    for (int r = 0; r < size_; ++r)
      if (auto problem = check_hazards(r); !problem.empty()) return problem;
    for (bool moved = true; moved;) {
      moved = false;
      for (int r = 0; r < size_; ++r) moved = advance(r) || moved;
      if (!problem_.empty()) return problem_;
    }
    for (int r = 0; r < size_; ++r) {
      const Machine& m = machines_[static_cast<std::size_t>(r)];
      const auto& steps = plan(r).steps;
      for (std::size_t i = 0; i < steps.size(); ++i)
        if (!m.done[i])
          return fmt::format("{}: rank {} never completes step {} of {}", plan(r).name, r, i, steps.size());
    }
    return check_results();
  }

 private:
  const Plan& plan(int r) const { return plans_[static_cast<std::size_t>(r)]; }
  std::int64_t count(int r) const { return collective_.counts[static_cast<std::size_t>(r)]; }
  std::int64_t begin(int r) const {
    std::int64_t b = 0;
    for (int i = 0; i < r; ++i) b += count(i);
    return b;
  }
  std::int64_t total() const { return begin(static_cast<int>(collective_.counts.size())); }

  void set_up() {
    machines_.resize(static_cast<std::size_t>(size_));
    for (int r = 0; r < size_; ++r) {
      Machine& m = machines_[static_cast<std::size_t>(r)];
      auto& in = m.buffers[static_cast<int>(Buffer::kInput)];
      auto& out = m.buffers[static_cast<int>(Buffer::kOutput)];
      m.buffers[static_cast<int>(Buffer::kScratch)].assign(static_cast<std::size_t>(plan(r).scratch), kNothing);
      m.done.assign(plan(r).steps.size(), false);
      m.knows.assign(static_cast<std::size_t>(size_ + 63) / 64, 0);
      m.knows[static_cast<std::size_t>(r / 64)] |= std::uint64_t{1} << (r % 64);
      const auto fill = [&](std::vector<int>& buffer, std::int64_t n) {
        for (std::int64_t i = 0; i < n; ++i) buffer.push_back(symbols_.leaf(r, i));
      };
      switch (collective_.kind) {
        case CollectiveKind::kAllReduce:
          fill(out, total());
          break;
        case CollectiveKind::kBroadcast:
          if (r == collective_.root)
            fill(out, total());
          else
            out.assign(static_cast<std::size_t>(total()), kNothing);
          break;
        case CollectiveKind::kReduceScatter:
          fill(in, total());
          if (collective_.aliased)
            m.small = Buffer::kOutput, m.large = Buffer::kInput, m.alias_begin = begin(r);
          else
            out.assign(static_cast<std::size_t>(count(r)), kNothing);
          break;
        case CollectiveKind::kAllGather:
          out.assign(static_cast<std::size_t>(total()), kNothing);
          if (collective_.aliased) {
            m.small = Buffer::kInput, m.large = Buffer::kOutput, m.alias_begin = begin(r);
            for (std::int64_t i = 0; i < count(r); ++i)
              out[static_cast<std::size_t>(begin(r) + i)] = symbols_.leaf(r, i);
          } else {
            fill(in, count(r));
          }
          break;
        case CollectiveKind::kBarrier:
          break;
        case CollectiveKind::kAllToAll: {
          std::int64_t sends = 0, receives = 0;
          for (int p = 0; p < size_; ++p) sends += to(r, p), receives += to(p, r);
          fill(in, sends);
          out.assign(static_cast<std::size_t>(receives), kNothing);
          break;
        }
      }
    }
  }

  std::int64_t to(int from, int target) const {
    return collective_.to[static_cast<std::size_t>(from)][static_cast<std::size_t>(target)];
  }

  // Every step must wait for the messages whose memory it touches; and touch only memory there is.
  std::string check_hazards(int r) const {
    const Machine& m = machines_[static_cast<std::size_t>(r)];
    const auto& steps = plan(r).steps;
    std::vector<std::size_t> open;  // messages that may still be under way
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const Slice source = m.resolve(steps[i].source), target = m.resolve(steps[i].target);
      const bool reads = steps[i].kind != Step::Kind::kReceive, writes = steps[i].kind != Step::Kind::kSend;
      if ((reads && !m.fits(source)) || (writes && !m.fits(target)))
        return fmt::format("{}: step {} of rank {} touches memory outside its buffer", plan(r).name, i, r);
      if ((steps[i].kind == Step::Kind::kReduce || steps[i].kind == Step::Kind::kCopy) && source.count != target.count)
        return fmt::format("{}: step {} of rank {} combines different lengths", plan(r).name, i, r);
      for (int j : steps[i].needs) {
        if (j < 0 || j >= static_cast<int>(i) || !is_message(steps[static_cast<std::size_t>(j)]))
          return fmt::format("{}: step {} of rank {} needs step {}, which is no earlier message", plan(r).name, i, r,
                             j);
        std::erase(open, static_cast<std::size_t>(j));
      }
      for (std::size_t j : open) {
        const bool receives = steps[j].kind == Step::Kind::kReceive;
        const Slice used = m.resolve(receives ? steps[j].target : steps[j].source);
        if ((writes && used.overlaps(target)) || (receives && reads && used.overlaps(source)))
          return fmt::format("{}: step {} of rank {} touches memory that step {} may still use", plan(r).name, i, r, j);
      }
      if (is_message(steps[i])) open.push_back(i);
    }
    return {};
  }

  bool advance(int r) {
    Machine& m = machines_[static_cast<std::size_t>(r)];
    const auto& steps = plan(r).steps;
    bool moved = false;
    while (m.next < steps.size() && problem_.empty()) {
      const Step& step = steps[m.next];
      if (!std::all_of(step.needs.begin(), step.needs.end(),
                       [&](int j) { return m.done[static_cast<std::size_t>(j)]; }))
        break;
      issue(r, m.next++);
      moved = true;
    }
    return moved;
  }
  struct Posted {
    int rank;
    std::size_t step;
    std::vector<std::uint64_t> knows;
  };
  struct Channel {
    std::deque<Posted> sends, receives;
  };

  void issue(int r, std::size_t index) {
    Machine& m = machines_[static_cast<std::size_t>(r)];
    const Step& step = plan(r).steps[index];
    const Slice source = m.resolve(step.source), target = m.resolve(step.target);
    switch (step.kind) {
      case Step::Kind::kReduce:
        for (std::int64_t i = 0; i < target.count; ++i)
          m.at(target)[i] = symbols_.combine(m.at(target)[i], m.at(source)[i]);
        m.done[index] = true;
        return;
      case Step::Kind::kCopy:
        for (std::int64_t i = 0; i < target.count; ++i) m.at(target)[i] = m.at(source)[i];
        m.done[index] = true;
        return;
      case Step::Kind::kSend:
        channels_[{r, step.peer}].sends.push_back({r, index, m.knows});
        break;
      case Step::Kind::kPublish:
      case Step::Kind::kFold:
        problem_ = fmt::format("{}: step {} of rank {} is not in terms of messages", plan(r).name, index, r);
        return;
      case Step::Kind::kReceive:
        channels_[{step.peer, r}].receives.push_back({r, index, {}});
        break;
    }
    const bool sends = step.kind == Step::Kind::kSend;
    Channel& channel = channels_[sends ? std::pair{r, step.peer} : std::pair{step.peer, r}];
    while (!channel.sends.empty() && !channel.receives.empty()) {
      deliver(channel.sends.front(), channel.receives.front());
      channel.sends.pop_front();
      channel.receives.pop_front();
    }
  }

  void deliver(const Posted& from, const Posted& into) {
    Machine& a = machines_[static_cast<std::size_t>(from.rank)];
    Machine& b = machines_[static_cast<std::size_t>(into.rank)];
    const Slice source = a.resolve(plan(from.rank).steps[from.step].source);
    const Slice target = b.resolve(plan(into.rank).steps[into.step].target);
    if (source.count != target.count) {
      problem_ =
          fmt::format("{}: step {} of rank {} sends {} elements, step {} of rank {} expects {}", plan(from.rank).name,
                      from.step, from.rank, source.count, into.step, into.rank, target.count);
      return;
    }
    std::copy_n(a.at(source), source.count, b.at(target));
    for (std::size_t i = 0; i < b.knows.size(); ++i) b.knows[i] |= from.knows[i];
    a.done[from.step] = b.done[into.step] = true;
  }

  std::string check_results() {
    std::map<std::int64_t, int> reduced;  // all-reduce: what rank 0 has
    for (int r = 0; r < size_; ++r) {
      Machine& m = machines_[static_cast<std::size_t>(r)];
      const auto out = [&](std::int64_t i) { return *m.at(m.resolve({Buffer::kOutput, i, 1})); };
      const auto wrong = [&](std::int64_t i) {
        return fmt::format("{}: element {} of rank {} is not what it should be", plan(r).name, i, r);
      };
      switch (collective_.kind) {
        case CollectiveKind::kAllReduce:
          for (std::int64_t i = 0; i < total(); ++i) {
            if (!symbols_.complete(out(i), i)) return wrong(i);
            if (reduced.try_emplace(i, out(i)).first->second != out(i))
              return fmt::format("{}: ranks 0 and {} compute element {} in different orders", plan(r).name, r, i);
          }
          break;
        case CollectiveKind::kReduceScatter:
          for (std::int64_t i = 0; i < count(r); ++i)
            if (!symbols_.complete(out(i), begin(r) + i)) return wrong(i);
          break;
        case CollectiveKind::kAllGather:
          for (int p = 0; p < size_; ++p)
            for (std::int64_t i = 0; i < count(p); ++i)
              if (out(begin(p) + i) != symbols_.leaf(p, i)) return wrong(begin(p) + i);
          break;
        case CollectiveKind::kBroadcast:
          for (std::int64_t i = 0; i < total(); ++i)
            if (out(i) != symbols_.leaf(collective_.root, i)) return wrong(i);
          break;
        case CollectiveKind::kBarrier:
          for (int p = 0; p < size_; ++p)
            if (!(m.knows[static_cast<std::size_t>(p / 64)] >> (p % 64) & 1))
              return fmt::format("{}: rank {} may leave before rank {} has come", plan(r).name, r, p);
          break;
        case CollectiveKind::kAllToAll: {
          std::int64_t at = 0;
          for (int p = 0; p < size_; ++p) {
            std::int64_t from = 0;  // where rank p's part for r begins
            for (int q = 0; q < r; ++q) from += to(p, q);
            for (std::int64_t i = 0; i < to(p, r); ++i, ++at)
              if (out(at) != symbols_.leaf(p, from + i)) return wrong(at);
          }
          break;
        }
      }
    }
    return {};
  }

  const Collective& collective_;
  const std::vector<Plan>& plans_;
  const int size_;
  Symbols symbols_;
  std::vector<Machine> machines_;
  std::map<std::pair<int, int>, Channel> channels_;
  std::string problem_;
};

}  // namespace

std::string verify(const Collective& collective, const std::vector<Plan>& plans) {
  return Execution(collective, plans).run();
}

std::int64_t sent_elements(const Plan& plan) {
  std::int64_t n = 0;
  for (const Step& s : plan.steps)
    if (s.kind == Step::Kind::kSend) n += s.source.count;
  return n;
}

}  // namespace banyan::comm
