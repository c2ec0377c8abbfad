#include "comm/plan_verifier.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <utility>

#include "comm/plan_symbols.hpp"

namespace banyan::comm {
namespace {

bool is_message(const Step& s) { return s.kind == Step::Kind::kSend || s.kind == Step::Kind::kReceive; }

class Execution {
 public:
  Execution(const Collective& collective, const std::vector<Plan>& plans, Symbols& symbols)
      : collective_(collective), plans_(plans), size_(static_cast<int>(plans.size())), symbols_(symbols) {}

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
    for (const auto& [pair, channel] : channels_)
      if (!channel.published.empty())
        return fmt::format("{}: rank {} never takes what rank {} published", plan(pair.second).name, pair.second,
                           pair.first);
    return check_results();
  }

  /// What every rank ends with.
  std::vector<std::vector<int>> results() {
    std::vector<std::vector<int>> all;
    for (Machine& m : machines_) {
      const Buffer where = m.resolve({Buffer::kOutput, 0, 0}).buffer;
      all.push_back(m.buffers[static_cast<int>(where)]);
      if (where == Buffer::kInput)  // of an overwritten input only the own part counts
        all.back() = {m.at(m.resolve({Buffer::kOutput, 0, 0})),
                      m.at(m.resolve({Buffer::kOutput, 0, 0})) + count(static_cast<int>(all.size()) - 1)};
    }
    return all;
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

  // What a step reads and writes, where it really lies.
  struct Touched {
    std::vector<Slice> reads;
    Slice writes;
  };
  static Touched touched(const Machine& m, const Step& step) {
    Touched t;
    if (step.kind != Step::Kind::kReceive && step.kind != Step::Kind::kFold) t.reads.push_back(m.resolve(step.source));
    if (step.kind == Step::Kind::kReduce) t.reads.push_back(m.resolve(step.left));
    for (const Operand& o : step.operands)
      if (o.peer < 0) t.reads.push_back(m.resolve(o.slice));
    if (step.kind != Step::Kind::kSend && step.kind != Step::Kind::kPublish) t.writes = m.resolve(step.target);
    return t;
  }

  // Every step must wait for the messages whose memory it touches; and touch only memory there is.
  std::string check_hazards(int r) const {
    const Machine& m = machines_[static_cast<std::size_t>(r)];
    const auto& steps = plan(r).steps;
    std::vector<std::size_t> open;  // messages that may still be under way
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const Touched now = touched(m, steps[i]);
      const bool combines = steps[i].kind == Step::Kind::kReduce || steps[i].kind == Step::Kind::kCopy ||
                            steps[i].kind == Step::Kind::kFold;
      if (!m.fits(now.writes) || !std::all_of(now.reads.begin(), now.reads.end(), [&](auto& s) { return m.fits(s); }))
        return fmt::format("{}: step {} of rank {} touches memory outside its buffer", plan(r).name, i, r);
      if (combines &&
          std::any_of(now.reads.begin(), now.reads.end(), [&](const Slice& s) { return s.count != now.writes.count; }))
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
        if (used.overlaps(now.writes) ||
            (receives && std::any_of(now.reads.begin(), now.reads.end(), [&](auto& s) { return used.overlaps(s); })))
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
      if (!possible(r, step)) break;
      issue(r, m.next++);
      moved = true;
    }
    return moved;
  }
  // A window has room for so much; a fold waits for its terms.
  bool possible(int r, const Step& step) {
    if (step.kind == Step::Kind::kPublish) {
      const auto full = [&](int peer) {
        return static_cast<int>(channels_[{r, peer}].published.size()) >= kWindowPiecesPerReader;
      };
      return machines_[static_cast<std::size_t>(r)].published < window_pieces(size_) &&
             std::none_of(step.peers.begin(), step.peers.end(), full);
    }
    return std::all_of(step.operands.begin(), step.operands.end(), [&](const Operand& o) {
      return o.peer < 0 || !channels_[{o.peer, r}].published.empty();
    });
  }
  struct Piece {  // published
    std::vector<int> symbols;
    std::vector<std::uint64_t> knows;
    int readers;  // that have not folded it
  };
  struct Posted {
    int rank;
    std::size_t step;
    std::vector<std::uint64_t> knows;
  };
  struct Channel {
    std::deque<Posted> sends, receives;
    std::deque<std::shared_ptr<Piece>> published;
  };

  void issue(int r, std::size_t index) {
    Machine& m = machines_[static_cast<std::size_t>(r)];
    const Step& step = plan(r).steps[index];
    const Slice source = m.resolve(step.source), target = m.resolve(step.target), left = m.resolve(step.left);
    switch (step.kind) {
      case Step::Kind::kReduce:
        for (std::int64_t i = 0; i < target.count; ++i)
          m.at(target)[i] = symbols_.combine(m.at(left)[i], m.at(source)[i]);
        m.done[index] = true;
        return;
      case Step::Kind::kCopy:
        for (std::int64_t i = 0; i < target.count; ++i) m.at(target)[i] = m.at(source)[i];
        m.done[index] = true;
        return;
      case Step::Kind::kSend:
        channels_[{r, step.peer}].sends.push_back({r, index, m.knows});
        break;
      case Step::Kind::kPublish: {
        const auto piece = std::make_shared<Piece>(
            Piece{{m.at(source), m.at(source) + source.count}, m.knows, static_cast<int>(step.peers.size())});
        for (int peer : step.peers) channels_[{r, peer}].published.push_back(piece);
        if (piece->readers > 0) ++m.published;
        m.done[index] = true;
        return;
      }
      case Step::Kind::kFold:
        fold(r, index, target);
        m.done[index] = true;
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

  void fold(int r, std::size_t index, const Slice& target) {
    Machine& m = machines_[static_cast<std::size_t>(r)];
    std::vector<int> sum;
    for (const Operand& operand : plan(r).steps[index].operands) {
      std::vector<int> term;
      if (operand.peer < 0) {
        const Slice own = m.resolve(operand.slice);
        term.assign(m.at(own), m.at(own) + own.count);
      } else {
        auto& published = channels_[{operand.peer, r}].published;
        const auto piece = published.front();
        published.pop_front();
        if (--piece->readers == 0) --machines_[static_cast<std::size_t>(operand.peer)].published;
        term = piece->symbols;
        for (std::size_t i = 0; i < m.knows.size(); ++i) m.knows[i] |= piece->knows[i];
      }
      if (static_cast<std::int64_t>(term.size()) != target.count) {
        problem_ = fmt::format("{}: step {} of rank {} expects {} elements of rank {} and gets {}", plan(r).name, index,
                               r, target.count, operand.peer, term.size());
        return;
      }
      if (sum.empty())
        sum = std::move(term);
      else
        std::transform(sum.begin(), sum.end(), term.begin(), sum.begin(),
                       [&](int a, int b) { return symbols_.combine(a, b); });
    }
    std::copy(sum.begin(), sum.end(), m.at(target));
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
  Symbols& symbols_;
  std::vector<Machine> machines_;
  std::map<std::pair<int, int>, Channel> channels_;
  std::string problem_;
};

}  // namespace

std::string verify(const Collective& collective, const std::vector<Plan>& plans) {
  Symbols symbols(static_cast<int>(plans.size()));
  return Execution(collective, plans, symbols).run();
}

std::string verify_same(const Collective& collective, const std::vector<Plan>& a, const std::vector<Plan>& b) {
  Symbols symbols(static_cast<int>(a.size()));
  Execution first(collective, a, symbols), second(collective, b, symbols);
  for (Execution* e : {&first, &second})
    if (auto problem = e->run(); !problem.empty()) return problem;
  return first.results() == second.results() ? "" : a.front().name + ": the two forms differ in the order of operands";
}

std::int64_t sent_elements(const Plan& plan) {
  std::int64_t n = 0;
  for (const Step& s : plan.steps)
    if (s.kind == Step::Kind::kSend)
      n += s.source.count;
    else if (s.kind == Step::Kind::kPublish)
      n += s.source.count * static_cast<std::int64_t>(s.peers.size());
  return n;
}

}  // namespace banyan::comm
