#include "comm/plans/record.hpp"

#include "comm/plans/choose.hpp"
#include "src/base/rng.hpp"

namespace banyan::comm {

std::uint64_t digest(const Plan& plan) {
  std::uint64_t h = rng::named_key(static_cast<std::uint64_t>(plan.scratch), plan.name);
  const auto add = [&](std::int64_t v) { h = rng::mix(h, static_cast<std::uint64_t>(v)); };
  const auto add_slice = [&](const Slice& s) {
    add(static_cast<std::int64_t>(s.buffer));
    add(s.begin);
    add(s.count);
  };
  for (const Step& step : plan.steps) {
    add(static_cast<std::int64_t>(step.kind));
    add(step.peer);
    add_slice(step.source);
    add_slice(step.target);
    add_slice(step.left);
    for (int peer : step.peers) add(peer);
    for (const Operand& operand : step.operands) {
      add(operand.peer);
      add_slice(operand.slice);
    }
  }
  return h;
}

std::vector<PlanRecord> record_plans(int size) {
  constexpr std::size_t kElement = 4;
  std::vector<PlanRecord> records;
  for (const std::int64_t bytes : {std::int64_t{4096}, std::int64_t{65536}, std::int64_t{4} << 20})
    for (const CollectiveKind kind : {CollectiveKind::kAllReduce, CollectiveKind::kReduceScatter}) {
      const std::int64_t count = bytes / static_cast<std::int64_t>(kElement);
      Call call{.kind = kind, .size = size, .counts = {count}, .element_bytes = kElement};
      if (kind == CollectiveKind::kReduceScatter) {
        const Parts parts = Parts::even(count, size);
        call.counts.clear();
        for (int r = 0; r < size; ++r) call.counts.push_back(parts.count(r));
      }
      const Plan plan = make_plan(choose(call, false), call, {}, 0);
      records.push_back({std::string(name_of(kind)), bytes, plan.name, digest(plan)});
    }
  return records;
}

}  // namespace banyan::comm
