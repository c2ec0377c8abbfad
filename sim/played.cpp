#include "sim/played.hpp"

#include <simgrid/actor.h>
#include <simgrid/engine.h>
#include <simgrid/link.h>

#include <cstddef>
#include <utility>

namespace banyan::sim {
namespace {

/// More looks one after the other than anybody makes who does not wait: an operation that starts takes one or two.
constexpr int kLooks = 16;

double owed = 0;  // every rank has its own: smpirun gives each a copy of the program

class PayingTransport final : public comm::Transport {
 public:
  explicit PayingTransport(std::unique_ptr<comm::Transport> inner) : inner_(std::move(inner)) {}
  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string name() const override { return inner_->name() + ", played"; }
  bool carries_sequence() const override { return inner_->carries_sequence(); }
  void pin(const std::byte* data, std::size_t bytes) override { inner_->pin(data, bytes); }
  void unpin(const std::byte* data) override { inner_->unpin(data); }

  comm::Request* send(const comm::Message& message) override {
    pay();
    looks_ = 0;
    ++under_way_;
    return inner_->send(message);
  }
  comm::Request* receive(const comm::Message& message) override {
    pay();
    looks_ = 0;
    ++under_way_;
    return inner_->receive(message);
  }
  void progress() override {
    if (under_way_ == 0) return;
    if (owed > 0) {
      pay();
      looks_ = 0;
      inner_->progress();
    } else if (++looks_ > kLooks) {
      // Before that many there is nothing to be found that a doze does not find, too, and every look is a call of MPI.
      inner_->doze(Seconds{0});
    }
  }
  bool doze(Seconds longest) override {
    pay();
    return inner_->doze(longest);
  }
  void release(comm::Request* request) override {
    --under_way_;
    inner_->release(request);
  }
  void forget(comm::Request* request) override {
    --under_way_;
    inner_->forget(request);
  }

 private:
  const std::unique_ptr<comm::Transport> inner_;
  std::size_t under_way_ = 0;
  int looks_ = 0;  // since something happened
};

}  // namespace

void spend(double seconds) { owed += seconds; }

void pay() {
  if (owed > 0) sg_actor_sleep_for(std::exchange(owed, 0));
}

double now() { return simgrid_get_clock() + owed; }

std::unique_ptr<comm::Transport> paying(std::unique_ptr<comm::Transport> transport) {
  return std::make_unique<PayingTransport>(std::move(transport));
}

// SimGrid 3.32: a message that is under way while its link changes never arrives.  A shorter latency is below the
// precision of its clock.
void remove_network() {
  constexpr double kSilence = 1, kLatency = 1e-9, kBandwidth = 1e15;
  sg_actor_sleep_for(kSilence);
  sg_link_t* all = sg_link_list();
  for (std::size_t i = 0; i < sg_link_count(); ++i) {
    sg_link_set_bandwidth(all[i], kBandwidth);
    sg_link_set_latency(all[i], kLatency);
  }
}

}  // namespace banyan::sim
