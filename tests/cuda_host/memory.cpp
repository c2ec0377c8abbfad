// The device's memory: one reserved range of addresses.  Allocations are NaN until written, have red zones behind them,
// and cannot be touched while host code runs, so that a host access crashes here as it does on a GPU.
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <map>
#include <string>

#include "tests/cuda_host/emulation.hpp"
#include "tests/cuda_host/sanitizers.hpp"

namespace emu {
namespace {

constexpr std::size_t kPage = 4096, kLine = 256, kDeviceBytes = std::size_t{4} << 30;

struct Allocation {
  std::size_t asked, taken;
};

struct Device {
  char* base;
  std::size_t high = 0;  ///< bytes from base that were ever in use
  int open = 0;
  std::map<std::size_t, std::size_t> gaps{{0, kDeviceBytes}};  ///< offset to length
  std::map<std::uintptr_t, Allocation> live;
  std::map<std::uintptr_t, std::size_t> pinned;

  Device() {
    void* p = mmap(nullptr, kDeviceBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
      std::perror("cuda_host: no addresses for the device's memory");
      std::abort();
    }
    base = static_cast<char*>(p);
  }
  void protect(int mode) {
    if (high && mprotect(base, high, mode) != 0) std::abort();
  }
};
Device& device() {
  static auto& d = *new Device;
  return d;
}

/// The entry of an interval map that begins at or before p; end() when there is none.
template <class Map>
auto before(const Map& map, std::uintptr_t p) {
  auto it = map.upper_bound(p);
  return it == map.begin() ? map.end() : std::prev(it);
}

bool intact(std::uintptr_t p, const Allocation& a) {
  const DeviceAccess access;
  return red_zone_intact(reinterpret_cast<char*>(p) + a.asked, a.taken - a.asked);
}

/// Makes NaN of memory, of a large allocation only both ends: every page in use is one more to lock and open at each
/// launch.
void poison(char* p, std::size_t bytes) {
  constexpr std::size_t kEnds = std::size_t{1} << 20, kLarge = std::size_t{16} << 20;
  if (bytes < kLarge) return fill_poison(p, bytes);
  fill_poison(p, kEnds);
  fill_poison(p + bytes - kEnds, kEnds);
}

void report_overrun(const Allocation& a) {
  report("write behind a device allocation of " + std::to_string(a.asked) + " bytes");
}

}  // namespace

DeviceAccess::DeviceAccess() {
  if (device().open++ == 0) device().protect(PROT_READ | PROT_WRITE);
}
DeviceAccess::~DeviceAccess() {
  if (--device().open == 0) device().protect(PROT_NONE);
}

bool is_device(const void* p) {
  const char* c = static_cast<const char*>(p);
  return c >= device().base && c < device().base + kDeviceBytes;
}

bool is_pinned(const void* p) {
  const auto at = reinterpret_cast<std::uintptr_t>(p);
  const auto it = before(device().pinned, at);
  return it != device().pinned.end() && at < it->first + it->second;
}

bool device_range(const void* p, std::size_t bytes) {
  const auto at = reinterpret_cast<std::uintptr_t>(p);
  const auto it = before(device().live, at);
  return it != device().live.end() && at + bytes <= it->first + it->second.asked;
}

void check_overruns() {
  const DeviceAccess all;  // opening costs a system call
  for (const auto& [p, a] : device().live)
    if (!intact(p, a)) {
      report_overrun(a);
      raw_fill(reinterpret_cast<char*>(p) + a.asked, kRedByte, a.taken - a.asked);
    }
}

cudaError_t device_allocate(void** out, std::size_t bytes) {
  Device& d = device();
  *out = nullptr;
  if (bytes > kDeviceBytes) return cudaErrorMemoryAllocation;
  const std::size_t taken = (std::max<std::size_t>(bytes, 1) + kRedZone + kLine - 1) / kLine * kLine;
  const auto gap = std::find_if(d.gaps.begin(), d.gaps.end(), [&](const auto& g) { return g.second >= taken; });
  if (gap == d.gaps.end()) return cudaErrorMemoryAllocation;
  const std::size_t at = gap->first, rest = gap->second - taken;
  d.gaps.erase(gap);
  if (rest) d.gaps[at + taken] = rest;
  d.high = std::max(d.high, (at + taken + kPage - 1) / kPage * kPage);
  const DeviceAccess access;
  d.protect(PROT_READ | PROT_WRITE);  // what has just been added to the range in use, too
  char* p = d.base + at;
  sanitizer::permit(p, taken);
  poison(p, bytes);
  raw_fill(p + bytes, kRedByte, taken - bytes);
  sanitizer::forbid(p + bytes, taken - bytes);
  d.live[reinterpret_cast<std::uintptr_t>(p)] = {bytes, taken};
  *out = p;
  return cudaSuccess;
}

cudaError_t device_free(void* p) {
  if (!p) return cudaSuccess;
  Device& d = device();
  const auto it = d.live.find(reinterpret_cast<std::uintptr_t>(p));
  if (it == d.live.end()) return cudaErrorInvalidValue;
  const Allocation a = it->second;
  if (!intact(it->first, a)) report_overrun(a);
  d.live.erase(it);
  {
    const DeviceAccess access;
    sanitizer::permit(p, a.taken);
    poison(static_cast<char*>(p), a.taken);
    sanitizer::forbid(p, a.taken);
  }
  std::size_t at = static_cast<std::size_t>(static_cast<char*>(p) - d.base), length = a.taken;
  auto next = d.gaps.lower_bound(at);
  if (next != d.gaps.end() && at + length == next->first) {
    length += next->second;
    next = d.gaps.erase(next);
  }
  if (next != d.gaps.begin()) {
    const auto previous = std::prev(next);
    if (previous->first + previous->second == at) {
      previous->second += length;
      return cudaSuccess;
    }
  }
  d.gaps[at] = length;
  return cudaSuccess;
}

void device_free_bytes(std::size_t* free, std::size_t* total) {
  *total = kDeviceBytes;
  *free = 0;
  for (const auto& [at, length] : device().gaps) *free += length;
}

cudaError_t pinned_allocate(void** p, std::size_t bytes) {
  *p = std::aligned_alloc(kPage, (std::max<std::size_t>(bytes, 1) + kPage - 1) / kPage * kPage);
  if (!*p) return cudaErrorMemoryAllocation;
  fill_poison(*p, bytes);
  device().pinned[reinterpret_cast<std::uintptr_t>(*p)] = bytes;
  return cudaSuccess;
}

cudaError_t pinned_free(void* p) {
  if (p && !device().pinned.erase(reinterpret_cast<std::uintptr_t>(p))) return cudaErrorInvalidValue;
  std::free(p);
  return cudaSuccess;
}

}  // namespace emu
