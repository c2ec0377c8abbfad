#include "io/block_writer.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace banyan::io {
namespace {

/// Large enough that a disk, or the servers of a parallel file system, find all their parts busy.
constexpr std::size_t kBlock = std::size_t{8} << 20;
constexpr std::size_t kUnit = static_cast<std::size_t>(File::kDirectUnit);

}  // namespace

BlockWriter::BlockWriter(File& file) : file_(file), first_(new std::byte[kUnit]) {
  filling_.memory = direct_memory(kBlock);
  writing_.memory = direct_memory(kBlock);
  file_.bypass_cache(true);
  thread_ = std::thread([this] { write_blocks(); });
}

BlockWriter::~BlockWriter() {
  {
    std::lock_guard lock(mutex_);
    leaving_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

void BlockWriter::write_blocks() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return busy_ || leaving_; });
    if (!busy_) return;
    lock.unlock();
    std::exception_ptr error;
    try {
      file_.write_at(writing_.place + static_cast<std::int64_t>(writing_.begin), writing_.memory.get() + writing_.begin,
                     writing_.end - writing_.begin);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (error) error_ = error;
    busy_ = false;
    changed_.notify_all();
  }
}

void BlockWriter::wait_for_writer(std::unique_lock<std::mutex>& lock) {
  changed_.wait(lock, [this] { return !busy_; });
  if (error_) std::rethrow_exception(error_);
}

void BlockWriter::hand_over() {
  std::unique_lock lock(mutex_);
  wait_for_writer(lock);
  std::swap(filling_, writing_);
  filling_.place = writing_.place + static_cast<std::int64_t>(kBlock);
  filling_.begin = filling_.end = 0;
  busy_ = true;
  changed_.notify_all();
}

void BlockWriter::append(const void* data, std::size_t bytes) {
  const auto* from = static_cast<const std::byte*>(data);
  while (bytes > 0) {
    const std::size_t n = std::min(bytes, kBlock - filling_.end);
    std::memcpy(filling_.memory.get() + filling_.end, from, n);
    filling_.end += n;
    from += n;
    bytes -= n;
    if (filling_.end < kBlock) continue;
    if (filling_.place == 0) {
      std::memcpy(first_.get(), filling_.memory.get(), kUnit);
      first_bytes_ = filling_.begin = kUnit;
    }
    hand_over();
  }
}

void BlockWriter::finish() {
  {
    std::unique_lock lock(mutex_);
    wait_for_writer(lock);
  }
  const std::byte* const rest = filling_.memory.get();
  if (filling_.place == 0) {
    first_bytes_ = filling_.begin = std::min(filling_.end, kUnit);
    std::memcpy(first_.get(), rest, first_bytes_);
  }
  // Whole units still go past the cache, what is left over cannot.
  const std::size_t whole = std::max(filling_.begin, filling_.end / kUnit * kUnit);
  file_.write_at(filling_.place + static_cast<std::int64_t>(filling_.begin), rest + filling_.begin,
                 whole - filling_.begin);
  file_.bypass_cache(false);
  file_.write_at(filling_.place + static_cast<std::int64_t>(whole), rest + whole, filling_.end - whole);
  file_.write_at(0, first_.get(), first_bytes_);
}

}  // namespace banyan::io
