// A Transport over another one that notices what got damaged, doubled or lost on the way (comm.checksum = on): every
// message is followed, in the same stream, by a note with its number, length and checksum.  What does not agree fails
// the receive.  A note costs a message of 32 bytes, a checksum the reading of every byte on both sides.
//
// All ranks use one, or none does.  One promise is weaker than other transports': a receive that is released while its
// message arrives may take the message and leave the note, over which the next receive of the stream then fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/transport.hpp"

namespace banyan::comm {

/// 64 bits that depend on every byte: four lanes of multiply and rotate, as in XXH64 (Y. Collet, xxHash specification,
/// section "XXH64"), and a mix of them.  A change within one lane is always seen, any other but for one in 2^64.
std::uint64_t message_checksum(std::span<const std::byte> data);

class CheckedTransport final : public Transport {
 public:
  /// `inner` outlives this and is used through this alone.
  explicit CheckedTransport(Transport& inner);
  ~CheckedTransport() override;
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  /// "ucx" of the transport below: how messages travel does not change.
  std::string name() const override { return inner_.name(); }
  bool carries_sequence() const override { return true; }
  /// Host memory only: BugError otherwise.
  Request* send(const Message& message) override;
  Request* receive(const Message& message) override;
  void progress() override;
  bool doze(Seconds longest) override { return inner_.doze(longest); }
  int arm() override { return inner_.arm(); }
  void pin(const std::byte* data, std::size_t bytes) override { inner_.pin(data, bytes); }
  void unpin(const std::byte* data) override { inner_.unpin(data); }
  void release(Request* request) override;
  void forget(Request* request) override;

 private:
  struct Note {
    std::uint64_t magic, sequence, bytes, checksum;
  };
  class Pair;
  Pair* post(const Message& message, bool sends);
  void settle(Pair& pair);
  std::string disagreement(const Pair& pair) const;
  void give_back(Pair* pair, void (Transport::*how)(Request*));

  Transport& inner_;
  std::vector<Pair*> pending_;
  struct Late {  // the note of a message that has failed already
    Request* request;
    std::unique_ptr<Note> note;
  };
  std::vector<Late> late_;
  std::vector<std::unique_ptr<Note>> kept_;  // the transport below may still look at them
};

}  // namespace banyan::comm
