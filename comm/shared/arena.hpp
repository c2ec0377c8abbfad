// Memory of one rank that other ranks of its node see: a large, sparse mapping from which parts are cut and in whose
// first pages others find them by a key.  Nothing has a name in any file system, so nothing is left behind by whoever
// dies; pages come into being where they are touched, on the memory of the core that touches them first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace banyan::comm {

class Arena {
 public:
  /// Of this process; for threads that are ranks.
  static std::unique_ptr<Arena> anonymous();
  /// Another process can map it by what invitation() says.  CommError where the system does not do that.
  static std::unique_ptr<Arena> inviting();
  /// Maps the arena of another process of this machine.  CommError when that is impossible or when it turns out not to
  /// be the same memory (another container, another machine of the same name).
  static std::unique_ptr<Arena> join(const std::string& invitation);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  const std::string& invitation() const { return invitation_; }
  /// Cuts off `bytes` zero bytes at a multiple of 4096 that others find by `key` (not 0).  By the owner alone;
  /// CommError when the arena is used up.
  std::byte* add(std::uint64_t key, std::size_t bytes);
  /// What the owner added under this key; nullptr: nothing yet.
  std::byte* find(std::uint64_t key) const;

 private:
  Arena(std::byte* base, std::string invitation);
  std::byte* const base_;
  const std::string invitation_;
  int file_ = -1;
  std::size_t used_;
};

/// The arenas of a node's ranks, as one of them sees them.
struct NodeMemory {
  std::shared_ptr<Arena> own;
  std::vector<std::shared_ptr<Arena>> of;  ///< by world rank; nullptr on other nodes
};

}  // namespace banyan::comm
