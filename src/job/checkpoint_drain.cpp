// The part of Checkpoints that copies what is on the nodes into the run directory.
#include "src/base/error.hpp"
#include "src/job/checkpoint.hpp"
#include "src/job/save.hpp"

namespace banyan::job {

SaveResult Checkpoints::drain() {
  if (in_drain()) throw BugError("a node-local checkpoint is to be copied while another one is");
  if (!newest_there_) throw BugError("a node-local checkpoint is to be copied where none was made");
  const Save& there = *newest_there_;
  const auto s = std::make_shared<Save>();
  s->result.name = there.result.name;
  s->result.bytes = there.result.bytes;
  s->result.misses = misses_;
  s->result.ok = there.head.step <= committed_step_;
  if (s->result.ok) return s->result;
  s->head = there.head;
  s->head.extra.erase(io::kLevel);
  s->tmp = store_.tmp_of(s->result.name);
  s->file = there.file;
  s->bytes = there.bytes;
  s->written = there.written;
  s->part = there.part;
  s->from = level_->path_of(s->result.name);
  s->verify = options_.verify;
  s->background = true;
  if (const Verdict v = reserve(*s); !v.ok()) return missed(*s, v);
  level_->spare(s->result.name);
  s->result.ok = true;
  s->waited = Clock::now() - s->start;
  drain_ = {s, {}};
  start_writer(drain_);
  return s->result;
}

SaveResult Checkpoints::finish_drain() { return finish(drain_); }

}  // namespace banyan::job
