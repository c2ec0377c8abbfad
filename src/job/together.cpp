#include "src/job/together.hpp"

#include <algorithm>
#include <cstdint>

#include "src/base/error.hpp"

namespace banyan::job {
namespace {

constexpr Seconds kFirstPause{0.0005}, kLongestPause{0.2};

// Counts of ranks, three in one integer, so that a round is one message.
constexpr int kField = 21;
constexpr std::int64_t kMask = (std::int64_t{1} << kField) - 1;

std::string encode(const Outcome& o) { return std::to_string(o.code) + "\n" + o.message; }

Outcome decode(const std::string& text) {
  const std::size_t line = text.find('\n');
  if (line == std::string::npos) throw BugError("malformed outcome '{}'", text);
  return {std::stoi(text.substr(0, line)), text.substr(line + 1)};
}

}  // namespace

const Outcome& Verdict::first() const {
  const Outcome* fallback = nullptr;
  for (const Outcome& o : outcomes) {
    if (o.code > 0) return o;
    if (o.code != 0 && !fallback) fallback = &o;
  }
  if (!fallback) throw BugError("a verdict without a failure was asked for its first");
  return *fallback;
}

void Verdict::raise() const { first().raise(); }

Verdict run_together(comm::Communicator& ranks, std::string_view what, Seconds limit,
                     const std::function<void(const std::atomic<bool>&)>& work) {
  Section section{std::string(what)};
  Task task(work);
  const Clock::time_point start = Clock::now();
  Seconds pause = kFirstPause;
  std::int64_t failed = 0;
  for (;;) {
    const bool done = task.wait(pause);
    pause = std::min(pause * 2, kLongestPause);
    const std::int64_t mine = (done ? 1 : 0) | std::int64_t{done && task.outcome().code != 0} << kField |
                              std::int64_t{!done && Seconds(Clock::now() - start) > limit} << (2 * kField);
    const std::int64_t all = comm::all_reduce_value(ranks, mine, comm::ReduceOp::kSum, what);
    failed = all >> kField & kMask;
    if (failed > 0) task.cancel();
    if ((all & kMask) == ranks.size()) break;
    if (all >> (2 * kField) > 0)
      throw IoError("{} took longer than {:.0f} s on {} of {} ranks; the file system hangs", what, limit.count(),
                    all >> (2 * kField), ranks.size());
  }
  Verdict verdict;
  if (failed == 0) return verdict;
  Outcome mine = task.outcome();
  if (mine.code != 0 && ranks.size() > 1) mine.message = ranks.peer_name(ranks.rank()) + ": " + mine.message;
  for (const std::string& text : comm::all_gather_strings(ranks, encode(mine), what))
    verdict.outcomes.push_back(decode(text));
  return verdict;
}

std::vector<std::string> gather_strings(comm::Communicator& ranks, const std::string& mine, std::string_view what) {
  constexpr int kLengths = comm::kMaxChannel, kTexts = comm::kMaxChannel - 1;
  const Queue queue;
  if (ranks.rank() != 0) {
    const std::int64_t length = std::ssize(mine);
    ranks.send(queue, ConstView(&length, Shape{1}), 0, kLengths, what).wait();
    if (length > 0)
      ranks
          .send(queue, ConstView(reinterpret_cast<const std::byte*>(mine.data()), DType::kU8, Shape{length}), 0, kTexts,
                what)
          .wait();
    return {};
  }
  std::vector<std::string> all{mine};
  for (int peer = 1; peer < ranks.size(); ++peer) {
    std::int64_t length = 0;
    ranks.receive(queue, View(&length, Shape{1}), peer, kLengths, what).wait();
    if (length < 0) throw BugError("a text of {} bytes was announced", length);
    all.emplace_back(static_cast<std::size_t>(length), '\0');
    if (length > 0)
      ranks
          .receive(queue, View(reinterpret_cast<std::byte*>(all.back().data()), DType::kU8, Shape{length}), peer,
                   kTexts, what)
          .wait();
  }
  return all;
}

}  // namespace banyan::job
