// A shared window: memory through which the members of a communicator that share a node show each other pieces of data.
// Every member has a part: slots for what it publishes, and for each other member a line that tells where that one's
// next piece is and a line that tells how many pieces it took from it.  Each word has one writer.
//
//   part of member m     lines[r]   pieces published for r: their number, and where the last few lie   (written by m)
//                        taken[o]   pieces that m took of what o published for it                     (written by m)
//                        slots      window_pieces(size) of kSlotBytes                                 (written by m)
//
// A piece is published with a release store of its number and taken with an acquire load.  A slot is used again when
// all its readers have taken it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "comm/shared/arena.hpp"
#include "comm/shared/copy_choice.hpp"

namespace banyan::comm {

class SharedWindow {
 public:
  /// Largest piece.
  static constexpr std::size_t kSlotBytes = 128 << 10;

  /// `arenas[m]` is member m's; `key` is the same on all members and unlike that of every other window.  Made by all
  /// members in any order, sends nothing.
  SharedWindow(std::vector<std::shared_ptr<Arena>> arenas, int rank, std::uint64_t key);

  /// Whether all members have made theirs; else `waiting_for` is one that has not.
  bool complete();
  /// Where to put the next piece for these readers; nullptr while there is no room because one of them (`waiting_for`)
  /// is behind.
  std::byte* room(const std::vector<int>& readers);
  /// What lies in room() is there for its readers.
  void publish(const std::vector<int>& readers, std::size_t bytes);
  /// The next piece of a member; empty optional while there is none.
  struct Piece {
    const std::byte* data = nullptr;
    std::size_t bytes = 0;
  };
  bool look(int member, Piece& piece) const;
  /// Done with it.
  void take(int member);

  // Whose turn it is: operations use the window one after another, in the order in which they were started.
  std::uint64_t turn = 0, tickets = 0;
  std::uint64_t steps = 0;  ///< done so far, over all operations
  CopyChoice copies;
  int waiting_for = -1;  ///< member that holds up the operation whose turn it is

 private:
  struct Line;
  struct Taken;
  Line& line(int owner, int reader) const;
  Taken& taken(int owner, int reader) const;
  std::byte* slot(int owner, std::size_t index) const;

  struct Use {  // of a slot
    int reader;
    std::uint64_t number;  // of the piece among those for this reader
  };
  const std::vector<std::shared_ptr<Arena>> arenas_;
  const int size_, rank_;
  const std::uint64_t key_;
  const std::size_t slots_;
  std::vector<std::byte*> parts_;  // by member, nullptr until found
  int missing_;
  std::vector<std::uint64_t> shown_, took_;  // by member
  std::vector<std::vector<Use>> uses_;       // by slot
  std::size_t next_slot_ = 0;
};

}  // namespace banyan::comm
