// A shared window: memory through which the members of a communicator that share a node show each other pieces of data.
// Every member has a part, which it alone writes and the others read:
//
// - cells: for each other member a ring of cache lines, one for each piece that it has not taken yet: the piece's
// number,
//   its length, and the piece itself, if it is small, or the number of its slot;
// - taken: how many pieces this member took of what each other member published for it;
// - slots: window_pieces(size) of kSlotBytes, for larger pieces.
//
// A piece is published with a release store of its number and found with an acquire load.  A slot is used again when
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
  /// Whether these readers are far enough for a piece of so many bytes; else `waiting_for` is one that is behind.
  bool has_room(const std::vector<int>& readers, std::size_t bytes);
  /// Shows them the piece; has_room said yes.
  void publish(const std::vector<int>& readers, const std::byte* data, std::size_t bytes);
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
  std::uint64_t steps = 0;              ///< done so far, over all operations
  std::vector<const std::byte*> terms;  ///< of the fold at hand
  CopyChoice copies;
  int waiting_for = -1;  ///< member that holds up the operation whose turn it is

 private:
  struct Cell;
  struct Taken;
  Cell& cell(int owner, int reader, std::uint64_t number) const;
  Taken& taken(int owner, int reader) const;
  bool reached(int reader, std::uint64_t number);
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
  std::vector<std::uint64_t> shown_, took_;  // pieces for and of each member
  std::vector<std::uint64_t> known_;         // what each member was last seen to have taken of this one's
  std::vector<std::vector<Use>> uses_;       // by slot
  std::size_t next_slot_ = 0;
};

}  // namespace banyan::comm
