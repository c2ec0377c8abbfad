// Ranks as threads of one process: messages are copied from the sender's buffer into the receiver's by whoever comes
// second.  Nothing is buffered, so a send ends only when its receive is posted: the strictest behaviour a Transport may
// have.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "comm/transport.hpp"

namespace banyan::comm {

class LoopbackRequest;

/// Where the ranks meet; shared by the transports of all of them.
class LoopbackHub {
 public:
  explicit LoopbackHub(int size);
  ~LoopbackHub();
  int size() const { return static_cast<int>(boxes_.size()); }

 private:
  friend class LoopbackTransport;
  struct Box {  // of one receiving rank
    std::mutex mutex;
    std::deque<LoopbackRequest*> sends, receives;  // without a partner yet, in order of posting
  };
  std::vector<std::unique_ptr<Box>> boxes_;
};

class LoopbackTransport final : public Transport {
 public:
  LoopbackTransport(std::shared_ptr<LoopbackHub> hub, int rank);
  ~LoopbackTransport() override;
  int rank() const override { return rank_; }
  int size() const override { return hub_->size(); }
  std::string name() const override { return "loopback"; }
  bool carries_sequence() const override { return true; }
  Request* send(const Message& message) override;
  Request* receive(const Message& message) override;
  void progress() override {}
  void release(Request* request) override;
  void forget(Request* request) override { release(request); }

 private:
  Request* post(LoopbackRequest* request, bool is_send);
  const std::shared_ptr<LoopbackHub> hub_;
  const int rank_;
};

}  // namespace banyan::comm
