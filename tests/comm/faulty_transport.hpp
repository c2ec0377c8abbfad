// A Transport that does to messages what networks, machines and bugs do.  Every fault is a function of (seed, rank,
// number of the message), so that a test sees the same each time.  Wraps any other Transport.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/transport.hpp"

namespace banyan::comm {

/// Messages are counted from 0 as this rank sends them, over all peers and tags; -1 means never.
struct Faults {
  std::uint64_t seed = 1;
  unsigned longest_delay = 0;  ///< calls of progress() a send may be held back; streams overtake each other
  int rank = -1;               ///< the one that the faults below befall; -1: every
  int drop_from = -1;          ///< first send that is lost, with all that follow
  int duplicate = -1;          ///< the send that goes out twice
  int corrupt = -1;            ///< the send that goes out with one bit inverted; the next one if it has no bytes
  int die_at = -1;             ///< the send in whose place the rank dies
  enum class Death {
    kSignal,     ///< SIGKILL: for ranks that are processes
    kException,  ///< send() throws RankDied
    kSilence,    ///< nothing goes out or comes in any more
  } death = Death::kSignal;
};

struct RankDied : std::exception {
  const char* what() const noexcept override { return "the rank died, as its test wants it"; }
};

class FaultyTransport final : public Transport {
 public:
  FaultyTransport(std::unique_ptr<Transport> inner, Faults faults);
  ~FaultyTransport() override;
  Transport& inner() { return *inner_; }
  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string name() const override { return "faulty " + inner_->name(); }
  bool carries_sequence() const override { return inner_->carries_sequence(); }
  Request* send(const Message& message) override;
  Request* receive(const Message& message) override;
  void progress() override;
  bool doze(Seconds longest) override;
  void pin(const std::byte* data, std::size_t bytes) override { inner_->pin(data, bytes); }
  void unpin(const std::byte* data) override { inner_->unpin(data); }
  void release(Request* request) override;
  void forget(Request* request) override;

 private:
  class Held;
  void go(Held& held);
  void update(Held& held);
  void give_back(Request* request, bool forget);
  void die();

  const std::unique_ptr<Transport> inner_;
  const Faults faults_;
  const bool strikes_;  // this rank
  std::uint64_t sends_ = 0;
  bool corrupted_ = false, silent_ = false;
  std::map<std::pair<int, std::uint32_t>, std::deque<Held*>> queues_;  // held back, by stream
  std::vector<std::unique_ptr<Held>> all_;                             // sends, and receives of a silent rank
  std::vector<std::unique_ptr<Held>> left_over_;                       // second copies whose first was released
};

}  // namespace banyan::comm
