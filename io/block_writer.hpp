// A file written from its beginning to its end in large blocks: a thread writes one block while the caller fills the
// next. Blocks go past the system's cache where the file system can do that, so that a checkpoint takes no memory from
// what else runs on the host.
//
//   BlockWriter out(file);
//   out.append(header, n);  ...  out.append(values, m);
//   out.finish();                                         // written, but not synced
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

#include "io/atomic_file.hpp"

namespace banyan::io {

class BlockWriter {
 public:
  /// `file`: new, outlives this, and is used by nobody else until finish() has returned.
  explicit BlockWriter(File& file);
  /// Waits for the block that is being written, gives up the rest.
  ~BlockWriter();
  BlockWriter(const BlockWriter&) = delete;
  BlockWriter& operator=(const BlockWriter&) = delete;

  /// Copies the bytes behind those so far.  IoError when an earlier block could not be written.
  void append(const void* data, std::size_t bytes);
  /// Writes what is left.  The first bytes of the file come last: one that is cut short has no beginning.
  void finish();

 private:
  struct Block {
    DirectMemory memory;
    std::size_t begin = 0, end = 0;  ///< of what is to be written
    std::int64_t place = 0;          ///< in the file
  };

  void hand_over();
  void wait_for_writer(std::unique_lock<std::mutex>& lock);
  void write_blocks();

  File& file_;
  Block filling_;
  std::unique_ptr<std::byte[]> first_;  ///< kept back
  std::size_t first_bytes_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  Block writing_;         ///< the thread's while busy_
  bool busy_ = false;     ///< writing_ is to be written
  bool leaving_ = false;  ///< the thread is to end
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace banyan::io
