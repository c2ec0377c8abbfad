#include "comm/shared/arena.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <random>
#include <sstream>

#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

constexpr std::size_t kBytes = std::size_t{1} << 30;  // of addresses; memory is what is touched
constexpr std::size_t kPage = 4096;
constexpr std::size_t kEntries = 8192;

struct Directory {
  std::uint64_t token;  // unlike that of every other arena
  struct Entry {
    std::atomic<std::uint64_t> key;
    std::uint64_t offset;
  };
  Entry entries[kEntries];
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
constexpr std::size_t kDirectoryBytes = (sizeof(Directory) + kPage - 1) / kPage * kPage;

Directory& directory(std::byte* base) { return *reinterpret_cast<Directory*>(base); }

std::byte* map(int file) {
  const int flags = MAP_NORESERVE | (file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
  void* base = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, flags, file, 0);
  if (base == MAP_FAILED) throw CommError("mapping shared memory: {}", std::strerror(errno));
  return static_cast<std::byte*>(base);
}

}  // namespace

Arena::Arena(std::byte* base, std::string invitation)
    : base_(base), invitation_(std::move(invitation)), used_(kDirectoryBytes) {}

Arena::~Arena() {
  munmap(base_, kBytes);
  if (file_ >= 0) close(file_);
}

std::unique_ptr<Arena> Arena::anonymous() { return std::unique_ptr<Arena>(new Arena(map(-1), "")); }

std::unique_ptr<Arena> Arena::inviting() {
  const int file = memfd_create("banyan", MFD_CLOEXEC);
  if (file < 0) throw CommError("making shared memory: {}", std::strerror(errno));
  std::byte* base = nullptr;
  try {
    if (ftruncate(file, kBytes) != 0) throw CommError("sizing shared memory: {}", std::strerror(errno));
    base = map(file);
  } catch (...) {
    close(file);
    throw;
  }
  std::random_device random;
  const std::uint64_t token = std::uint64_t{random()} << 32 | random();
  directory(base).token = token;
  std::unique_ptr<Arena> arena(new Arena(base, fmt::format("{} {} {}", getpid(), file, token)));
  arena->file_ = file;
  return arena;
}

std::unique_ptr<Arena> Arena::join(const std::string& invitation) {
  int pid = 0, number = -1;
  std::uint64_t token = 0;
  std::istringstream(invitation) >> pid >> number >> token;
  const std::string path = fmt::format("/proc/{}/fd/{}", pid, number);
  const int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0) throw CommError("opening {}: {}", path, std::strerror(errno));
  // A file of another kind that happens to be there must not be touched past its end.
  if (lseek(file, 0, SEEK_END) != static_cast<off_t>(kBytes)) {
    close(file);
    throw CommError("{} is something else", path);
  }
  std::byte* base = nullptr;
  try {
    base = map(file);
  } catch (...) {
    close(file);
    throw;
  }
  close(file);
  std::unique_ptr<Arena> arena(new Arena(base, invitation));
  if (directory(base).token != token) throw CommError("{} is something else", path);
  return arena;
}

std::byte* Arena::add(std::uint64_t key, std::size_t bytes) {
  const std::size_t whole = bytes <= kBytes ? (bytes + kPage - 1) / kPage * kPage : kBytes;
  Directory& d = directory(base_);
  for (std::size_t i = 0; i < kEntries && used_ + whole <= kBytes; ++i) {
    Directory::Entry& entry = d.entries[(key + i) % kEntries];
    if (entry.key.load(std::memory_order_relaxed) != 0) continue;
    entry.offset = used_;
    used_ += whole;
    entry.key.store(key, std::memory_order_release);
    return base_ + entry.offset;
  }
  throw CommError("more communicators than {} MiB of shared memory hold; use comm.shared_memory = off", kBytes >> 20);
}

std::byte* Arena::find(std::uint64_t key) const {
  Directory& d = directory(base_);
  for (std::size_t i = 0; i < kEntries; ++i) {
    Directory::Entry& entry = d.entries[(key + i) % kEntries];
    const std::uint64_t found = entry.key.load(std::memory_order_acquire);
    if (found == 0) return nullptr;
    if (found == key) return base_ + entry.offset;
  }
  return nullptr;
}

}  // namespace banyan::comm
