// What one call, or one group of calls, of a communicator does on its stream: without blocking, in pieces.
#pragma once

#include <nccl.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "tests/cuda_host/nccl_wire.hpp"

namespace emu {

/// One call as NCCL was given it; `in` and `out` are device memory.
struct NcclCall {
  NcclTerms terms;
  const char* in = nullptr;
  char* out = nullptr;
  int peer = -1;  ///< of a message
  cudaStream_t stream = nullptr;
};

/// What a communicator's handle and its operations share.
struct NcclState {
  std::string name;
  int rank = 0, size = 0, device = 0;
  bool blocking = true;
  std::unique_ptr<Wire> wire;
  bool aborted = false;
  ncclResult_t error = ncclSuccess;
  std::string last_error;
  std::size_t unfinished = 0;  ///< operations that have not ended
  /// An asynchronous error; what is under way then never ends.
  void fail(ncclResult_t code, const std::string& why);
};

std::size_t nccl_width(ncclDataType_t type);  ///< bytes; 0 for types that are not emulated
std::string nccl_text(const NcclTerms& terms);

class NcclOperation {
 public:
  NcclOperation(std::shared_ptr<NcclState> state, std::vector<NcclCall> calls, bool grouped);
  ~NcclOperation();
  NcclOperation(const NcclOperation&) = delete;
  NcclOperation& operator=(const NcclOperation&) = delete;
  /// True once nothing is left to do, or the communicator was aborted.
  bool step();

 private:
  struct Part {
    NcclCall call;
    std::vector<std::vector<char>> operands;  ///< by rank
    bool announced = false, credited = false, done = false;
  };
  void begin(Part& part);
  bool advance(Part& part);
  bool advance_collective(Part& part);
  bool advance_send(Part& part);
  bool advance_receive(Part& part);
  bool to_itself();
  void combine(Part& part);
  void mismatch(const NcclTerms& mine, int peer, const NcclTerms& theirs);
  void disagree(const std::string& what);

  const std::shared_ptr<NcclState> state_;
  std::vector<Part> parts_;
  const bool grouped_;
  bool begun_ = false, lost_ = false;
};

}  // namespace emu
