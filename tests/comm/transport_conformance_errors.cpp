// Cases about messages that do not come, or not as they should.
#include <fmt/format.h>

#include <array>
#include <memory>
#include <optional>

#include "comm/engine.hpp"
#include "comm/interpreter.hpp"
#include "src/base/error.hpp"
#include "tests/comm/conformance.hpp"
#include "tests/comm/transport_conformance.hpp"

namespace banyan::comm {
namespace {

constexpr std::size_t kKiB = 1024;

Tag channel(int number) { return Tag::channel(3, number); }

class NobodyFails final : public Lifeline {
 public:
  void poll() override {}
  const std::optional<PeerFailure>& announced() const override { return nothing_; }
  void announce(const PeerFailure&) override {}
  bool meet(Seconds) override { return false; }
  void leave() override {}

 private:
  const std::optional<PeerFailure> nothing_;
};

// Rank r waits for a message that is never sent; `wait` ends with a CommError that names the sender and the message.
void in_vain(Caller& c, Seconds silence, Seconds section_limit) {
  c.barrier("before waiting in vain");
  static std::array<std::array<std::byte, 1000>, 64> buffers;  // outlive the transport: nobody cancels after a failure
  NobodyFails lifeline;
  std::vector<std::string> names;
  for (int r = 0; r < c.size(); ++r) names.push_back("rank " + std::to_string(r));
  Engine engine(c.transport(), lifeline, names);
  const int peer = (c.rank() + 1) % c.size();
  std::string why = "nothing";
  try {
    const Section section("a case", section_limit);
    const auto operation = std::make_shared<MessageOperation>(
        engine,
        std::vector<Request*>{c.transport().receive({.peer = peer,
                                                     .tag = channel(30),
                                                     .data = buffers.at(static_cast<std::size_t>(c.rank())).data(),
                                                     .bytes = 1000})},
        peer, Label{"receive of", "what nobody sends", std::make_shared<const std::string>("a case")}, silence);
    engine.start(operation);
    operation->wait();
  } catch (const CommError& e) {
    why = e.what();
  }
  require(why.find(names[static_cast<std::size_t>(peer)]) != why.npos &&
              why.find("receive of what nobody sends") != why.npos,
          "waiting in vain ended with: " + why);
}

}  // namespace

void cancelled_receives(Caller& c) {
  for (const std::size_t bytes : {std::size_t{16}, 200 * kKiB}) {
    // Three are wanted, two taken back, the newest first; what is sent afterwards meets the one that is left and those
    // posted later.
    Incoming kept(bytes), later(bytes);
    auto gone = std::make_unique<Incoming>(bytes), gone_too = std::make_unique<Incoming>(bytes);
    Request* first = c.receive(c.previous(), channel(9), kept.data());
    Request* second = c.receive(c.previous(), channel(9), gone->data());
    Request* third = c.receive(c.previous(), channel(9), gone_too->data());
    for (int i = 0; i < 10; ++i) c.transport().progress();
    c.cancel(third, c.previous(), channel(9));
    c.cancel(second, c.previous(), channel(9));
    require(gone->blank() && gone_too->blank(), "a cancelled receive was written");
    gone.reset();  // a sanitizer sees later writes
    gone_too.reset();
    c.barrier("receives are cancelled");

    Outgoing a(bytes, message_key(c.rank(), c.next(), channel(9), 1)),
        b(bytes, message_key(c.rank(), c.next(), channel(9), 2));
    std::vector<Request*> sends{c.send(c.next(), channel(9), a.data()), c.send(c.next(), channel(9), b.data())};
    c.wait(first, "the receive that was kept");
    c.wait(c.receive(c.previous(), channel(9), later.data()), "a receive after cancelled ones");
    c.wait(sends, "messages after cancelled receives");
    kept.require_holds(message_key(c.previous(), c.rank(), channel(9), 1), "the receive that was kept");
    later.require_holds(message_key(c.previous(), c.rank(), channel(9), 2), "a receive after cancelled ones");
  }
}

void cancelled_while_it_comes(Caller& c) {
  // The message is either taken whole before release ends, or it is still there for the next receive.
  for (int round = 0; round < 40; ++round) {
    const std::size_t bytes = round % 2 == 0 ? 64 : 100 * kKiB;
    const auto number = static_cast<std::uint64_t>(round);
    Outgoing out(bytes, message_key(c.rank(), c.next(), channel(10), number));
    auto in = std::make_unique<Incoming>(bytes);
    Request* received = c.receive(c.previous(), channel(10), in->data());
    if (round % 4 < 2) c.barrier("a receive is posted");
    Request* sent = c.send(c.next(), channel(10), out.data());
    for (int i = 0; i < round % 8; ++i) c.transport().progress();
    c.cancel(received, c.previous(), channel(10));
    if (in->blank()) {
      in = std::make_unique<Incoming>(bytes);
      c.wait(c.receive(c.previous(), channel(10), in->data()), "a message whose first receive was cancelled");
    } else {
      c.skip_receives(c.previous(), channel(10), 1);
    }
    in->require_holds(message_key(c.previous(), c.rank(), channel(10), number),
                      "a message that crossed a cancellation");
    c.wait(sent, "a message that crossed a cancellation");
  }
}

void wrong_length(Caller& c) {
  const std::pair<std::size_t, std::size_t> lengths[] = {
      {40, 36}, {36, 40}, {0, 1}, {1, 0}, {400000, 399999}, {399999, 400000}, {20, 500000}, {500000, 20}};
  for (const auto& [sent_bytes, received_bytes] : lengths) {
    const bool too_long = sent_bytes > received_bytes;
    if (too_long && !c.stops_long_messages() && (c.size() == 1 || sent_bytes > 1000)) continue;
    for (bool expected : {true, false}) {
      Outgoing out(sent_bytes, 1);
      auto in = std::make_unique<Incoming>(received_bytes);
      Request* received = expected ? c.receive(c.previous(), channel(11), in->data()) : nullptr;
      c.barrier("a message of the wrong length");
      Request* sent = c.send(c.next(), channel(11), out.data());
      c.barrier("a message of the wrong length");
      if (!received) received = c.receive(c.previous(), channel(11), in->data());
      const std::string what = fmt::format("a message of {} bytes where {} were {}", sent_bytes, received_bytes,
                                           expected ? "expected" : "wanted later");
      const std::string why = c.failure(received, what);
      require(why.find("bytes came") != std::string::npos && why.find(std::to_string(received_bytes)) != why.npos,
              "the error tells no lengths: " + why);
      require(in->guarded(), what + ": bytes beside the buffer were written");
      c.wait(sent, "a message of the wrong length");
      // The stream goes on.
      Outgoing after(50, 2);
      Incoming ok(50);
      sent = c.send(c.next(), channel(11), after.data());
      c.wait(c.receive(c.previous(), channel(11), ok.data()), "a message after one of the wrong length");
      c.wait(sent, "a message after one of the wrong length");
      ok.require_holds(2, "a message after one of the wrong length");
    }
  }
}

void wrong_sequence(Caller& c) {
  for (const std::size_t bytes : {std::size_t{8}, 200 * kKiB})
    for (bool expected : {true, false}) {
      Outgoing out(bytes, 1);
      Incoming in(bytes);
      Request* received = expected ? c.receive(c.previous(), channel(12), in.data()) : nullptr;
      c.barrier("a message with a wrong number");
      c.skip_sends(c.next(), channel(12), 1);  // as if one had been lost
      Request* sent = c.send(c.next(), channel(12), out.data());
      c.barrier("a message with a wrong number");
      if (!received) received = c.receive(c.previous(), channel(12), in.data());
      const std::string why = c.failure(received, "a message with a wrong number");
      require(why.find("number") != std::string::npos, "the error tells no numbers: " + why);
      c.wait(sent, "a message with a wrong number");
      c.skip_receives(c.previous(), channel(12), 1);
    }
}

void silence_ends_a_wait(Caller& c) { in_vain(c, Seconds{0.2}, Seconds{0}); }
void a_section_ends_a_wait(Caller& c) { in_vain(c, Seconds{60}, Seconds{0.2}); }

void peer_death(Caller& c, const std::function<void()>& die) {
  const int victim = c.size() - 1;
  std::vector<int> survivors;
  for (int r = 0; r < victim; ++r) survivors.push_back(r);
  c.barrier("all are alive");
  if (c.rank() == victim) {
    std::vector<Request*> last_words;
    const Outgoing words(5000, 1);
    for (int r : survivors) last_words.push_back(c.send(r, channel(32), words.data()));
    c.wait(last_words, "last words");
    die();
  }
  Incoming words(5000), never(5000), early(64);
  const Outgoing unheard(1024 * kKiB, 2);
  Request* expected_early = c.receive(victim, channel(33), early.data());
  c.wait(c.receive(victim, channel(32), words.data()), "last words");
  words.require_holds(1, "last words");
  Request* expected = c.receive(victim, channel(32), never.data());
  Request* sent = c.send(victim, channel(32), unheard.data());
  const auto end = Clock::now() + std::chrono::milliseconds(500);
  for (std::uint64_t round = 0;; ++round) {
    const std::size_t n = survivors.size(), me = static_cast<std::size_t>(c.rank());
    const int to = survivors[(me + 1) % n], from = survivors[(me + n - 1) % n];
    const Outgoing out(20 * kKiB, message_key(c.rank(), to, channel(34), round));
    Incoming in(20 * kKiB);
    Request* received = c.receive(from, channel(34), in.data());
    Request* gone = c.send(to, channel(34), out.data());
    c.wait(received, "a survivor");
    c.wait(gone, "a survivor");
    in.require_holds(message_key(from, c.rank(), channel(34), round), "a survivor's message");
    // All leave the loop in the same round.
    std::byte more{Clock::now() < end || round < 20};
    if (me == 0) {
      for (std::size_t r = 1; r < n; ++r) c.wait(c.send(survivors[r], channel(35), {&more, 1}), "whether to go on");
    } else {
      c.wait(c.receive(0, channel(35), {&more, 1}), "whether to go on");
    }
    if (more == std::byte{0}) break;
  }
  for (Request* r : {expected_early, expected, sent})
    require(r->state() != Request::State::kDone, "a message of a dead rank was taken for complete");
  require(never.blank() && early.blank(), "a dead rank wrote");
  for (Request* r : {expected_early, expected, sent}) c.transport().forget(r);
}

}  // namespace banyan::comm
