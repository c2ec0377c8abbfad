#include "perf/comm_case.hpp"

#include <algorithm>

namespace banyan::perf {
namespace {

constexpr std::string_view kNames[] = {"latency",    "bandwidth",      "barrier",    "broadcast",
                                       "all-reduce", "reduce-scatter", "all-gather", "all-to-all"};

std::int64_t elements_of(Traffic traffic, std::int64_t bytes, int ranks) {
  if (traffic == Traffic::kBarrier) return 0;
  const std::int64_t n = std::max<std::int64_t>(1, (bytes + 3) / 4);
  return point_to_point(traffic) || traffic == Traffic::kBroadcast ? n : (n + ranks - 1) / ranks * ranks;
}

}  // namespace

std::string_view name_of(Traffic traffic) { return kNames[static_cast<std::size_t>(traffic)]; }

std::optional<Traffic> traffic_of(std::string_view name) {
  for (Traffic t : kAllTraffic)
    if (name_of(t) == name) return t;
  return std::nullopt;
}

Case::Case(Traffic traffic, std::int64_t bytes, int rank, int ranks, int peer)
    : traffic_(traffic),
      rank_(rank),
      ranks_(ranks),
      peer_(peer),
      data_(static_cast<std::size_t>(elements_of(traffic, bytes, ranks))) {
  if (point_to_point(traffic) || traffic == Traffic::kAllToAll) room_.resize(data_.size());
  if (traffic == Traffic::kReduceScatter) room_.resize(static_cast<std::size_t>(part()));
  const auto view = [](std::vector<float>& v) { return View(v.data(), {static_cast<std::int64_t>(v.size())}); };
  data_view_ = view(data_);
  room_view_ = view(room_);
}

Case::Case(const Case& other) : Case(other.traffic_, other.bytes(), other.rank_, other.ranks_, other.peer_) {
  data_ = other.data_;
  room_ = other.room_;
}

int Case::window() const {
  return static_cast<int>(std::clamp<std::int64_t>((std::int64_t{64} << 20) / bytes(), 4, 32));
}

float Case::value(int rank, std::int64_t i) { return static_cast<float>(1 + (i * 5 + rank * 3) % 11); }

float Case::sum(std::int64_t i) const {
  float s = 0;  // small whole numbers: exact in any order
  for (int r = 0; r < ranks_; ++r) s += value(r, i);
  return s;
}

void Case::fill() {
  std::fill(room_.begin(), room_.end(), -1.0f);
  for (std::size_t k = 0; k < data_.size(); ++k) {
    const auto i = static_cast<std::int64_t>(k);
    const bool mine = traffic_ == Traffic::kBroadcast   ? rank_ == 0
                      : traffic_ == Traffic::kAllGather ? i / part() == rank_
                                                        : true;
    data_[k] = mine ? value(rank_, i) : -1.0f;
  }
}

std::int64_t Case::count_wrong() const {
  std::int64_t wrong = 0;
  const auto check = [&wrong](const std::vector<float>& found, auto expected) {
    for (std::size_t k = 0; k < found.size(); ++k) wrong += found[k] != expected(static_cast<std::int64_t>(k));
  };
  switch (traffic_) {
    case Traffic::kLatency:
      if (speaks()) check(room_, [&](std::int64_t i) { return value(rank_ == 0 ? peer_ : 0, i); });
      break;
    case Traffic::kBandwidth:
      if (rank_ == peer_) check(room_, [](std::int64_t i) { return value(0, i); });
      break;
    case Traffic::kBarrier:
      break;
    case Traffic::kBroadcast:
      check(data_, [](std::int64_t i) { return value(0, i); });
      break;
    case Traffic::kAllReduce:
      check(data_, [&](std::int64_t i) { return sum(i); });
      break;
    case Traffic::kReduceScatter:
      check(room_, [&](std::int64_t i) { return sum(rank_ * part() + i); });
      break;
    case Traffic::kAllGather:
      check(data_, [&](std::int64_t i) { return value(static_cast<int>(i / part()), i); });
      break;
    case Traffic::kAllToAll:
      check(room_, [&](std::int64_t i) { return value(static_cast<int>(i / part()), rank_ * part() + i % part()); });
      break;
  }
  return wrong;
}

void Case::clear() {
  std::fill(data_.begin(), data_.end(), 0.0f);
  std::fill(room_.begin(), room_.end(), 0.0f);
}

std::int64_t Case::elements() const {
  const bool by_part =
      traffic_ == Traffic::kReduceScatter || traffic_ == Traffic::kAllGather || traffic_ == Traffic::kAllToAll;
  return by_part ? part() : static_cast<std::int64_t>(data_.size());
}

double Case::bus_factor() const {
  const double others = static_cast<double>(ranks_ - 1) / ranks_;
  switch (traffic_) {
    case Traffic::kAllReduce:
      return 2 * others;
    case Traffic::kReduceScatter:
    case Traffic::kAllGather:
    case Traffic::kAllToAll:
      return others;
    default:
      return 1;
  }
}

std::int64_t Case::copied_in() const {
  const std::int64_t all = bytes(), one = all / ranks_, others = all - one;
  switch (traffic_) {
    case Traffic::kLatency:
    case Traffic::kBandwidth:
    case Traffic::kBroadcast:
      return rank_ == 0 ? all : 0;
    case Traffic::kBarrier:
      return 0;
    case Traffic::kAllReduce:
      return others + one;  // what the others add up, and what this rank added up
    case Traffic::kReduceScatter:
    case Traffic::kAllToAll:
      return others;
    case Traffic::kAllGather:
      return one;
  }
  return 0;
}

std::int64_t Case::copied_out_of(int rank) const {
  const std::int64_t all = bytes(), one = all / ranks_;
  if (rank == rank_) return 0;
  switch (traffic_) {
    case Traffic::kLatency:
    case Traffic::kBandwidth:
    case Traffic::kBroadcast:
      return rank == 0 ? all : 0;
    case Traffic::kBarrier:
      return 0;
    case Traffic::kAllReduce:
      return one + one;
    case Traffic::kReduceScatter:
    case Traffic::kAllToAll:
    case Traffic::kAllGather:
      return one;
  }
  return 0;
}

std::int64_t Case::copied() const {
  std::int64_t sum = copied_in();
  for (int r = 0; r < ranks_; ++r) sum += copied_out_of(r);
  return sum;
}

}  // namespace banyan::perf
