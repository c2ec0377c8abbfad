#include "comm/checked_transport.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "src/base/error.hpp"
#include "src/base/rng.hpp"

namespace banyan::comm {
namespace {

constexpr std::uint64_t kMagic = 0x6e6f746520746f20;
constexpr std::uint64_t kPrime1 = 0x9E3779B185EBCA87, kPrime2 = 0xC2B2AE3D27D4EB4F;
constexpr Seconds kFarewell{1.0};  // for the note of a message that has come

std::uint64_t round(std::uint64_t lane, std::uint64_t word) { return std::rotl(lane + word * kPrime2, 31) * kPrime1; }

}  // namespace

std::uint64_t message_checksum(std::span<const std::byte> data) {
  std::uint64_t lanes[4] = {kPrime1 + kPrime2, kPrime2, 0, 0 - kPrime1};
  std::uint64_t words[4];
  std::size_t at = 0;
  for (; at + sizeof words <= data.size(); at += sizeof words) {
    std::memcpy(words, data.data() + at, sizeof words);
    for (int i = 0; i < 4; ++i) lanes[i] = round(lanes[i], words[i]);
  }
  if (at < data.size()) {
    std::memset(words, 0, sizeof words);
    std::memcpy(words, data.data() + at, data.size() - at);
    for (int i = 0; i < 4; ++i) lanes[i] = round(lanes[i], words[i]);
  }
  std::uint64_t sum = data.size();
  for (const std::uint64_t lane : lanes) sum = rng::mix(sum, lane);
  return sum;
}

class CheckedTransport::Pair final : public Request {
 public:
  Pair(const Message& m, bool s) : message(m), sends(s), note(std::make_unique<Note>()) {}
  void done() { finish(); }
  void broken(std::string why) { fail(std::move(why)); }
  void broken(const Request& inner) { fail(inner.error(), inner.peer_lost()); }
  std::span<const std::byte> data() const { return {message.data, message.bytes}; }

  const Message message;
  const bool sends;
  std::unique_ptr<Note> note;
  Request *payload = nullptr, *follower = nullptr;  // the message and its note, until they are given back
};

CheckedTransport::CheckedTransport(Transport& inner) : inner_(inner) {}

CheckedTransport::~CheckedTransport() {
  for (const Late& late : late_) inner_.forget(late.request);
}

CheckedTransport::Pair* CheckedTransport::post(const Message& message, bool sends) {
  if (message.kind != MemoryKind::kHost) throw BugError("a checksum of device memory needs a host copy first");
  auto pair = std::make_unique<Pair>(message, sends);
  if (sends) *pair->note = {kMagic, message.sequence, message.bytes, message_checksum(pair->data())};
  Message payload = message, note = message;
  payload.sequence = 2 * message.sequence;
  note.sequence = payload.sequence + 1;
  note.data = reinterpret_cast<std::byte*>(pair->note.get());
  note.bytes = sizeof(Note);
  const auto call = sends ? &Transport::send : &Transport::receive;
  pair->payload = (inner_.*call)(payload);
  pair->follower = (inner_.*call)(note);
  pending_.push_back(pair.get());
  return pair.release();
}

Request* CheckedTransport::send(const Message& message) { return post(message, true); }
Request* CheckedTransport::receive(const Message& message) { return post(message, false); }

std::string CheckedTransport::disagreement(const Pair& pair) const {
  const Message& m = pair.message;
  const Note& note = *pair.note;
  if (pair.follower->state() == Request::State::kFailed || note.magic != kMagic)
    return fmt::format(
        "what followed message number {} is not its checksum{}{}: a message was doubled, lost or damaged on the way",
        m.sequence, pair.follower->error().empty() ? "" : ", ", pair.follower->error());
  if (note.sequence != m.sequence)
    return fmt::format("message number {} came where number {} was expected", note.sequence, m.sequence);
  if (note.bytes != m.bytes) return fmt::format("{} bytes came where {} were expected", note.bytes, m.bytes);
  const std::uint64_t sum = message_checksum(pair.data());
  if (sum != note.checksum)
    return fmt::format(
        "message number {} of {} bytes was damaged on the way: it was sent with the checksum {:016x} and came with "
        "{:016x}",
        m.sequence, m.bytes, note.checksum, sum);
  return {};
}

void CheckedTransport::settle(Pair& pair) {
  using State = Request::State;
  const State payload = pair.payload->state(), follower = pair.follower->state();
  if (payload == State::kFailed) return pair.broken(*pair.payload);
  if (payload == State::kPending || follower == State::kPending) return;
  // A note that never came because its sender died says nothing of the message.
  if (follower == State::kFailed && (pair.sends || pair.follower->peer_lost())) return pair.broken(*pair.follower);
  if (pair.sends) return pair.done();
  std::string why = disagreement(pair);
  why.empty() ? pair.done() : pair.broken(std::move(why));
}

void CheckedTransport::progress() {
  inner_.progress();
  for (Pair* pair : pending_) settle(*pair);
  std::erase_if(pending_, [](Pair* pair) { return pair->state() != Request::State::kPending; });
  std::erase_if(late_, [&](const Late& late) {
    if (late.request->state() == Request::State::kPending) return false;
    inner_.release(late.request);
    return true;
  });
}

void CheckedTransport::give_back(Pair* pair, void (Transport::*how)(Request*)) {
  std::erase(pending_, pair);
  // The newest first: the other way round a message that comes meanwhile could meet the receive of a note.
  const bool follower_pending = pair->follower->state() == Request::State::kPending;
  if (!pair->sends && follower_pending && pair->payload->state() == Request::State::kFailed) {
    late_.push_back({pair->follower, std::move(pair->note)});  // it is still to come, and meets what is posted for it
  } else {
    (inner_.*how)(pair->follower);
    if (follower_pending) kept_.push_back(std::move(pair->note));
  }
  (inner_.*how)(pair->payload);
  delete pair;
}

void CheckedTransport::release(Request* request) {
  auto* pair = static_cast<Pair*>(request);
  if (!pair->sends && pair->state() == Request::State::kPending) {
    // A message that has come is taken with its note.
    const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(kFarewell);
    progress();
    for (Backoff backoff; pair->state() == Request::State::kPending &&
                          pair->payload->state() != Request::State::kPending && Clock::now() < end;
         backoff.pause())
      progress();
  }
  give_back(pair, &Transport::release);
}

void CheckedTransport::forget(Request* request) { give_back(static_cast<Pair*>(request), &Transport::forget); }

}  // namespace banyan::comm
