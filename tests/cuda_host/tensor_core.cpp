// What works behind a thread's back or for a whole warp: asynchronous copies, which happen as late as they may, and
// tensor cores.
#include <cstring>
#include <string>

#include "tests/cuda_host/grid.hpp"

namespace emu {
namespace {

float value_of(std::uint32_t pair, int high) {
  const std::uint32_t bits = high ? pair & 0xffff0000u : pair << 16;
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}

}  // namespace

// memset and memcpy of a size that the compiler does not know are calls, which the sanitizers see as the thread's own
// reads and writes.
void async_copy(void* to, const void* from, std::size_t bytes, Site site) {
  Thread* t = current;
  if (bytes != 4 && bytes != 8 && bytes != 16) fail("an asynchronous copy is of 4, 8 or 16 bytes", site);
  if (reinterpret_cast<std::uintptr_t>(to) % bytes || reinterpret_cast<std::uintptr_t>(from) % bytes)
    fail("an asynchronous copy is not aligned to its size", site);
  if (!in_shared(to)) fail("the destination of an asynchronous copy is not shared memory", site);
  if (t->copy_count == Thread::kMostCopies) fail("more asynchronous copies than the layer follows", site);
  std::memset(to, 0xff, bytes);  // neither the old value nor the new one
  t->copies[t->copy_count++] = {to, from, bytes, t->copy_group};
}

void async_commit() { ++current->copy_group; }

void async_wait(unsigned newest) {
  Thread* t = current;
  int left = 0;
  for (int i = 0; i < t->copy_count; ++i) {
    const AsyncCopy c = t->copies[i];
    if (c.group + newest >= t->copy_group)
      t->copies[left++] = c;
    else
      std::memcpy(c.to, c.from, c.bytes);
  }
  t->copy_count = left;
}

// Lane l has of a [16, 16]: rows l/4 (registers 0, 2) and l/4 + 8 (1, 3), columns l%4*2 and the next, from 8 on in
// registers 2 and 3; of b [16, 8]: column l/4, rows l%4*2 and the next, from 8 on in the second register; of d [16, 8]
// rows as in a, columns l%4*2 and the next (PTX ISA, "Matrix Fragments for mma.m16n8k16").
void mma_m16n8k16(float* d, const std::uint32_t* a, std::uint32_t b0, std::uint32_t b1, Site site) {
  const std::uint32_t words[] = {a[0], a[1], a[2], a[3], b0, b1};
  const Exchange& all = warp_exchange(WarpOp::kMma, 0xffffffffu, 0, site, words);
  if (all.present != 0xffffffffu) fail("mma needs all lanes of a warp", site);
  const int lane = static_cast<int>(lane_id());
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4, column = lane % 4 * 2 + i % 2;
    for (int k = 0; k < 16; ++k) {
      const int holder = k % 8 / 2;
      const std::uint32_t left = all.word[row * 4 + holder][i / 2 + k / 8 * 2];
      const std::uint32_t right = all.word[column * 4 + holder][4 + k / 8];
      d[i] += value_of(left, k % 2) * value_of(right, k % 2);
    }
  }
}

}  // namespace emu
