// Who is where, when an operation of NCCL does not end: members tell each other over the host what they are in.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "comm/nccl/mailbox.hpp"

namespace banyan::comm {

/// What a member is in.
struct RollWord {
  std::uint64_t link = 0;    ///< which of NCCL's communicators of the group
  std::uint64_t number = 0;  ///< operations before it on that
  std::uint32_t kind = 0;    ///< of the operation; with the rest what must be equal on all members
  std::uint32_t dtype = 0, op = 0, root = 0;
  std::uint64_t count = 0;
  bool operator==(const RollWord&) const = default;
};

class RollCall {
 public:
  /// Takes this channel of the communicator.
  static constexpr int kChannel = kMaxChannel - 1;
  explicit RollCall(Communicator& host);

  // `operation` is what this member is in, for messages.
  /// Tells a member where this one is, once.
  void tell(int member, const RollWord& word, const std::string& operation);
  /// Looks what has come from it; Mailbox::next.
  void look(int member, const std::string& operation);
  /// Its last word of that link.
  std::optional<RollWord> heard(int member, std::uint64_t link) const;
  std::string name_of(int member) const { return host_.peer_name(member); }

 private:
  Communicator& host_;
  Mailbox mail_;
  std::map<std::pair<int, std::uint64_t>, RollWord> last_told_, heard_;  ///< by member and link
};

}  // namespace banyan::comm
