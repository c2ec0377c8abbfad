// One rank as the layers above a Transport see it, for tests: numbers the messages of each stream, waits with a
// deadline, knows what every message must hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "comm/transport.hpp"

namespace banyan::comm {

class Caller {
 public:
  /// `stops_long_messages` is false where the library below writes a message that is too long beyond the end of its
  /// buffer, or cuts it off without a word.
  explicit Caller(Transport& transport, bool stops_long_messages = true)
      : transport_(transport), stops_long_messages_(stops_long_messages) {}
  bool stops_long_messages() const { return stops_long_messages_; }
  Transport& transport() { return transport_; }
  int rank() const { return transport_.rank(); }
  int size() const { return transport_.size(); }
  int next() const { return (rank() + 1) % size(); }
  int previous() const { return (rank() + size() - 1) % size(); }

  /// Posts the next message of a stream.
  Request* send(int peer, Tag tag, std::span<const std::byte> data);
  Request* receive(int peer, Tag tag, std::span<std::byte> data);
  /// Cancels the newest receive of a stream; the next one gets its number.
  void cancel(Request* receive, int peer, Tag tag);
  /// Leaves out numbers of a stream: sends that never were, receives whose message came nevertheless.
  void skip_sends(int peer, Tag tag, std::uint32_t count) { sent_[{peer, tag.bits}] += count; }
  void skip_receives(int peer, Tag tag, std::uint32_t count) { received_[{peer, tag.bits}] += count; }

  /// Until the request is complete; releases it.  Throws when it failed, and when 20 s have passed.
  void wait(Request* request, std::string_view what);
  void wait(const std::vector<Request*>& requests, std::string_view what);
  /// Until the request has failed; releases it and gives its error.  Throws when it succeeded.
  std::string failure(Request* request, std::string_view what);
  /// The given ranks (all) meet, by dissemination; what is under way goes on.
  void barrier(std::string_view what);
  void barrier(const std::vector<int>& ranks, std::string_view what);

 private:
  using Stream = std::pair<int, std::uint32_t>;
  void settle(Request* request, std::string_view what);
  Transport& transport_;
  const bool stops_long_messages_;
  std::map<Stream, std::uint32_t> sent_, received_;
};

/// A message's contents: a function of the key and the position.
void fill(std::span<std::byte> data, std::uint64_t key);
bool holds(std::span<const std::byte> data, std::uint64_t key);
/// The key of the number-th message from a rank to another.
std::uint64_t message_key(int from, int to, Tag tag, std::uint64_t number);

/// A message of known contents, at an odd address.
class Outgoing {
 public:
  Outgoing(std::size_t bytes, std::uint64_t key) : memory_(bytes + 1) { fill(std::span(memory_).subspan(1), key); }
  std::span<const std::byte> data() const { return std::span(memory_).subspan(1); }

 private:
  std::vector<std::byte> memory_;
};

/// Where a message is expected, at an odd address between bytes that nobody may touch.
class Incoming {
 public:
  explicit Incoming(std::size_t bytes) : memory_(bytes + 2 * kGuard, kUntouched) {}
  std::span<std::byte> data() { return std::span(memory_).subspan(kGuard, memory_.size() - 2 * kGuard); }
  /// Nothing was written at all.
  bool blank() const { return blank(memory_); }
  /// Nothing was written beside the buffer.
  bool guarded() const { return blank(std::span(memory_).first(kGuard)) && blank(std::span(memory_).last(kGuard)); }
  /// Throws unless the message is here and nothing beside it.
  void require_holds(std::uint64_t key, const std::string& what);

 private:
  static constexpr std::size_t kGuard = 33;
  static constexpr std::byte kUntouched{0xA5};
  static bool blank(std::span<const std::byte> part);
  std::vector<std::byte> memory_;
};

}  // namespace banyan::comm
