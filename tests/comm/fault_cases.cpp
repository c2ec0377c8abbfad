#include "tests/comm/fault_cases.hpp"

#include <algorithm>
#include <regex>

#include "src/base/error.hpp"
#include "tests/comm/conformance.hpp"

namespace banyan::comm {
namespace {

constexpr Seconds kSilence{2};
constexpr int kSteps = 600;  // two collectives each: more than there are tags

}  // namespace

const std::vector<FaultCase>& fault_cases() {
  const std::string by = "rank 1 on [^ ]+ in a message of .*";
  const std::string doubled = by + "(message number [0-9]+ came where number [0-9]+ was expected|bytes came)";
  const std::string damaged = by + "(number|bytes came|checksum)";
  const std::string silent = "no answer from rank [0-9]+ on .* while waiting for ";
  static const std::vector<FaultCase> cases{
      {.name = "Delay", .faults = {.longest_delay = 20}, .error = {}},
      {.name = "DelayWithChecksum", .faults = {.longest_delay = 20}, .checksum = true, .error = {}},
      {.name = "DropTheFirst", .faults = {.rank = 1, .drop_from = 0}, .error = silent},
      {.name = "DropLater", .faults = {.rank = 1, .drop_from = 500}, .error = silent},
      // One of a collective's: its copy lies about until the tag is used again; one of a stream of messages.
      {.name = "DuplicateOfACollective",
       .faults = {.rank = 1, .duplicate = 1},
       .error = doubled,
       .needs_numbers = true},
      {.name = "DuplicateOfAMessage", .faults = {.rank = 1, .duplicate = 0}, .error = doubled, .needs_numbers = true},
      {.name = "DuplicateWithChecksum", .faults = {.rank = 1, .duplicate = 100}, .checksum = true, .error = damaged},
      {.name = "DuplicateChecksum", .faults = {.rank = 1, .duplicate = 101}, .checksum = true, .error = damaged},
      {.name = "CorruptTheFirst", .faults = {.rank = 1, .corrupt = 0}, .checksum = true, .error = damaged},
      {.name = "CorruptLater", .faults = {.seed = 5, .rank = 1, .corrupt = 300}, .checksum = true, .error = damaged},
      {.name = "CorruptAChecksum", .faults = {.rank = 1, .corrupt = 301}, .checksum = true, .error = damaged},
      {.name = "KillTheFirst",
       .faults = {.rank = 1, .die_at = 0},
       .error = "rank 1 on [^ ]+ failed: it ended without a word",
       .one_dies = true},
      {.name = "KillLater",
       .faults = {.rank = 1, .die_at = 700},
       .error = "rank 1 on [^ ]+ failed: it ended without a word",
       .one_dies = true},
  };
  return cases;
}

std::string run_among_faults(World& world, const FaultCase& fault) {
  try {
    WorldOptions options = options_for_test();
    options.shared_memory = false;  // the faults are those of messages
    options.peer_timeout = kSilence;
    options.checksum = fault.checksum;
    world.configure(options, reduce_on_host, nullptr);
    const auto c = everyone(world);
    const int next = (c->rank() + 1) % c->size(), previous = (c->rank() + c->size() - 1) % c->size();
    std::vector<std::int64_t> sum(50), out(30), in(30);
    const auto count = [](const auto& v) { return static_cast<std::int64_t>(v.size()); };
    for (std::int64_t step = 0; step < kSteps; ++step) {
      std::fill(sum.begin(), sum.end(), step + c->rank());
      std::fill(out.begin(), out.end(), 1000 * step + c->rank());
      Event received = c->receive({}, View(in.data(), {count(in)}), previous, 7, "activation");
      Event sent = c->send({}, ConstView(out.data(), {count(out)}), next, 7, "activation");
      c->all_reduce({}, View(sum.data(), {count(sum)}), ReduceOp::kSum, "gradient").wait();
      received.wait();
      sent.wait();
      c->barrier("step");
      const std::int64_t want = c->size() * step + c->size() * (c->size() - 1) / 2;
      require(std::all_of(sum.begin(), sum.end(), [&](std::int64_t v) { return v == want; }), "a wrong sum came");
      require(std::all_of(in.begin(), in.end(), [&](std::int64_t v) { return v == 1000 * step + previous; }),
              "a wrong message came");
    }
    return {};
  } catch (const CommError& e) {
    return e.what();
  }
}

std::string judge(const FaultCase& fault, const std::vector<std::string>& errors) {
  if (fault.error.empty()) {
    for (const std::string& e : errors)
      if (!e.empty()) return e;
    return {};
  }
  const std::regex wanted(fault.error);
  bool found = false;
  bool all_ended = true;
  std::string told;
  for (const std::string& e : errors) {
    all_ended = all_ended && !e.empty();
    found = found || std::regex_search(e, wanted);
    told += "\n  " + e;
  }
  if (!all_ended) return "a rank went on as if nothing had happened:" + told;
  return found ? "" : "no rank said what was expected:" + told;
}

}  // namespace banyan::comm
