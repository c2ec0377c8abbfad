// The part of Checkpoints that works while training goes on.
#include <sys/resource.h>

#include <algorithm>
#include <utility>

#include "src/base/error.hpp"
#include "src/base/log.hpp"
#include "src/job/checkpoint.hpp"
#include "src/job/save.hpp"

namespace banyan::job {
namespace {

/// Has the calling thread stand back where training wants the processor.
void yield_to_others() {
  constexpr int kNice = 5;
  // Of this thread alone, on Linux; without it writing merely disturbs more.
  ::setpriority(PRIO_PROCESS, 0, ::getpriority(PRIO_PROCESS, 0) + kNice);
}

}  // namespace

void Checkpoints::prepare(std::span<const SaveTensor> tensors) {
  if (in_flight()) throw BugError("memory is taken for a checkpoint while one is on its way");
  // Without the memory begin() says so.
  making_room_ =
      std::make_shared<Task>([copy = copy_, bytes = io::Snapshot::room_for(tensors)](const std::atomic<bool>& cancel) {
        yield_to_others();
        copy->make_room(bytes, cancel);
      });
}

SaveResult Checkpoints::begin(const SaveState& state, std::span<const SaveTensor> tensors, Level level) {
  std::shared_ptr<Save> s = describe(state, tensors, level);
  if (s->result.ok) return s->result;
  if (const Verdict v = reserve(*s); !v.ok()) return missed(*s, v);
  s->copy = copy_;
  s->background = true;
  const Verdict copied = run_together(
      ranks_, "copying a checkpoint", options_.io_limit,
      [s, room = std::exchange(making_room_, nullptr), limit = options_.io_limit](const std::atomic<bool>&) {
        if (room) room->cancel();  // what it has not come to is taken faster here
        if (room && !room->wait(limit)) throw IoError("the system does not give memory for the copy of a checkpoint");
        s->copy->take(s->head, s->mine);
        s->mine.assign(s->copy->slabs().begin(), s->copy->slabs().end());
      });
  if (!copied.ok()) return missed(*s, copied);
  s->result.ok = true;
  s->waited = Clock::now() - s->start;
  pending_ = {s, {}};
  start_writer(pending_);
  return s->result;
}

void Checkpoints::start_writer(Flight& flight) {
  flight.writer = std::make_shared<Task>(
      [s = flight.save, before = options_.before_writing, level = level_](const std::atomic<bool>& cancel) {
        yield_to_others();
        if (before) before(cancel);
        if (s->level == Level::kNodes)
          level->write(*s, cancel);
        else
          s->write(cancel);
      });
}

Writing Checkpoints::progress_of(const Flight& flight) const {
  if (!flight.save) return Writing::kDone;
  const Task& writer = *flight.writer;
  if (!writer.done()) return writer.age() > options_.background_limit ? Writing::kFailed : Writing::kUnderWay;
  return writer.outcome().code == 0 ? Writing::kDone : Writing::kFailed;
}

SaveResult Checkpoints::finish() { return finish(pending_); }

SaveResult Checkpoints::finish(Flight& flight) {
  if (!flight.save) throw BugError("no checkpoint is on its way");
  const Clock::time_point start = Clock::now();
  const std::shared_ptr<Save> s = flight.save;
  // The writer has its own limit, from when it began.  What waits for it may outlive this call where a system call
  // hangs.
  Verdict verdict =
      run_together(ranks_, "writing a checkpoint", options_.background_limit + options_.io_limit,
                   [s, writer = flight.writer, limit = options_.background_limit](const std::atomic<bool>& cancel) {
                     while (!writer->wait(Seconds(0.1))) {
                       if (cancel) writer->cancel();
                       if (writer->age() > limit)
                         throw IoError("{} in {} is not written after {:.0f} s; the file system hangs", s->file,
                                       s->tmp.string(), limit.count());
                     }
                     if (writer->outcome().code != 0) writer->outcome().raise();
                   });
  using comm::ReduceOp;
  // A thread that hangs may still write, and reads the copy: there is no going on beside it.
  if (!verdict.ok() && comm::all_reduce_value(ranks_, std::int64_t{!flight.writer->done()}, ReduceOp::kMax,
                                              "whether all writing has ended") > 0)
    verdict.raise();
  if (verdict.ok()) verdict = commit(*s);
  // A node-local one is not worth it: the next comes soon.
  if (!verdict.ok() && !s->second && s->level == Level::kRunDir && of_storage(verdict)) {
    if (ranks_.rank() == 0)
      log::warning("{} is {}: {}", s->result.name,
                   s->from.empty() ? "written again from the same copy" : "copied from the nodes again",
                   verdict.first().message);
    discard(*s);
    verdict = reserve(*s);
    if (verdict.ok()) {
      s->second = true;
      s->result.again = true;
      s->result.ok = false;
      s->waited += Clock::now() - start;
      start_writer(flight);
      return s->result;
    }
  }
  const Seconds age = flight.writer->age();
  flight = {};
  if (s->level == Level::kRunDir && level_) level_->spare("");
  s->result.again = s->result.ok = false;
  if (!verdict.ok()) return missed(*s, verdict);
  const Seconds written(comm::all_reduce_value(ranks_, age.count(), ReduceOp::kMax, "how long writing took"));
  s->result.seconds = Seconds(s->waited + written + (Clock::now() - start)).count();
  return committed(s);
}

}  // namespace banyan::job
