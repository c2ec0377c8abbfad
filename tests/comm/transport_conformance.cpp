#include "tests/comm/transport_conformance.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "src/base/rng.hpp"
#include "src/base/section.hpp"
#include "tests/comm/conformance.hpp"

namespace banyan::comm {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::size_t kKiB = 1024, kMiB = kKiB * kKiB;
constexpr Seconds kLongestSleep{20};

Tag channel(int number) { return Tag::channel(3, number); }

std::vector<Outgoing> outgoing(int from, int to, Tag tag, const std::vector<std::size_t>& sizes) {
  std::vector<Outgoing> all;
  for (std::size_t i = 0; i < sizes.size(); ++i) all.emplace_back(sizes[i], message_key(from, to, tag, i));
  return all;
}

std::vector<Incoming> incoming(const std::vector<std::size_t>& sizes) {
  return std::vector<Incoming>(sizes.begin(), sizes.end());
}

// The same messages between every pair of ranks, to oneself too.  `receives_first` of them are awaited when they are
// sent, the others come unexpected.
void all_pairs(Caller& c, Tag tag, const std::vector<std::size_t>& sizes, std::size_t receives_first,
               const std::string& what) {
  std::vector<std::vector<Outgoing>> out;
  std::vector<std::vector<Incoming>> in;
  for (int p = 0; p < c.size(); ++p) {
    out.push_back(outgoing(c.rank(), p, tag, sizes));
    in.push_back(incoming(sizes));
  }
  std::vector<Request*> sends, receives;
  const auto at = [](auto& lists, int p) -> auto& { return lists[static_cast<std::size_t>(p)]; };
  const auto post_receives = [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i)
      for (int p = 0; p < c.size(); ++p) receives.push_back(c.receive(p, tag, at(in, p)[i].data()));
  };
  post_receives(0, receives_first);
  if (receives_first > 0) c.barrier(what);
  for (std::size_t i = 0; i < sizes.size(); ++i)
    for (int p = 0; p < c.size(); ++p) sends.push_back(c.send(p, tag, at(out, p)[i].data()));
  if (receives_first < sizes.size()) c.barrier(what);
  post_receives(receives_first, sizes.size());
  c.wait(receives, what);
  c.wait(sends, what);
  for (int p = 0; p < c.size(); ++p)
    for (std::size_t i = 0; i < sizes.size(); ++i)
      at(in, p)[i].require_holds(message_key(p, c.rank(), tag, i),
                                 fmt::format("{}: message {} of {} bytes from rank {}", what, i, sizes[i], p));
}

void order_within_a_stream(Caller& c) {
  std::vector<std::size_t> sizes;
  for (std::size_t i = 0; i < 120; ++i) sizes.push_back(i % 5 == 4 ? 9000 + i : i % 17);
  all_pairs(c, channel(0), sizes, sizes.size() / 2, "a stream");
}

void tags_do_not_mix(Caller& c) {
  // Neighbours in every bit, both kinds, the least and the greatest.
  std::vector<Tag> tags{Tag{0}, Tag{(1u << 23) - 1}, Tag::collective(3, 5), Tag::channel(3, 5)};
  for (unsigned bit = 0; bit < 23; ++bit) tags.push_back(Tag{1u << bit});
  for (const std::size_t bytes : {std::size_t{40}, 100 * kKiB}) {
    std::vector<Outgoing> out;
    std::vector<Incoming> in;
    std::vector<Request*> sends, receives;
    for (const Tag tag : tags) out.emplace_back(bytes, message_key(c.rank(), c.next(), tag, bytes));
    for (std::size_t i = 0; i < tags.size(); ++i) in.emplace_back(bytes);
    for (std::size_t i = 0; i < tags.size(); ++i) sends.push_back(c.send(c.next(), tags[i], out[i].data()));
    for (std::size_t i = tags.size(); i-- > 0;) receives.push_back(c.receive(c.previous(), tags[i], in[i].data()));
    c.wait(receives, "tags");
    c.wait(sends, "tags");
    for (std::size_t i = 0; i < tags.size(); ++i)
      in[i].require_holds(message_key(c.previous(), c.rank(), tags[i], bytes), fmt::format("tag {:#x}", tags[i].bits));
  }
}

void senders_do_not_mix(Caller& c) {
  std::vector<Outgoing> out;
  std::vector<Incoming> in;
  std::vector<Request*> all;
  for (int p = 0; p < c.size(); ++p) {
    out.emplace_back(64, message_key(c.rank(), p, channel(1), 0));
    in.emplace_back(64);
  }
  for (int p = c.size(); p-- > 0;) all.push_back(c.receive(p, channel(1), in[static_cast<std::size_t>(p)].data()));
  for (int p = 0; p < c.size(); ++p) all.push_back(c.send(p, channel(1), out[static_cast<std::size_t>(p)].data()));
  c.wait(all, "one message from everybody");
  for (int p = 0; p < c.size(); ++p)
    in[static_cast<std::size_t>(p)].require_holds(message_key(p, c.rank(), channel(1), 0),
                                                  fmt::format("from rank {}", p));
}

void zero_length(Caller& c) {
  all_pairs(c, channel(2), {0, 8, 0, 0, 100000, 0}, 3, "messages without bytes");
  // Without memory, too.
  for (int p = 0; p < c.size(); ++p) {
    Request* sent = c.send(p, channel(2), {});
    c.wait(c.receive(p, channel(2), {}), "nothing");
    c.wait(sent, "nothing");
  }
}

void all_sizes(Caller& c) {
  std::vector<std::size_t> sizes{1, 2, 3, 7, 8, 63, 64, 65, 1000};
  for (std::size_t edge : {4 * kKiB, 8 * kKiB, 64 * kKiB, 256 * kKiB})
    for (std::size_t bytes : {edge - 1, edge, edge + 1}) sizes.push_back(bytes);
  all_pairs(c, channel(3), sizes, sizes.size() / 2, "all sizes");
  // Bigger ones to a neighbour only.
  std::vector<std::size_t> big{kMiB, kMiB + 1, 5 * kMiB + 3};
  if (c.size() <= 2) big.push_back(32 * kMiB);
  for (std::size_t bytes : big) {
    Outgoing out(bytes, message_key(c.rank(), c.next(), channel(3), bytes));
    Incoming in(bytes);
    Request* received = c.receive(c.previous(), channel(3), in.data());
    Request* sent = c.send(c.next(), channel(3), out.data());
    c.wait(received, "a big message");
    c.wait(sent, "a big message");
    in.require_holds(message_key(c.previous(), c.rank(), channel(3), bytes), fmt::format("{} bytes", bytes));
  }
}

void unexpected_messages(Caller& c) {
  all_pairs(c, channel(4), {1, 0, 300, 8192, 70000, 400000, 5}, 0, "unexpected messages");
}

void thousands_in_flight(Caller& c) {
  // Two streams to each neighbour, half of it expected, waited for from the last to the first.
  constexpr std::size_t kMessages = 2000;
  std::vector<std::uint64_t> out(2 * kMessages), in(2 * kMessages);
  std::vector<Request*> sends, receives;
  const auto bytes = [](std::uint64_t& value) { return std::as_writable_bytes(std::span(&value, 1)); };
  const auto tag = [](std::size_t i) { return channel(5 + static_cast<int>(i % 2)); };
  const auto post_receives = [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) receives.push_back(c.receive(c.previous(), tag(i), bytes(in[i])));
  };
  post_receives(0, kMessages);
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = message_key(c.rank(), c.next(), tag(i), i);
    sends.push_back(c.send(c.next(), tag(i), bytes(out[i])));
  }
  post_receives(kMessages, 2 * kMessages);
  std::reverse(receives.begin(), receives.end());
  c.wait(receives, "thousands of messages");
  c.wait(sends, "thousands of messages");
  for (std::size_t i = 0; i < in.size(); ++i)
    require(in[i] == message_key(c.previous(), c.rank(), tag(i), i), fmt::format("message {} of thousands", i));
}

void both_directions_at_once(Caller& c) {
  const std::size_t bytes = c.size() <= 4 ? 2 * kMiB + 5 : 300 * kKiB + 5;
  all_pairs(c, channel(7), {bytes, bytes, bytes}, 2, "both directions");
}

void to_oneself(Caller& c) {
  for (std::size_t bytes : {std::size_t{0}, std::size_t{9}, 9 * kKiB, 4 * kMiB})
    for (bool receive_first : {false, true}) {
      Outgoing out(bytes, bytes);
      Incoming in(bytes);
      Request *sent = nullptr, *received = nullptr;
      if (receive_first) received = c.receive(c.rank(), channel(8), in.data());
      sent = c.send(c.rank(), channel(8), out.data());
      for (int i = 0; i < 10; ++i) c.transport().progress();
      if (!receive_first) received = c.receive(c.rank(), channel(8), in.data());
      c.wait(received, "a message to oneself");
      c.wait(sent, "a message to oneself");
      in.require_holds(bytes, "a message to oneself");
    }
}

void pinned_memory(Caller& c) {
  Bytes out(300 * kKiB), in(out.size());
  c.transport().pin(out.data(), out.size());
  c.transport().pin(in.data(), in.size());
  c.transport().pin(out.data(), out.size());  // for somebody else, too
  for (std::uint64_t round = 0; round < 6; ++round) {
    if (round == 3) c.transport().unpin(out.data());
    const std::size_t begin = round * 1000 + round, bytes = round % 2 == 0 ? 200 * kKiB : 50;
    const auto from = std::span(out).subspan(begin, bytes), to = std::span(in).subspan(begin, bytes);
    fill(from, message_key(c.rank(), c.next(), channel(13), round));
    Request* received = c.receive(c.previous(), channel(13), to);
    Request* sent = c.send(c.next(), channel(13), from);
    c.wait(received, "pinned memory");
    c.wait(sent, "pinned memory");
    require(holds(to, message_key(c.previous(), c.rank(), channel(13), round)), "pinned memory: wrong contents");
  }
  c.transport().unpin(in.data());
  c.transport().unpin(out.data());
  // The same memory is as good as any other afterwards.
  fill(out, message_key(c.rank(), c.next(), channel(13), 7));
  Request* received = c.receive(c.previous(), channel(13), in);
  Request* sent = c.send(c.next(), channel(13), out);
  c.wait(received, "memory that was pinned");
  c.wait(sent, "memory that was pinned");
  require(holds(in, message_key(c.previous(), c.rank(), channel(13), 7)), "memory that was pinned: wrong contents");
}

void dozing_sleeps_through_nothing(Caller& c) {
  // Messages go round and round; who waits for one sleeps whenever the transport can.
  for (std::uint64_t round = 0; round < 20; ++round) {
    std::uint64_t out = message_key(c.rank(), c.next(), channel(14), round), in = 0;
    const auto bytes = [](std::uint64_t& value) { return std::as_writable_bytes(std::span(&value, 1)); };
    Request* received = c.receive(c.previous(), channel(14), bytes(in));
    Request* sent = c.send(c.next(), channel(14), bytes(out));
    const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(kLongestSleep);
    while (received->state() == Request::State::kPending && Clock::now() < end) {
      c.transport().progress();
      if (received->state() == Request::State::kPending) c.transport().doze(Seconds{0.05});
    }
    c.wait(received, "a message slept for");
    c.wait(sent, "a message slept for");
    require(in == message_key(c.previous(), c.rank(), channel(14), round), "a message slept for: wrong contents");
  }
}

// All ranks know all messages; each posts its own in an order of its own.
void random_traffic(Caller& c) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    struct Job {
      int peer;
      Tag tag;
      bool sends;
      std::uint64_t number;
      Bytes data;
      Request* request;
    };
    std::vector<Job> jobs;
    for (std::uint64_t n = 0; n < 60 * static_cast<std::uint64_t>(c.size()); ++n) {
      const std::uint64_t dice = rng::mix(seed, n);
      const int from = static_cast<int>(dice % static_cast<unsigned>(c.size()));
      const int to = static_cast<int>(dice / 64 % static_cast<unsigned>(c.size()));
      const Tag tag = channel(20 + static_cast<int>(dice / 4096 % 4));
      const std::size_t bytes = dice / 65536 % (dice >> 62 == 0 ? 60000 : 200);
      const std::uint64_t contents = message_key(from, to, tag, rng::mix(seed, n));
      if (from == c.rank()) {
        jobs.push_back({to, tag, true, contents, Bytes(bytes), nullptr});
        fill(jobs.back().data, contents);
      }
      if (to == c.rank()) jobs.push_back({from, tag, false, contents, Bytes(bytes), nullptr});
    }
    // The order within a stream must stay; any order of the streams will do.
    const auto turn = [&](const Job& j) {
      const auto stream = static_cast<std::uint64_t>(j.peer) << 33 | std::uint64_t{j.tag.bits} << 1 | j.sends;
      return rng::mix(seed + 100 * static_cast<std::uint64_t>(c.rank()), stream) % 5;
    };
    std::stable_sort(jobs.begin(), jobs.end(), [&](const Job& a, const Job& b) { return turn(a) < turn(b); });
    std::vector<Request*> all;
    for (Job& j : jobs) {
      all.push_back(j.sends ? c.send(j.peer, j.tag, j.data) : c.receive(j.peer, j.tag, j.data));
      if (j.number % 7 == 0) c.transport().progress();
    }
    c.wait(all, "random traffic");
    for (const Job& j : jobs)
      require(j.sends || holds(j.data, j.number), fmt::format("random traffic {} from rank {}", seed, j.peer));
  }
}

}  // namespace

void largest_message(Caller& c) {
  constexpr std::size_t kBytes = 256 * kMiB;
  Bytes memory(c.rank() < 2 ? kBytes : 0);
  for (std::uint64_t round = 0; round < 2; ++round) {
    if (c.rank() == 0) {
      fill(memory, round);
      c.wait(c.send(1, channel(31), memory), "256 MiB");
    } else if (c.rank() == 1) {
      c.wait(c.receive(0, channel(31), memory), "256 MiB");
      require(holds(memory, round), "256 MiB: wrong contents");
    }
    c.barrier("256 MiB");
  }
}

const std::vector<TransportCase>& transport_cases() {
  static const std::vector<TransportCase> cases{
      {"OrderWithinAStream", order_within_a_stream},
      {"TagsDoNotMix", tags_do_not_mix},
      {"SendersDoNotMix", senders_do_not_mix},
      {"ZeroLength", zero_length},
      {"AllSizes", all_sizes},
      {"UnexpectedMessages", unexpected_messages},
      {"ThousandsInFlight", thousands_in_flight},
      {"BothDirectionsAtOnce", both_directions_at_once},
      {"ToOneself", to_oneself},
      {"CancelledReceives", cancelled_receives},
      {"CancelledWhileItComes", cancelled_while_it_comes},
      {"WrongLength", wrong_length},
      {"WrongSequence", wrong_sequence, false, true},
      {"PinnedMemory", pinned_memory},
      {"DozingSleepsThroughNothing", dozing_sleeps_through_nothing},
      {"RandomTraffic", random_traffic},
      {"SilenceEndsAWait", silence_ends_a_wait, true},
      {"ASectionEndsAWait", a_section_ends_a_wait, true},
  };
  return cases;
}

}  // namespace banyan::comm
