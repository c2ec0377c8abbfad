#include "tests/comm/conformance.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <stdexcept>

#include "src/base/error.hpp"
#include "src/base/rng.hpp"
#include "tests/comm/test_plans.hpp"

namespace banyan::comm {
namespace {

using Floats = std::vector<float>;

std::int64_t length(const auto& v) { return static_cast<std::int64_t>(v.size()); }
View view(Floats& v) { return View(v.data(), {length(v)}); }
ConstView view(const Floats& v) { return ConstView(v.data(), {length(v)}); }

// Numbers whose sum depends on the order of addition.
Floats numbers(int rank, std::int64_t count, std::uint64_t purpose) {
  Floats v(static_cast<std::size_t>(count));
  const std::uint64_t key = rng::mix(purpose, static_cast<std::uint64_t>(rank));
  for (std::size_t i = 0; i < v.size(); ++i) {
    const auto bits = static_cast<std::int32_t>(((key ^ i) * 0x9E3779B97F4A7C15u) >> 32);
    v[i] = static_cast<float>(bits) * static_cast<float>(1 << i % 20);
  }
  return v;
}

void require_close(const Floats& got, const std::vector<double>& want, const std::vector<double>& scale,
                   const std::string& what) {
  require(got.size() == want.size(), what + ": length");
  for (std::size_t i = 0; i < got.size(); ++i)
    if (!(std::abs(got[i] - want[i]) <= 1e-5 * scale[i]))
      throw std::runtime_error(fmt::format("{}: element {} is {} not {}", what, i, got[i], want[i]));
}

// Double-precision sum over all ranks, and the sum of magnitudes as the scale of rounding.
void reference_sum(int ranks, std::int64_t count, std::uint64_t purpose, std::vector<double>& sum,
                   std::vector<double>& scale) {
  sum.assign(static_cast<std::size_t>(count), 0);
  scale.assign(static_cast<std::size_t>(count), 1e-30);
  for (int r = 0; r < ranks; ++r) {
    const Floats v = numbers(r, count, purpose);
    for (std::size_t i = 0; i < v.size(); ++i) sum[i] += v[i], scale[i] += std::abs(v[i]);
  }
}

void require_same_everywhere(Communicator& c, const Floats& v, const std::string& what) {
  std::uint64_t digest = 0;
  for (float x : v) digest = rng::mix(digest, std::bit_cast<std::uint32_t>(x));
  for (const std::string& other : all_gather_strings(c, std::to_string(digest), what))
    require(other == std::to_string(digest), what + ": ranks differ");
}

const std::vector<std::int64_t> kCounts{0, 1, 2, 7, 1000, 4096, 4097, 50000, 300001};

void all_reduce_sums(World& w) {
  const auto c = everyone(w);
  for (std::int64_t n : kCounts) {
    Floats v = numbers(w.rank(), n, 1), again = v;
    c->all_reduce({}, view(v), ReduceOp::kSum, "numbers").wait();
    std::vector<double> sum, scale;
    reference_sum(w.size(), n, 1, sum, scale);
    require_close(v, sum, scale, fmt::format("all-reduce of {}", n));
    require_same_everywhere(*c, v, "all-reduce");
    c->all_reduce({}, view(again), ReduceOp::kSum, "numbers again").wait();
    require(v.empty() || std::memcmp(v.data(), again.data(), v.size() * sizeof(float)) == 0,
            "all-reduce twice: bits differ");
  }
}

void all_reduce_other_operations(World& w) {
  const auto c = everyone(w);
  std::vector<std::int64_t> v{w.rank(), -w.rank(), 5};
  c->all_reduce({}, View(v.data(), {3}), ReduceOp::kMax, "largest").wait();
  require(v == std::vector<std::int64_t>{w.size() - 1, 0, 5}, "max");
  std::vector<double> d{1.0 + w.rank(), -1.0 * w.rank()};
  c->all_reduce({}, View(d.data(), {2}), ReduceOp::kMin, "smallest").wait();
  require(d[0] == 1.0 && d[1] == -1.0 * (w.size() - 1), "min");
}

// Uneven counts with zeros among them.
std::vector<std::int64_t> uneven(int ranks, std::int64_t scale) {
  std::vector<std::int64_t> counts;
  for (int i = 0; i < ranks; ++i) counts.push_back(i % 3 == 1 ? 0 : scale * (i + 1) + i);
  return counts;
}

void scatter_and_gather(World& w) {
  const auto c = everyone(w);
  for (std::int64_t scale : {0, 1, 900, 6000})
    for (bool aliased : {false, true}) {
      const auto counts = uneven(w.size(), scale);
      const std::int64_t total = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
      const std::int64_t begin = std::accumulate(counts.begin(), counts.begin() + w.rank(), std::int64_t{0});
      const std::int64_t own = counts[static_cast<std::size_t>(w.rank())];
      Floats in = numbers(w.rank(), total, 2), apart(static_cast<std::size_t>(own));
      const View out = aliased ? view(in).rows(begin, begin + own) : view(apart);
      c->reduce_scatter({}, out, view(in), counts, ReduceOp::kSum, "parts").wait();
      std::vector<double> sum, magnitude;
      reference_sum(w.size(), total, 2, sum, magnitude);
      const Floats got(out.as<float>(), out.as<float>() + own);
      require_close(got, {sum.begin() + begin, sum.begin() + begin + own},
                    {magnitude.begin() + begin, magnitude.begin() + begin + own},
                    fmt::format("reduce-scatter, scale {}, aliased {}", scale, aliased));

      Floats all(static_cast<std::size_t>(total), -1.0f);
      ConstView mine = view(got);
      if (aliased) {
        std::copy(got.begin(), got.end(), all.begin() + begin);
        mine = view(all).rows(begin, begin + own);
      }
      c->all_gather({}, view(all), mine, counts, "whole").wait();
      require_close(all, sum, magnitude, "all-gather");
      require_same_everywhere(*c, all, "all-gather");
    }
}

void broadcast_from_every_root(World& w) {
  const auto c = everyone(w);
  for (int root = 0; root < w.size(); ++root)
    for (std::int64_t n : {0, 1, 300000}) {
      const Floats want = numbers(root, n, 3);
      Floats v = w.rank() == root ? want : Floats(want.size(), 0.0f);
      c->broadcast({}, view(v), root, "root's numbers").wait();
      require(v == want, "broadcast");
    }
}

void all_to_all_uneven(World& w) {
  const auto c = everyone(w);
  const auto between = [](int from, int to) { return std::int64_t{(from * 7 + to * 3) % 5 * 1000 + (from == to)}; };
  for (int repeat = 0; repeat < 3; ++repeat) {
    std::vector<std::int64_t> in_counts, out_counts;
    std::vector<std::int32_t> in, want;
    for (int p = 0; p < w.size(); ++p) {
      in_counts.push_back(between(w.rank(), p));
      out_counts.push_back(between(p, w.rank()));
      for (std::int64_t i = 0; i < in_counts.back(); ++i)
        in.push_back(static_cast<std::int32_t>(w.rank() * 1000003 + p * 10007 + i));
      for (std::int64_t i = 0; i < out_counts.back(); ++i)
        want.push_back(static_cast<std::int32_t>(p * 1000003 + w.rank() * 10007 + i));
    }
    std::vector<std::int32_t> out(want.size());
    c->all_to_all_v({}, View(out.data(), {length(out)}), out_counts, ConstView(in.data(), {length(in)}), in_counts,
                    "tokens")
        .wait();
    require(out == want, "all-to-all");
  }
}

void messages_keep_their_order(World& w) {
  const auto c = everyone(w);
  const int next = (w.rank() + 1) % w.size(), previous = (w.rank() + w.size() - 1) % w.size();
  constexpr int kMessages = 40;
  // Two channels, all posted before any is taken, the second channel's receives first; self-send when alone.
  std::vector<std::vector<int>> sent, got;
  std::vector<Event> events;
  for (int channel : {0, kMaxChannel})
    for (int i = 0; i < kMessages; ++i) {
      sent.push_back(std::vector<int>(static_cast<std::size_t>(i * 37), w.rank() * 100000 + channel * 100 + i));
      got.emplace_back(static_cast<std::size_t>(i * 37), -1);
    }
  std::size_t at = 0;
  for (int channel : {0, kMaxChannel})
    for (int i = 0; i < kMessages; ++i, ++at)
      events.push_back(c->send({}, ConstView(sent[at].data(), {length(sent[at])}), next, channel, "in order"));
  for (int channel : {kMaxChannel, 0})
    for (int i = 0; i < kMessages; ++i) {
      auto& v = got[static_cast<std::size_t>((channel ? kMessages : 0) + i)];
      events.push_back(c->receive({}, View(v.data(), {length(v)}), previous, channel, "in order"));
    }
  for (Event& e : events) e.wait();
  at = 0;
  for (int channel : {0, kMaxChannel})
    for (int i = 0; i < kMessages; ++i, ++at)
      for (int x : got[at]) require(x == previous * 100000 + channel * 100 + i, "message out of order");
}

void messages_of_all_sizes_both_ways(World& w) {
  const auto c = everyone(w);
  for (std::int64_t bytes : {0, 1, 3, 4095, 4096, 4097, 65536, 1 << 20, (3 << 20) + 1}) {
    std::vector<std::vector<std::byte>> out, in;
    std::vector<Event> events;
    for (int p = 0; p < w.size(); ++p) {
      if (bytes > 65536 && std::abs(p - w.rank()) > 1) continue;
      out.emplace_back(static_cast<std::size_t>(bytes), static_cast<std::byte>(w.rank() * 16 + p));
      in.emplace_back(static_cast<std::size_t>(bytes), std::byte{0xee});
      events.push_back(c->receive({}, View(in.back().data(), DType::kU8, {bytes}), p, 3, "any size"));
      events.push_back(c->send({}, ConstView(out.back().data(), DType::kU8, {bytes}), p, 3, "any size"));
    }
    for (Event& e : events) e.wait();
    std::size_t i = 0;
    for (int p = 0; p < w.size(); ++p) {
      if (bytes > 65536 && std::abs(p - w.rank()) > 1) continue;
      for (std::byte b : in[i]) require(b == static_cast<std::byte>(p * 16 + w.rank()), "message damaged");
      ++i;
    }
  }
}

// Late receives: messages arrive before anybody asks for them.
void unexpected_messages(World& w) {
  const auto c = everyone(w);
  std::vector<int> out(static_cast<std::size_t>(w.size())), in(out.size(), -1);
  std::vector<Event> sends;
  for (int p = 0; p < w.size(); ++p) {
    out[static_cast<std::size_t>(p)] = w.rank() * 100 + p;
    sends.push_back(c->send({}, ConstView(&out[static_cast<std::size_t>(p)], {1}), p, 9, "early"));
  }
  c->barrier("all sent");
  for (int p = w.size() - 1; p >= 0; --p) {
    c->receive({}, View(&in[static_cast<std::size_t>(p)], {1}), p, 9, "early").wait();
    require(in[static_cast<std::size_t>(p)] == p * 100 + w.rank(), "early message");
  }
  for (Event& e : sends) e.wait();
}

// Operations outstanding on several communicators; ranks wait for them in different orders.  Only an engine that
// advances everything while it waits for one gets through.
void communicators_at_the_same_time(World& w) {
  const auto world = everyone(w, 0), twin = everyone(w, 1);
  std::vector<int> pair;
  for (int r = w.rank() / 2 * 2; r < std::min(w.size(), w.rank() / 2 * 2 + 2); ++r) pair.push_back(r);
  const auto tensor = w.group(pair, 2, "pair");
  for (int repeat = 0; repeat < 10; ++repeat) {
    Floats a = numbers(w.rank(), 30000, 4), b = numbers(w.rank(), 50000, 5), p = numbers(w.rank(), 20000, 6);
    Floats token(100000, static_cast<float>(w.rank())), taken(100000);
    const int next = (w.rank() + 1) % w.size(), previous = (w.rank() + w.size() - 1) % w.size();
    Event ea = world->all_reduce({}, view(a), ReduceOp::kSum, "a");
    Event es = world->send({}, view(token), next, 0, "token");
    Event eb = twin->all_reduce({}, view(b), ReduceOp::kSum, "b");
    Event ep = tensor->all_reduce({}, view(p), ReduceOp::kSum, "p");
    Event er = world->receive({}, view(taken), previous, 0, "token");
    if (w.rank() % 2) {
      ea.wait(), er.wait(), ep.wait(), eb.wait(), es.wait();
    } else {
      ep.wait(), eb.wait(), es.wait(), ea.wait(), er.wait();
    }
    require(taken == Floats(100000, static_cast<float>(previous)), "token");
    std::vector<double> sum, scale;
    reference_sum(w.size(), 50000, 5, sum, scale);
    require_close(b, sum, scale, "b");
    reference_sum(w.size(), 30000, 4, sum, scale);
    require_close(a, sum, scale, "a");
  }
}

// A gradient reduction in the background advances while the foreground only calls progress or other collectives.
void work_in_the_background(World& w) {
  const auto data = everyone(w, 5), tensor = everyone(w, 6);
  std::vector<Floats> buckets;
  std::vector<Event> events;
  const std::vector<std::int64_t> counts(static_cast<std::size_t>(w.size()), 9001);
  for (int i = 0; i < 6; ++i) {
    buckets.push_back(numbers(w.rank(), 9001 * w.size(), 10 + static_cast<std::uint64_t>(i)));
    const View own = view(buckets.back()).rows(9001 * w.rank(), 9001 * (w.rank() + 1));
    events.push_back(data->reduce_scatter({}, own, view(buckets.back()), counts, ReduceOp::kSum, "bucket"));
    float x = 1;
    tensor->all_reduce({}, View(&x, {1}), ReduceOp::kSum, "activation").wait();
    require(x == static_cast<float>(w.size()), "foreground all-reduce");
    data->progress();
  }
  for (auto e = events.rbegin(); e != events.rend(); ++e) e->wait();
  std::vector<double> sum, scale;
  reference_sum(w.size(), 9001 * w.size(), 13, sum, scale);
  const auto begin = 9001 * w.rank();
  require_close({buckets[3].begin() + begin, buckets[3].begin() + begin + 9001},
                {sum.begin() + begin, sum.begin() + begin + 9001},
                {scale.begin() + begin, scale.begin() + begin + 9001}, "bucket");
}

// More collectives in flight than tags would tell apart without care, and events nobody keeps.
void more_collectives_than_tags(World& w) {
  const auto c = everyone(w, 7);
  constexpr int kOperations = 2500;
  std::vector<std::int64_t> values(kOperations);
  std::vector<Event> events;
  for (int i = 0; i < kOperations; ++i) {
    values[static_cast<std::size_t>(i)] = i + w.rank();
    Event e = c->all_reduce({}, View(&values[static_cast<std::size_t>(i)], {1}), ReduceOp::kMax, "many");
    if (i % 2) events.push_back(e);
  }
  for (Event& e : events) e.wait();
  c->barrier("all over");
  for (int i = 1; i < kOperations; i += 2)
    require(values[static_cast<std::size_t>(i)] == i + w.size() - 1, "one of many");
}

void values_and_strings(World& w) {
  const auto c = everyone(w);
  require(all_reduce_value(*c, std::int64_t{w.rank() + 1}, ReduceOp::kSum, "count") == w.size() * (w.size() + 1) / 2,
          "sum");
  require(all_reduce_value(*c, std::int64_t{w.rank()}, ReduceOp::kMax, "count") == w.size() - 1, "max");
  require(all_reduce_value(*c, 0.5 + w.rank(), ReduceOp::kMin, "time") == 0.5, "min");
  const auto spell = [](int r) {
    return std::string(static_cast<std::size_t>(r * 1000), static_cast<char>('a' + r)) + '\0' + "end";
  };
  const auto all = all_gather_strings(*c, w.rank() % 2 ? "" : spell(w.rank()), "words");
  for (int r = 0; r < w.size(); ++r) require(all[static_cast<std::size_t>(r)] == (r % 2 ? "" : spell(r)), "string");
  const int root = w.size() / 2;
  require(broadcast_string(*c, w.rank() == root ? spell(root) : "ignored", root, "word") == spell(root),
          "broadcast string");
}

void subgroups_in_any_order(World& w) {
  std::vector<int> backwards(static_cast<std::size_t>(w.size()));
  std::iota(backwards.rbegin(), backwards.rend(), 0);
  const auto c = w.group(backwards, kMaxGroupId, "backwards");
  require(c->rank() == w.size() - 1 - w.rank() && c->size() == w.size(), "numbering");
  require(c->peer_name(0) == fmt::format("rank {} on {}", w.size() - 1, w.host(w.size() - 1)), "peer name");
  const auto names = all_gather_strings(*c, std::to_string(w.rank()), "names");
  for (int i = 0; i < c->size(); ++i)
    require(names[static_cast<std::size_t>(i)] == std::to_string(w.size() - 1 - i), "order");
  const auto alone = w.group({w.rank()}, 20, "alone");
  Floats v{1, 2, 3}, out(3);
  alone->all_reduce({}, view(v), ReduceOp::kSum, "mine").wait();
  const std::vector<std::int64_t> three{3};
  alone->reduce_scatter({}, view(out), view(v), three, ReduceOp::kSum, "mine").wait();
  require(v == Floats{1, 2, 3} && out == v, "group of one");
  alone->barrier("nobody else");
}

}  // namespace

void require(bool holds, std::string_view what) {
  if (!holds) throw std::runtime_error(std::string(what));
}

void reduce_on_host(Queue, View out, ConstView x, ConstView y, ReduceOp op) {
  const auto run = [&]<class T>(T) {
    T* to = out.as<T>();
    const T *a = x.as<T>(), *b = y.as<T>();
    for (std::int64_t i = 0; i < out.count(); ++i)
      to[i] = op == ReduceOp::kSum ? a[i] + b[i] : op == ReduceOp::kMax ? std::max(a[i], b[i]) : std::min(a[i], b[i]);
  };
  switch (out.dtype) {
    case DType::kF32:
      return run(float{});
    case DType::kF64:
      return run(double{});
    case DType::kI32:
      return run(std::int32_t{});
    case DType::kI64:
      return run(std::int64_t{});
    default:
      throw std::runtime_error("no such reduction");
  }
}

WorldOptions options_for_test() {
  const char* transport = std::getenv("BANYAN_TEST_TRANSPORT");
  return {.host_transport = transport ? transport : "auto",
          .shared_memory = !std::getenv("BANYAN_TEST_MESSAGES_ONLY"),
          .background = std::getenv("BANYAN_TEST_BACKGROUND") != nullptr};
}

void configure_for_test(World& world, Seconds timeout, bool checksum, bool shared_memory, bool background) {
  WorldOptions options = options_for_test();
  options.peer_timeout = timeout;
  options.checksum = checksum;
  options.shared_memory = options.shared_memory && shared_memory;
  options.background = options.background || background;
  world.configure(options, reduce_on_host, nullptr);
}

std::unique_ptr<Communicator> everyone(World& world, int id) {
  std::vector<int> all(static_cast<std::size_t>(world.size()));
  std::iota(all.begin(), all.end(), 0);
  auto group = world.group(all, id, "world");
  if (const char* algorithm = std::getenv("BANYAN_TEST_ALGORITHM")) group->use_plans(plans_for_test(world, algorithm));
  return group;
}

const std::vector<ConformanceCase>& conformance_cases() {
  static const std::vector<ConformanceCase> cases{
      {"AllReduceSums", all_reduce_sums},
      {"AllReduceOtherOperations", all_reduce_other_operations},
      {"ScatterAndGather", scatter_and_gather},
      {"BroadcastFromEveryRoot", broadcast_from_every_root},
      {"AllToAllUneven", all_to_all_uneven},
      {"MessagesKeepTheirOrder", messages_keep_their_order},
      {"MessagesOfAllSizesBothWays", messages_of_all_sizes_both_ways},
      {"UnexpectedMessages", unexpected_messages},
      {"CommunicatorsAtTheSameTime", communicators_at_the_same_time},
      {"WorkInTheBackground", work_in_the_background},
      {"MoreCollectivesThanTags", more_collectives_than_tags},
      {"ValuesAndStrings", values_and_strings},
      {"SubgroupsInAnyOrder", subgroups_in_any_order},
  };
  return cases;
}

}  // namespace banyan::comm
