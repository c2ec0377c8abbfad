#include "comm/shared/window_operation.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

constexpr std::size_t kTurnBytes = 1 << 20;    // moved in one call of advance
constexpr std::size_t kBlockBytes = 8 << 10;   // of many terms; stays in the first cache
constexpr std::size_t kShortBytes = 48 << 10;  // of two terms: a reduction leaves so little in the caches
constexpr std::size_t kLargeBytes = 12 << 20;

}  // namespace

WindowRun::WindowRun(Engine& engine, Execution execution, std::shared_ptr<SharedWindow> window)
    : engine_(&engine), execution_(std::move(execution)), window_(std::move(window)), ticket_(window_->tickets++) {}

bool WindowOperation::advance() {
  const bool moved = run_.advance();
  if (run_.done()) finish();
  return moved;
}

View WindowRun::view(const Slice& slice) const {
  std::byte* base = slice.buffer == Buffer::kInput ? execution_.input.data : execution_.output.data;
  const DType dtype = execution_.output.dtype;
  std::byte* at = slice.count == 0 ? base : base + static_cast<std::size_t>(slice.begin) * size_of(dtype);
  return View(at, dtype, {slice.count});
}

bool WindowRun::advance() {
  if (window_->turn != ticket_) {
    // What moves the operations before this one moves this one, too.
    return std::exchange(seen_, window_->steps) != window_->steps;
  }
  if (!window_->complete()) return false;
  bool moved = false;
  const auto& steps = execution_.plan->steps;
  for (std::size_t bytes = 0; next_ < steps.size() && bytes < kTurnBytes;) {
    const Step& step = steps[next_];
    if (!execute(step)) return moved;
    bytes +=
        static_cast<std::size_t>(std::max(step.source.count, step.target.count)) * size_of(execution_.output.dtype);
    ++next_;
    ++window_->steps;
    moved = true;
  }
  if (next_ < steps.size()) return moved;
  ++window_->turn;
  return true;
}

bool WindowRun::execute(const Step& step) {
  switch (step.kind) {
    case Step::Kind::kPublish:
      return publish(step);
    case Step::Kind::kFold:
      return fold(step);
    case Step::Kind::kCopy: {
      move(view(step.target), view(step.source).data);
      return true;
    }
    default:
      throw BugError("{}: a message in a plan for a shared window", execution_.plan->name);
  }
}

bool WindowRun::publish(const Step& step) {
  const View source = view(step.source);
  if (!window_->has_room(step.peers, source.bytes())) return false;
  if (source.bytes() > SharedWindow::kPieceBytes)
    throw BugError("{}: a piece of {} bytes", execution_.plan->name, source.bytes());
  const bool large = source.bytes() >= CopyChoice::kFrom;
  const auto begin = large ? Clock::now() : Clock::time_point{};
  window_->publish(step.peers, source.data, source.bytes(), copies());
  if (large) note(CopyChoice::Work::kPublish, source.bytes(), begin);
  return true;
}

bool WindowRun::fold(const Step& step) {
  window_->terms.clear();
  int own = -1;
  const std::size_t bytes = static_cast<std::size_t>(step.target.count) * size_of(execution_.output.dtype);
  for (const Operand& operand : step.operands) {
    if (operand.peer < 0) {
      own = static_cast<int>(window_->terms.size());
      window_->terms.push_back(view(operand.slice).data);
      continue;
    }
    SharedWindow::Piece piece;
    if (!window_->look(operand.peer, piece)) {
      window_->waiting_for = operand.peer;
      return false;
    }
    if (piece.bytes != bytes)
      throw CommError("{} in {}: {} bytes came where {} were expected",
                      engine_->peer_name((*execution_.world_ranks)[static_cast<std::size_t>(operand.peer)]),
                      execution_.plan->name, piece.bytes, bytes);
    window_->terms.push_back(piece.data);
  }
  const bool large = execution_.plan->symmetric && bytes >= CopyChoice::kFrom;
  const auto begin = large ? Clock::now() : Clock::time_point{};
  if (bytes > 0) combine(view(step.target), own);
  if (large) note(CopyChoice::Work::kFold, bytes, begin);
  for (const Operand& operand : step.operands)
    if (operand.peer >= 0) window_->take(operand.peer);
  return true;
}

// The left fold of the terms, block by block.  The own term may lie where the result goes: until its turn has come the
// sum is kept aside.
void WindowRun::combine(const View& target, int own) {
  if (window_->terms.size() == 1) {
    move(target, window_->terms[0]);
    return;
  }
  const std::size_t element = size_of(target.dtype);
  const bool two = window_->terms.size() == 2, large = is_large();
  const bool apart = own < 0 || window_->terms[static_cast<std::size_t>(own)] != target.data;
  // A large result of many terms that is not written over the own one is made aside and moved past the caches; of two
  // the reduction itself does that to whole pieces.
  const bool past = !two && large && apart;
  const std::size_t block = !two ? kBlockBytes : large || !apart ? target.bytes() : kShortBytes;
  alignas(64) std::array<std::byte, kBlockBytes> aside;
  for (std::size_t at = 0; at < target.bytes(); at += block) {
    const std::size_t bytes = std::min(block, target.bytes() - at);
    const auto count = static_cast<std::int64_t>(bytes / element);
    const std::byte* sum = window_->terms[0] + at;
    for (std::size_t t = 1; t < window_->terms.size(); ++t) {
      std::byte* into = past || static_cast<int>(t) < own ? aside.data() : target.data + at;
      (*execution_.reduce)(execution_.queue, View(into, target.dtype, {count}), ConstView(sum, target.dtype, {count}),
                           ConstView(window_->terms[t] + at, target.dtype, {count}), execution_.op);
      sum = into;
    }
    if (past) copy_past_caches(target.data + at, sum, bytes);
  }
}

bool WindowRun::is_large() const { return execution_.input.bytes() + execution_.output.bytes() >= kLargeBytes; }

// What is larger than the caches is written past them: nobody finds it there later, and a line that is not brought in
// before it is overwritten takes a third off what memory has to carry.
void WindowRun::move(const View& target, const std::byte* from) const {
  if (target.data == from || target.bytes() == 0) return;
  if (is_large())
    copy_past_caches(target.data, from, target.bytes());
  else
    std::memcpy(target.data, from, target.bytes());
}

void WindowRun::note(CopyChoice::Work work, std::size_t bytes, Clock::time_point begin) {
  copies().note(work, bytes, Seconds(Clock::now() - begin).count());
}

int WindowRun::waits_for() const {
  return window_->waiting_for < 0 ? -1 : (*execution_.world_ranks)[static_cast<std::size_t>(window_->waiting_for)];
}

}  // namespace banyan::comm
