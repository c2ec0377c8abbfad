// A shared window: memory through which the members of a communicator that share a node show each other pieces of data.
// Every member has a part, which it alone writes and the others read:
//
// - cells: for each other member a circle of cells, one for each piece that it has not taken yet, with the piece's
//   number, its length, and the piece itself, if it is small, or where it lies in the ring;
// - taken: how many pieces this member took of what each other member published for it;
// - the ring: larger pieces, one behind the other.  It is larger than a core's own cache, so that a piece comes to
//   memory that its last reader no longer holds: taking lines back is several times slower.
//
// A piece is published with a release store of its number and found with an acquire load.  Memory is used again when
// all readers have taken what was there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "comm/shared/arena.hpp"
#include "comm/shared/copy_choice.hpp"

namespace banyan::comm {

class SharedWindow {
 public:
  /// Largest piece.
  static constexpr std::size_t kPieceBytes = 128 << 10;

  /// `arenas[m]` is member m's; `key` is the same on all members and unlike that of every other window.  Made by all
  /// members in any order, sends nothing.
  SharedWindow(std::vector<std::shared_ptr<Arena>> arenas, int rank, std::uint64_t key);

  /// Whether all members have made theirs; else `waiting_for` is one that has not.
  bool complete();
  /// Whether these readers are far enough for a piece of so many bytes; else `waiting_for` is one that is behind.
  bool has_room(const std::vector<int>& readers, std::size_t bytes);
  /// Shows them the piece, copied as `copies` says; has_room said yes.
  void publish(const std::vector<int>& readers, const std::byte* data, std::size_t bytes, const CopyChoice& copies);
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
  int waiting_for = -1;                 ///< member that holds up the operation whose turn it is

 private:
  struct Cell;
  struct Taken;
  Cell& cell(int owner, int reader, std::uint64_t number) const;
  Taken& taken(int owner, int reader) const;
  bool reached(int reader, std::uint64_t number);

  struct Use {
    int reader;
    std::uint64_t number;  // of the piece among those for this reader
  };
  struct Shown {  // a piece in the ring that may not be taken yet
    std::size_t begin, end;
    std::vector<Use> uses;
  };
  std::size_t place(std::size_t bytes) const;
  bool in_the_way(const Shown& shown, std::size_t begin, std::size_t end) const;
  std::byte* ring(int owner, std::size_t offset) const;

  const std::vector<std::shared_ptr<Arena>> arenas_;
  const int size_, rank_;
  const std::uint64_t key_;
  const std::size_t ring_bytes_;
  std::vector<std::byte*> parts_;  // by member, nullptr until found
  int missing_;
  std::vector<std::uint64_t> shown_, took_;  // pieces for and of each member
  std::vector<std::uint64_t> known_;         // what each member was last seen to have taken of this one's
  std::deque<Shown> in_ring_;                // oldest first
  std::size_t next_ = 0;                     // where the next piece goes, if it fits before the end

 public:
  CopyChoice alike, single;  ///< for operations in which all members do the same, and for others
};

}  // namespace banyan::comm
