#include "src/train/audit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "src/base/host.hpp"
#include "src/base/log.hpp"
#include "src/train/replicas.hpp"
#include "src/train/verdict.hpp"

namespace banyan::train {
namespace {

constexpr int kChannel = comm::kMaxChannel - 2;

}  // namespace

Audit::Audit(Trainer& trainer, std::int64_t every)
    : t_(trainer), every_(every), data_ranks_(trainer.team.mesh.shape().data) {
  const std::string mine = fmt::format("{}, {}, {} threads", processor_name(), t_.job.arithmetic(), t_.job.threads);
  std::string differs;
  if (t_.team.data)
    for (const std::string& other : comm::all_gather_strings(*t_.team.data, mine, "the processors of the data ranks"))
      if (other != mine) differs = fmt::format("{} and {}", mine, other);
  // All or none, so that nobody waits for a stage that has nothing to say.
  std::string first;
  for (const std::string& d : comm::all_gather_strings(*t_.team.all, differs, "whether data ranks are alike"))
    if (first.empty()) first = d;
  alike_ = first.empty();
  if (!alike_ && t_.job.root())
    log::warning("audits compare copies only: data ranks compute with {}, whose gradients need not be equal to the bit",
                 first);
}

int Audit::process(int ahead) const {
  parallel::Coordinate c = t_.team.at;
  c.data = (c.data + ahead + data_ranks_) % data_ranks_;
  return t_.team.mesh.process(c);
}

Trace Audit::compute_for(int ahead, std::int64_t step) {
  parallel::Coordinate c = t_.team.at;
  c.data = (c.data + ahead) % data_ranks_;
  BatchReader reader(t_.team, t_.batch.samples(), true, c.data);
  Trace trace;
  StepReport unused;
  t_.run(parallel::make_schedule(t_.team.layout.schedule_args(c)), reader, step, unused, &trace, [](int) {});
  return trace;
}

std::vector<std::uint64_t> Audit::exchange(const Trace& mine, int ahead, std::size_t expected) {
  if (data_ranks_ == 1) return mine.sums();
  comm::Communicator& data = *t_.team.data;
  const int to = (data.rank() + ahead) % data_ranks_, from = (data.rank() + data_ranks_ - ahead) % data_ranks_;
  std::vector<std::uint64_t> theirs(expected);
  const auto bytes = [](const std::vector<std::uint64_t>& v) {
    return Shape{static_cast<std::int64_t>(v.size() * sizeof v[0])};
  };
  const View in(reinterpret_cast<std::byte*>(theirs.data()), DType::kU8, bytes(theirs));
  const ConstView out(reinterpret_cast<const std::byte*>(mine.sums().data()), DType::kU8, bytes(mine.sums()));
  Event received = data.receive(t_.job.queue, in, from, kChannel, "the audit by another data rank");
  data.send(t_.job.queue, out, to, kChannel, "the audit of another data rank").wait();
  received.wait();
  return theirs;
}

StepShare Audit::compute_gradients(std::int64_t step, StepReport& report) {
  const Clock::time_point begin = Clock::now();
  compare_replicas(t_, step);
  if (!alike_) {
    report.audit = Seconds(Clock::now() - begin).count();
    return t_.compute_gradients(step, report);
  }
  const Trace for_next = compute_for(1, step);
  report.audit = Seconds(Clock::now() - begin).count();

  Trace own;
  const StepShare share = t_.compute_gradients(step, report, &own);

  const Clock::time_point computed = Clock::now();
  const std::vector<std::uint64_t> stand_in = exchange(for_next, 1, own.sums().size());
  const std::int64_t differs = stand_in != own.sums();
  if (comm::all_reduce_value(*t_.team.all, differs, comm::ReduceOp::kMax, "the audits of all ranks") != 0)
    accuse(step, own, stand_in);
  report.audit += Seconds(Clock::now() - computed).count();
  return share;
}

void Audit::accuse(std::int64_t step, const Trace& own, const std::vector<std::uint64_t>& stand_in) {
  const std::size_t count = own.sums().size();
  std::vector<std::uint64_t> own_again = stand_in, stand_in_again = stand_in, third;
  if (data_ranks_ > 1) {
    own_again = compute_for(0, step).sums();
    stand_in_again = exchange(compute_for(1, step), 1, count);
  }
  if (data_ranks_ > 2) third = exchange(compute_for(2, step), 2, count);
  const Blame blame = judge({.own = own.sums(),
                             .own_again = own_again,
                             .stand_in = stand_in,
                             .stand_in_again = stand_in_again,
                             .third = third},
                            [&](std::size_t i) { return own.made(i); });

  std::vector<Finding> findings;
  const auto name = [&](int rank) { return fmt::format("rank {} on {}", rank, t_.job.world.host(rank)); };
  const int self = process(0), behind = process(-1);
  const std::string what = fmt::format("{} of step {}", own.describe(blame.at, t_.stage.params()), step + 1);
  if (blame.own && blame.stand_in && self != behind)
    findings.push_back({{std::min(self, behind), std::max(self, behind)},
                        fmt::format("{} and {} come to different bits for {}, again and again; one of them computes "
                                    "wrongly",
                                    name(self), name(behind), what)});
  else if (blame.own || blame.stand_in)
    findings.push_back({{blame.own ? self : behind},
                        fmt::format("{} computed {} wrongly: others, or itself when asked again, come to other bits",
                                    name(blame.own ? self : behind), what)});
  settle(t_, findings);
  throw CommError(
      "in step {} data ranks came to different bits and agree now, or were given different ones by other stages; a "
      "message or memory went wrong, nothing was saved since: start the job again",
      step + 1);
}

}  // namespace banyan::train
