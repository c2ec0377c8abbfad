#include "perf/comm_subject.hpp"

#include <array>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

#include "src/base/error.hpp"
#include "src/base/units.hpp"

namespace banyan::perf {
namespace {

constexpr int kAnswer = 1;  // the channel of a window's answer

void stream(comm::Communicator& c, Case& k) {
  if (!k.speaks()) return;
  std::vector<Event> window;
  window.reserve(static_cast<std::size_t>(k.window()));
  for (int i = 0; i < k.window(); ++i)
    window.push_back(k.rank() == 0 ? c.send({}, k.data_view(), k.peer(), 0, "a window")
                                   : c.receive({}, k.room_view(), 0, 0, "a window"));
  for (Event& e : window) e.wait();
  float answer = 0;
  const View whole(&answer, {1});
  if (k.rank() == 0)
    c.receive({}, whole, k.peer(), kAnswer, "the answer").wait();
  else
    c.send({}, whole, 0, kAnswer, "the answer").wait();
}

void exchange(comm::Communicator& c, Case& k) {
  if (!k.speaks()) return;
  const int other = k.rank() == 0 ? k.peer() : 0;
  if (k.rank() == 0) {
    c.send({}, k.data_view(), other, 0, "a ping").wait();
    c.receive({}, k.room_view(), other, 0, "a pong").wait();
  } else {
    c.receive({}, k.room_view(), other, 0, "a ping").wait();
    c.send({}, k.data_view(), other, 0, "a pong").wait();
  }
}

}  // namespace

void call_banyan(comm::Communicator& c, Case& k) {
  // Made where it is needed: a ping-pong is not to wait for it.
  const auto parts = [&k] { return std::vector<std::int64_t>(static_cast<std::size_t>(k.ranks()), k.part()); };
  switch (k.traffic()) {
    case Traffic::kLatency:
      return exchange(c, k);
    case Traffic::kBandwidth:
      return stream(c, k);
    case Traffic::kBarrier:
      return c.barrier("bench");
    case Traffic::kBroadcast:
      return c.broadcast({}, k.data_view(), 0, "bench").wait();
    case Traffic::kAllReduce:
      return c.all_reduce({}, k.data_view(), comm::ReduceOp::kSum, "bench").wait();
    case Traffic::kReduceScatter:
      return c.reduce_scatter({}, k.room_view(), k.data_view(), parts(), comm::ReduceOp::kSum, "bench").wait();
    case Traffic::kAllGather: {
      const View own = k.data_view().rows(k.rank() * k.part(), (k.rank() + 1) * k.part());
      return c.all_gather({}, k.data_view(), own, parts(), "bench").wait();
    }
    case Traffic::kAllToAll: {
      const std::vector<std::int64_t> all = parts();
      return c.all_to_all_v({}, k.room_view(), all, k.data_view(), all, "bench").wait();
    }
  }
}

Subject banyan_subject(comm::Communicator& c, const std::string& algorithm) {
  return {algorithm, [&c](Case& k) { call_banyan(c, k); }, [&c] { c.barrier("the start of a measurement"); }};
}

Subject mpi_subject(MpiPeer& peer, const std::string& variant) {
  return {variant, [&peer, variant](Case& k) { peer.call(variant, k); }, [&peer] { peer.barrier(); }};
}

Subject copy_subject(comm::Communicator& c) {
  // Two buffers that stay: a window's pages are touched once, too.
  auto from = std::make_shared<std::vector<char>>(), to = std::make_shared<std::vector<char>>();
  const auto copy = [from, to](Case& k) {
    const auto size = static_cast<std::size_t>(k.bytes());
    if (from->size() != size) {
      from->assign(size, 1);
      to->assign(size, 2);
    }
    for (auto left = static_cast<std::size_t>(k.copied()); left > 0;) {
      const std::size_t n = std::min(left, size);
      std::memcpy(to->data(), from->data(), n);
      asm volatile("" ::"r"(to->data()) : "memory");  // somebody may look at it
      left -= n;
    }
  };
  return {kMemcpy, copy, [&c] { c.barrier("the start of a measurement"); }, false};
}

Subject window_subject(comm::Communicator& c, CopyLimit& limit, bool past_caches) {
  return {past_caches ? kWindowPastCaches : kWindow, [&limit, past_caches](Case& k) { limit.call(k, past_caches); },
          [&c] { c.barrier("the start of a measurement"); }, false};
}

double ucx_limit(Traffic traffic, std::int64_t bytes) {
  const auto script = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "ucx_limit.sh";
  const std::string command =
      "'" + script.string() + "' " + std::string(name_of(traffic)) + " " + std::to_string(bytes) + " 2>/dev/null";
  std::FILE* const pipe = popen(command.c_str(), "r");
  if (!pipe) return -1;
  std::array<char, 64> line{};
  const bool read = std::fgets(line.data(), line.size(), pipe) != nullptr;
  const int status = pclose(pipe);
  std::string text = line.data();
  while (!text.empty() && text.back() == '\n') text.pop_back();
  const auto seconds = read && status == 0 ? parse_real(text) : std::nullopt;
  return seconds && *seconds > 0 ? *seconds : -1;
}

}  // namespace banyan::perf
