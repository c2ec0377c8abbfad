// Letters of a fixed length between the members of a communicator, read when somebody asks for them.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <span>
#include <string_view>
#include <vector>

#include "comm/communicator.hpp"

namespace banyan::comm {

class Mailbox {
 public:
  /// Letters go over a channel that nothing else uses.  The communicator goes first.  `what` below names them in
  /// messages.
  Mailbox(Communicator& host, int channel, std::size_t bytes);
  void post(int to, std::span<const std::byte> letter, std::string_view what);
  /// The next from a member, empty when none has come; valid until the next call.  A look at a wait for the member:
  /// throws CommError when there have been many in vain.
  std::span<const std::byte> next(int from, std::string_view what);

 private:
  struct Letter {
    std::vector<std::byte> data;
    Event moved;
  };
  View view(Letter& letter) const;

  Communicator& host_;
  const int channel_;
  const std::size_t bytes_;
  std::deque<Letter> sent_;  ///< few: kept until the end, for who never asks for them
  std::map<int, Letter> awaited_;
  std::vector<std::byte> read_;
};

}  // namespace banyan::comm
