// Shared memory of a block: NaN until written, with red zones, and no larger than a GPU has.
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/cuda_host/grid.hpp"
#include "tests/cuda_host/sanitizers.hpp"

namespace emu {
namespace {

auto& free_slots = *new std::vector<char*>;

/// The next `size` bytes of the block's slot, poisoned, a red zone in front and behind; null when the slot is full.
char* carve(Block& b, std::size_t size, std::size_t alignment) {
  const std::size_t at = (b.used + kRedZone + alignment - 1) / alignment * alignment;
  b.used = at + size;
  b.shared_bytes += size;
  if (b.used + kRedZone > kSlotBytes) return nullptr;
  char* p = b.slot + at;
  sanitizer::permit(p, size);
  fill_poison(p, size);
  raw_fill(p + size, kRedByte, kRedZone);
  return p;
}

}  // namespace

char* acquire_slot() {
  if (free_slots.empty()) {
    void* p = mmap(nullptr, kSlotBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
      std::perror("cuda_host: no memory for shared memory");
      std::abort();
    }
    return static_cast<char*>(p);
  }
  char* slot = free_slots.back();
  free_slots.pop_back();
  return slot;
}

void release_slot(char* slot) {
  sanitizer::permit(slot, kSlotBytes);
  free_slots.push_back(slot);
}

void open_shared(Block& b, char* slot, std::size_t dynamic_bytes) {
  b.slot = slot;
  // A fresh mapping resets what ThreadSanitizer remembers of the block before.
  if (sanitizer::thread() &&
      mmap(slot, kSlotBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
    std::abort();
  sanitizer::forbid(slot, kSlotBytes);
  b.shared.reserve(32);  // fibers must not share the heap with the scheduler (ThreadSanitizer)
  b.shared.push_back({nullptr, carve(b, dynamic_bytes, 128), dynamic_bytes});
}

void close_shared(Block& b) {
  sanitizer::permit(b.slot, kSlotBytes);
  for (const SharedObject& s : b.shared)
    if (!red_zone_intact(s.data + s.size, kRedZone))
      report("write behind a shared object of " + std::to_string(s.size) + " bytes, block " +
             std::to_string(b.index.x));
  release_slot(b.slot);
}

void* shared_object(const void* key, std::size_t size, std::size_t alignment) {
  Block& b = *current->block;
  for (const SharedObject& s : b.shared)
    if (s.key == key) return s.data;
  char* p = carve(b, size, alignment);
  if (!p || b.shared_bytes > kSharedMost) fail("a block uses more than 227 KB of shared memory");
  b.shared.push_back({key, p, size});
  if (b.shared_bytes - b.shared[0].size > kSharedStatic) fail("more than 48 KB of static shared memory");
  return p;
}

bool in_shared(const void* p) {
  const auto* byte = static_cast<const char*>(p);
  return byte >= current->block->slot && byte < current->block->slot + kSlotBytes;
}

void* dynamic_shared_bytes(std::size_t bytes) {
  const SharedObject& dynamic = current->block->shared[0];
  if (bytes > dynamic.size) fail("the launch gave less dynamic shared memory than the kernel uses");
  return dynamic.data;
}

}  // namespace emu
