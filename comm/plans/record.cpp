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
  }
  return h;
}

std::vector<PlanRecord> record_plans(int size) {
  constexpr std::size_t kElement = 4;
  std::vector<PlanRecord> records;
  const auto add = [&](const char* collective, std::int64_t bytes, const Plan& plan) {
    records.push_back({collective, bytes, plan.name, digest(plan)});
  };
  for (const std::int64_t bytes : {std::int64_t{4096}, std::int64_t{65536}, std::int64_t{4} << 20}) {
    const std::int64_t count = bytes / static_cast<std::int64_t>(kElement);
    add("all-reduce", bytes, choose_all_reduce(0, size, count, kElement));
    add("reduce-scatter", bytes, choose_reduce_scatter(0, Parts::even(count, size), kElement));
  }
  return records;
}

}  // namespace banyan::comm
