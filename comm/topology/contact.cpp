#include "comm/topology/contact.hpp"

#include <algorithm>
#include <array>
#include <memory>

#include "comm/measured.hpp"

namespace banyan::comm {
namespace {

constexpr std::int64_t kLong = 1 << 20, kShort = 1;
constexpr int kShortRounds = 24, kLongRounds = 2;
constexpr const char* kWhat = "probing the network";

class Meter {
 public:
  Meter(Communicator& everyone, const std::vector<int>& speakers)
      : c_(everyone), speakers_(speakers), memory_(static_cast<std::size_t>(kLong)) {}

  std::vector<Contact> operator()(const Round& round) {
    const auto mine = std::find_if(round.begin(), round.end(), [&](const auto& pair) {
      return speaker(pair.first) == c_.rank() || speaker(pair.second) == c_.rank();
    });
    const bool busy = mine != round.end();
    const bool leads = busy && speaker(mine->first) == c_.rank();
    const int peer = busy ? speaker(leads ? mine->second : mine->first) : -1;
    Contact contact;
    if (busy) contact.latency = ping(peer, leads);
    c_.barrier(kWhat);
    if (busy) {
      contact.forth = stream(peer, leads);
      contact.back = stream(peer, !leads);
    }
    return tell(round, contact);
  }

 private:
  int speaker(int host) const { return speakers_[static_cast<std::size_t>(host)]; }
  View view(std::int64_t bytes) { return {memory_.data(), DType::kU8, Shape{bytes}}; }
  void send(int peer, std::int64_t bytes) { c_.send({}, view(bytes), peer, 0, kWhat).wait(); }
  void receive(int peer, std::int64_t bytes) { c_.receive({}, view(bytes), peer, 0, kWhat).wait(); }

  /// Seconds, one way; the least of some, because whatever disturbs makes it longer.
  double ping(int peer, bool leads) {
    double least = 1e9;
    for (int i = 0; i < kShortRounds; ++i) {
      const Clock::time_point start = Clock::now();
      if (leads) send(peer, kShort);
      receive(peer, kShort);
      if (!leads) send(peer, kShort);
      least = std::min(least, seconds_since(start) / 2);
    }
    return least;
  }
  /// Bytes/s of who sends, as the sender has it from the first byte to the word that the last one has come.  The first
  /// message sets things up and fills what buffers there are on the way.
  double stream(int peer, bool sends) {
    double least = 1e9;
    for (int i = 0; i <= kLongRounds; ++i) {
      const Clock::time_point start = Clock::now();
      if (sends) {
        send(peer, kLong);
        receive(peer, kShort);
      } else {
        receive(peer, kLong);
        send(peer, kShort);
      }
      if (i > 0) least = std::min(least, seconds_since(start));
    }
    return static_cast<double>(kLong) / least;
  }
  /// Both ends know all three figures; who leads tells them.
  std::vector<Contact> tell(const Round& round, const Contact& contact) {
    constexpr std::int64_t kFigures = 3;
    const std::array<double, kFigures> mine{contact.latency, contact.forth, contact.back};
    const std::vector<std::int64_t> counts(static_cast<std::size_t>(c_.size()), kFigures);
    std::vector<double> all(counts.size() * kFigures);
    c_.all_gather({}, View(all.data(), {kFigures * c_.size()}), ConstView(mine.data(), {kFigures}), counts,
                  "what probing measured")
        .wait();
    std::vector<Contact> contacts;
    for (const auto& pair : round) {
      const double* const told = &all[static_cast<std::size_t>(speaker(pair.first)) * kFigures];
      contacts.push_back({told[0], told[1], told[2]});
    }
    return contacts;
  }

  Communicator& c_;
  const std::vector<int>& speakers_;
  std::vector<std::byte> memory_;
};

}  // namespace

std::vector<int> node_speakers(const World& world) {
  std::vector<int> speakers;
  std::vector<char> seen(static_cast<std::size_t>(world.size()), 0);
  for (int r = 0; r < world.size(); ++r)
    if (!seen[static_cast<std::size_t>(world.node(r))]++) speakers.push_back(r);
  return speakers;
}

Measure measure_between(Communicator& everyone, const std::vector<int>& speakers) {
  return [meter = std::make_shared<Meter>(everyone, speakers)](const Round& round) { return (*meter)(round); };
}

}  // namespace banyan::comm
