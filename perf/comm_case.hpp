// What `bench comm` times: one kind of traffic at one size, with data whose result is known.  Knows nothing of who
// carries it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/view.hpp"

namespace banyan::perf {

enum class Traffic : std::uint8_t {
  kLatency,    ///< ping-pong of ranks 0 and peer; the time is half a round trip
  kBandwidth,  ///< a window of messages from rank 0 to peer, then a short answer; the time is that of one message
  kBarrier,
  kBroadcast,
  kAllReduce,
  kReduceScatter,
  kAllGather,
  kAllToAll,
};
inline constexpr Traffic kAllTraffic[] = {Traffic::kLatency,   Traffic::kBandwidth, Traffic::kBarrier,
                                          Traffic::kBroadcast, Traffic::kAllReduce, Traffic::kReduceScatter,
                                          Traffic::kAllGather, Traffic::kAllToAll};

/// "latency", "all-reduce", ...
std::string_view name_of(Traffic traffic);
std::optional<Traffic> traffic_of(std::string_view name);
inline bool point_to_point(Traffic t) { return t == Traffic::kLatency || t == Traffic::kBandwidth; }

/// One rank's buffers, of fp32.  The root of a broadcast is rank 0, a reduction is a sum.
class Case {
 public:
  /// About `bytes`, rounded up so that every rank has as many elements as every other.  `peer` is the other side of
  /// point-to-point traffic.
  Case(Traffic traffic, std::int64_t bytes, int rank, int ranks, int peer);
  Case(const Case& other);
  Case& operator=(const Case&) = delete;

  Traffic traffic() const { return traffic_; }
  int rank() const { return rank_; }
  int ranks() const { return ranks_; }
  int peer() const { return peer_; }
  /// This rank takes part in point-to-point traffic.
  bool speaks() const { return rank_ == 0 || rank_ == peer_; }
  std::int64_t bytes() const { return static_cast<std::int64_t>(data_.size() * sizeof(float)); }
  /// Elements of one rank's part of data.
  std::int64_t part() const { return static_cast<std::int64_t>(data_.size()) / ranks_; }
  /// Messages of one call of kBandwidth.
  int window() const;

  /// What is sent or, for all-reduce, all-gather and broadcast, worked in (an all-gather finds the own part in place).
  std::vector<float>& data() { return data_; }
  /// What is received otherwise.
  std::vector<float>& room() { return room_; }
  /// The same as views, while the vectors keep their memory: a ping-pong is not to wait for their making.
  const View& data_view() const { return data_view_; }
  const View& room_view() const { return room_view_; }

  /// Inputs that tell ranks and positions apart; results that are none yet.
  void fill();
  /// Elements of this rank's result that are not what they should be after fill() and one call.
  std::int64_t count_wrong() const;
  /// All zero: what is added again and again stays an ordinary number.
  void clear();

  // The columns of nccl-tests (doc/PERFORMANCE.md there).
  std::int64_t elements() const;  ///< "count"
  /// Bus bandwidth over algorithm bandwidth.
  double bus_factor() const;
  /// Bytes that this rank must copy at least where all share memory and data goes through a window: into it, and out of
  /// another rank's part of it, or through a reduction.
  std::int64_t copied_in() const;
  std::int64_t copied_out_of(int rank) const;
  std::int64_t copied() const;  ///< all of it

 private:
  static float value(int rank, std::int64_t i);
  float sum(std::int64_t i) const;

  const Traffic traffic_;
  const int rank_, ranks_, peer_;
  std::vector<float> data_, room_;
  View data_view_, room_view_;
};

}  // namespace banyan::perf
