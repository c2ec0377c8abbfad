// What libfaultio.so and libfaultmpi.so know of the program they are loaded into: which call shall go wrong; and the
// former, which descriptors are files below the watched directory, and where calls are written down.
#pragma once

#include <sys/types.h>

#include <map>
#include <mutex>
#include <string>

#include "tests/fault/trace.hpp"

namespace banyan::fault {

/// What is different in a call that is made all the same.
enum class Twist { kNone, kShort, kFlip };

class FaultPlan {
 public:
  static FaultPlan& get();

  bool ours(const std::string& path) const;
  bool ours(int fd);
  std::string path_of(int fd);

  /// Counts a call.  True when the real one must not be made: errno is set.  `twist` is told to do it in another way.
  /// A fault that ends or stops the process does so in here.
  bool strikes(const char* call, bool ours, Twist* twist = nullptr, int fd = -1);
  /// True when an earlier write of this file fails only now.
  bool fails_late(int fd);
  /// True, with errno set, while this process does not find a name that it has not made itself.
  bool hidden(const std::string& path);
  /// This process has made the name: it finds it.
  void made(const std::string& path);
  /// Lets a write of so many bytes take as long as storage of that speed takes.
  void slow_down(std::size_t bytes);

  /// Keeps the table of descriptors.  `created`, `truncated`: what the call did to the file.
  void opened(int fd, const std::string& path, bool created, bool truncated);
  void closed(int fd);

  /// Writes a successful call down, when that is wanted.  The first form is for descriptors, the second for names.
  void record(TraceKind kind, int fd, std::int64_t offset, const void* data = nullptr, std::size_t bytes = 0);
  void record(TraceKind kind, const std::string& path, const std::string& second = "");

 private:
  FaultPlan();
  void append(TraceHead head, const std::string& path, const std::string& second, const void* data, std::size_t bytes);
  void kill_all();

  bool due() const;

  bool watching_ = false, armed_ = false;
  double late_ = 0, speed_ = 0;  ///< seconds; bytes per second, 0: as fast as it is
  std::map<std::string, double> first_look_;
  std::string call_, action_, under_, when_;
  long n_ = 0, count_ = 0;
  int late_fd_ = -1, trace_ = -1;
  std::mutex mutex_;
  std::map<int, std::string> paths_;
};

/// Absolute, from the working directory.
std::string absolute(const std::string& path);

}  // namespace banyan::fault
