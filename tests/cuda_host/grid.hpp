// Blocks, warps and threads of the launch that runs.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <vector>

#include "tests/cuda_host/emulation.hpp"
#include "tests/cuda_host/fiber.hpp"

namespace emu {

enum class State : std::uint8_t { kReady, kBarrier, kWarp, kDone };

/// The lanes that use one mask, and the operation they are in.  Two generations, because lanes read the values of the
/// last operation while others already enter the next.
struct MaskGroup {
  unsigned mask = 0, arrived = 0;
  WarpOp op = WarpOp::kSyncwarp;
  Site site;
  std::uint32_t generation = 0;
  char order[2] = {};  ///< what ThreadSanitizer is told of
  Exchange exchange[2] = {};
};

struct Warp {
  static constexpr int kMostGroups = 8;
  unsigned exited = 0;
  int group_count = 0;
  MaskGroup groups[kMostGroups];
};

struct Thread;
struct SharedObject {
  const void* key;
  char* data;
  std::size_t size;
};

struct Block {
  uint3 index{};
  std::vector<Thread*> threads;
  std::vector<Warp> warps;
  // ---- the barrier
  int alive = 0, arrived = 0, votes = 0, vote_result[2] = {};
  Vote vote = Vote::kNone;
  std::uint32_t generation = 0;
  Site site;
  bool any_exited = false;
  char order[2] = {}, start = 0;
  // ---- shared memory
  char* slot = nullptr;
  std::size_t used = 0, shared_bytes = 0;
  std::vector<SharedObject> shared;  ///< the first is the dynamic one
};

/// cp.async on its way.
struct AsyncCopy {
  void* to;
  const void* from;
  std::size_t bytes;
  unsigned group;  ///< how many commits came before it
};

struct Thread {
  static constexpr int kMostCopies = 128;
  Fiber fiber;
  uint3 index{};
  unsigned flat = 0, lane = 0, priority = 0;
  Block* block = nullptr;
  Warp* warp = nullptr;
  State state = State::kDone;
  bool started = false;
  MaskGroup* group = nullptr;  ///< what it waits in
  int copy_count = 0;
  unsigned copy_group = 0;
  AsyncCopy copies[kMostCopies];
  Site site;
};

/// The thread that runs, or null outside of kernels.
extern Thread* current;

/// Lets the scheduler choose who goes on.
void yield_now();
void wake(Thread* thread);
/// Ends the launch at once: its fibers never go on.
[[noreturn]] void abandon_launch();
/// Lets lanes go on whose operation no longer waits for anybody.
void try_release(Block& block, Warp& warp, MaskGroup& group);
const char* name_of(WarpOp op);

// ---- shared_memory.cpp
inline constexpr std::size_t kSlotBytes = 320 * 1024;
char* acquire_slot();
void release_slot(char* slot);
void open_shared(Block& block, char* slot, std::size_t dynamic_bytes);
void close_shared(Block& block);

}  // namespace emu
