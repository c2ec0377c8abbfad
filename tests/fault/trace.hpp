// The calls of a program that change files, in order, as libfaultio.so writes them down and CrashDisk reads them.  One
// trace may hold several processes: a record is appended in one piece, before the call returns to the program, so that
// whatever happened because of a call stands after it.
//
//   trace  = record...
//   record = TraceHead path second data        the byte counts are in the head
#pragma once

#include <cstdint>

namespace banyan::fault {

enum class TraceKind : std::uint32_t {
  kOpen = 1,  ///< path; offset: kCreated | kTruncated
  kWrite,     ///< fd, offset, data
  kTruncate,  ///< fd, offset: the new length
  kAllocate,  ///< fd, offset: the length is at least this much
  kSync,      ///< fd
  kClose,     ///< fd
  kMkdir,     ///< path
  kRename,    ///< path -> second
  kLink,      ///< path -> second
  kUnlink,    ///< path
  kRmdir,     ///< path
};

constexpr std::int64_t kCreated = 1, kTruncated = 2;
constexpr std::uint32_t kTraceMagic = 0x7ace0001;

/// Written only for calls that succeeded.  Paths are absolute.
struct TraceHead {
  std::uint32_t magic = kTraceMagic;
  TraceKind kind = TraceKind::kOpen;
  std::int32_t pid = 0, fd = -1;
  std::int64_t offset = 0;
  std::uint32_t path_bytes = 0, second_bytes = 0;
  std::uint64_t data_bytes = 0;
};

}  // namespace banyan::fault
