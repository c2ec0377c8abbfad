#include "tests/comm/caller.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <stdexcept>

#include "src/base/rng.hpp"
#include "src/base/section.hpp"
#include "tests/comm/conformance.hpp"

namespace banyan::comm {
namespace {

constexpr Seconds kLongestWait{20};
const Tag kBarrier = Tag::channel(kLeavingGroup, 1022);

std::uint64_t word(std::uint64_t key, std::size_t i) { return (key + i) * 0x9E3779B97F4A7C15u; }

}  // namespace

Request* Caller::send(int peer, Tag tag, std::span<const std::byte> data) {
  return transport_.send({.peer = peer,
                          .tag = tag,
                          .sequence = sent_[{peer, tag.bits}]++,
                          .data = const_cast<std::byte*>(data.data()),
                          .bytes = data.size()});
}

Request* Caller::receive(int peer, Tag tag, std::span<std::byte> data) {
  return transport_.receive(
      {.peer = peer, .tag = tag, .sequence = received_[{peer, tag.bits}]++, .data = data.data(), .bytes = data.size()});
}

void Caller::cancel(Request* receive, int peer, Tag tag) {
  transport_.release(receive);
  --received_[{peer, tag.bits}];
}

void Caller::settle(Request* request, std::string_view what) {
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(kLongestWait);
  for (Backoff backoff; request->state() == Request::State::kPending; backoff.pause()) {
    transport_.progress();
    if (Clock::now() > end) throw std::runtime_error(fmt::format("rank {} waited in vain for {}", rank(), what));
  }
}

void Caller::wait(Request* request, std::string_view what) {
  settle(request, what);
  const bool failed = request->state() == Request::State::kFailed;
  const std::string error = request->error();
  transport_.release(request);
  if (failed) throw std::runtime_error(fmt::format("rank {}: {}: {}", rank(), what, error));
}

void Caller::wait(const std::vector<Request*>& requests, std::string_view what) {
  for (Request* r : requests) wait(r, what);
}

std::string Caller::failure(Request* request, std::string_view what) {
  settle(request, what);
  const bool failed = request->state() == Request::State::kFailed;
  const std::string error = request->error();
  transport_.release(request);
  if (!failed) throw std::runtime_error(fmt::format("rank {}: {} was taken for a good one", rank(), what));
  return error;
}

void Caller::barrier(std::string_view what) {
  std::vector<int> everyone(static_cast<std::size_t>(size()));
  std::iota(everyone.begin(), everyone.end(), 0);
  barrier(everyone, what);
}

void Caller::barrier(const std::vector<int>& ranks, std::string_view what) {
  const auto n = ranks.size();
  const auto me = static_cast<std::size_t>(std::find(ranks.begin(), ranks.end(), rank()) - ranks.begin());
  for (std::size_t distance = 1; distance < n; distance *= 2) {
    Request* received = receive(ranks[(me + n - distance) % n], kBarrier, {});
    Request* sent = send(ranks[(me + distance) % n], kBarrier, {});
    wait(received, what);
    wait(sent, what);
  }
}

void fill(std::span<std::byte> data, std::uint64_t key) {
  std::size_t i = 0;
  for (; i + 8 <= data.size(); i += 8) {
    const std::uint64_t w = word(key, i);
    std::memcpy(data.data() + i, &w, 8);
  }
  const std::uint64_t w = word(key, i);
  if (i < data.size()) std::memcpy(data.data() + i, &w, data.size() - i);
}

bool holds(std::span<const std::byte> data, std::uint64_t key) {
  std::size_t i = 0;
  for (; i + 8 <= data.size(); i += 8) {
    std::uint64_t w = 0;
    std::memcpy(&w, data.data() + i, 8);
    if (w != word(key, i)) return false;
  }
  const std::uint64_t w = word(key, i);
  return i == data.size() || std::memcmp(data.data() + i, &w, data.size() - i) == 0;
}

std::uint64_t message_key(int from, int to, Tag tag, std::uint64_t number) {
  const auto peers = static_cast<std::uint64_t>(from) << 32 | static_cast<std::uint64_t>(to);
  return rng::mix(rng::mix(peers, tag.bits), number);
}

bool Incoming::blank(std::span<const std::byte> part) {
  return std::all_of(part.begin(), part.end(), [](std::byte b) { return b == kUntouched; });
}

void Incoming::require_holds(std::uint64_t key, const std::string& what) {
  require(holds(data(), key), what + ": wrong contents");
  require(guarded(), what + ": bytes beside the buffer were written");
}

}  // namespace banyan::comm
