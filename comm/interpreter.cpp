#include "comm/interpreter.hpp"

#include <algorithm>
#include <utility>

#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

// True when the request is complete; it is then released.
bool collect(Engine& engine, Request* request, int peer, const Operation& operation) {
  if (request->state() == Request::State::kPending) return false;
  if (request->state() == Request::State::kDone) {
    engine.transport().release(request);
    return true;
  }
  const std::string error = request->error();
  const bool lost = request->peer_lost();
  engine.transport().release(request);
  if (lost)
    throw PeerLostError(peer, "it was lost: " + error,
                        fmt::format("{} was lost in {}: {}", engine.peer_name(peer), operation.what(), error));
  throw CommError("{} in a message of {}: {}", engine.peer_name(peer), operation.what(), error);
}

void give_back(Engine& engine, Request* request, bool after_failure) {
  if (after_failure)
    engine.transport().forget(request);
  else
    engine.transport().release(request);
}

}  // namespace

PlanOperation::PlanOperation(Engine& engine, Execution execution, Label label, Seconds silence)
    : Operation(engine, std::move(label), silence), engine_(engine), execution_(std::move(execution)) {
  const DType dtype = execution_.output.dtype;
  complete_.assign(execution_.plan->steps.size(), false);
  sent_.assign(execution_.world_ranks->size(), execution_.first_number);
  received_.assign(execution_.world_ranks->size(), execution_.first_number);
  scratch_ = engine_.scratch().take(static_cast<std::size_t>(execution_.plan->scratch) * size_of(dtype));
}

PlanOperation::~PlanOperation() { give_up(engine_.failed()); }

View PlanOperation::view(const Slice& slice) const {
  std::byte* base = slice.buffer == Buffer::kInput    ? execution_.input.data
                    : slice.buffer == Buffer::kOutput ? execution_.output.data
                                                      : scratch_.memory.get();
  const DType dtype = execution_.output.dtype;
  std::byte* at = slice.count == 0 ? base : base + static_cast<std::size_t>(slice.begin) * size_of(dtype);
  return View(at, dtype, {slice.count});
}

void PlanOperation::issue(std::size_t index) {
  const Step& step = execution_.plan->steps[index];
  const auto peer = [&] { return (*execution_.world_ranks)[static_cast<std::size_t>(step.peer)]; };
  switch (step.kind) {
    case Step::Kind::kSend: {
      const View source = view(step.source);
      posted_.push_back({index, engine_.transport().send({.peer = peer(),
                                                          .tag = execution_.tag,
                                                          .sequence = sent_[static_cast<std::size_t>(step.peer)]++,
                                                          .data = source.data,
                                                          .bytes = source.bytes()})});
      break;
    }
    case Step::Kind::kReceive: {
      const View target = view(step.target);
      posted_.push_back(
          {index, engine_.transport().receive({.peer = peer(),
                                               .tag = execution_.tag,
                                               .sequence = received_[static_cast<std::size_t>(step.peer)]++,
                                               .data = target.data,
                                               .bytes = target.bytes()})});
      break;
    }
    case Step::Kind::kReduce:
      (*execution_.reduce)(execution_.queue, view(step.target), view(step.left), view(step.source), execution_.op);
      break;
    case Step::Kind::kPublish:
    case Step::Kind::kFold:
      throw BugError("{}: step {} is not in terms of messages", execution_.plan->name, index);
    case Step::Kind::kCopy: {
      const View target = view(step.target), source = view(step.source);
      if (target.data != source.data && step.target.count > 0) (*execution_.copy)(execution_.queue, target, source);
      break;
    }
  }
}

bool PlanOperation::reap() {
  const auto finished = [&](const Posted& p) {
    const int peer = execution_.plan->steps[p.step].peer;
    return collect(engine_, p.request, (*execution_.world_ranks)[static_cast<std::size_t>(peer)], *this);
  };
  std::size_t kept = 0;
  for (std::size_t i = 0; i < posted_.size(); ++i) {
    bool gone = true;
    try {
      gone = finished(posted_[i]);
    } catch (...) {  // the request is released; keep the list true for give_up
      posted_.erase(posted_.begin() + static_cast<std::ptrdiff_t>(kept),
                    posted_.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      throw;
    }
    if (gone)
      complete_[posted_[i].step] = true;
    else
      posted_[kept++] = posted_[i];
  }
  const bool moved = kept < posted_.size();
  posted_.resize(kept);
  return moved;
}

bool PlanOperation::advance() {
  bool moved = false, again = true;
  while (again) {
    again = reap();
    const auto& steps = execution_.plan->steps;
    const auto complete = [&](int j) { return complete_[static_cast<std::size_t>(j)]; };
    while (next_ < steps.size() && std::all_of(steps[next_].needs.begin(), steps[next_].needs.end(), complete)) {
      issue(next_++);
      again = true;
    }
    moved = moved || again;
    if (next_ == steps.size() && posted_.empty()) {
      engine_.scratch().give(std::move(scratch_));
      scratch_ = {};
      finish();
      return true;
    }
  }
  return moved;
}

void PlanOperation::give_up(bool after_failure) {
  for (const Posted& p : posted_) give_back(engine_, p.request, after_failure);
  posted_.clear();
}

int PlanOperation::waits_for() const {
  if (posted_.empty()) return -1;
  // A receive says more than a send, which may only wait for its peer to come to the same point.
  for (const Posted& p : posted_) {
    const Step& step = execution_.plan->steps[p.step];
    if (step.kind == Step::Kind::kReceive) return (*execution_.world_ranks)[static_cast<std::size_t>(step.peer)];
  }
  const Step& step = execution_.plan->steps[posted_.front().step];
  return (*execution_.world_ranks)[static_cast<std::size_t>(step.peer)];
}

MessageOperation::MessageOperation(Engine& engine, std::vector<Request*> requests, int peer, Label label,
                                   Seconds silence)
    : Operation(engine, std::move(label), silence), engine_(engine), peer_(peer), requests_(std::move(requests)) {}

MessageOperation::~MessageOperation() { give_up(engine_.failed()); }

void MessageOperation::reuse(int peer, const char* call, std::string_view what) {
  if (!requests_.empty()) throw BugError("{} is still in flight", this->what());
  peer_ = peer;
  restart(call, what);
}

bool MessageOperation::advance() {
  bool moved = false;
  while (next_ < requests_.size()) {
    Request* first = requests_[next_];
    if (first->state() == Request::State::kPending) return moved;
    ++next_;
    collect(engine_, first, peer_, *this);
    moved = true;
  }
  requests_.clear();
  next_ = 0;
  finish();
  return true;
}

void MessageOperation::give_up(bool after_failure) {
  for (; next_ < requests_.size(); ++next_) give_back(engine_, requests_[next_], after_failure);
  requests_.clear();
  next_ = 0;
}

}  // namespace banyan::comm
