// Messages over MPI, on communicators of our own so that nothing else in the process can meet them.  All calls are
// non-blocking; MPI's own collectives are used while starting up only.
#pragma once

#include <mpi.h>

#include <cstdint>
#include <string>
#include <vector>

#include "comm/transport.hpp"

namespace banyan::comm {

/// CommError "CALL: text of the MPI error" unless code is MPI_SUCCESS.
void check_mpi(int code, const char* call);

/// What doze does: nothing, so that ranks look again and again; or it blocks in MPI until a message has come, for a
/// simulator, whose time passes only there and which no deadline interrupts.
enum class MpiWaiting : std::uint8_t { kLooks, kBlocks };

class MpiTransport final : public Transport {
 public:
  /// MPI is initialised; every rank of `base` makes one.
  explicit MpiTransport(MPI_Comm base, MpiWaiting waiting = MpiWaiting::kLooks);
  /// Frees nothing of MPI's: close() does, where leaving is orderly.
  ~MpiTransport() override;
  void close();

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string name() const override { return "mpi"; }
  Request* send(const Message& message) override;
  Request* receive(const Message& message) override;
  void progress() override;
  bool doze(Seconds longest) override;
  void release(Request* request) override;
  void forget(Request* request) override;

 private:
  class Pending;
  Pending* post(Pending* message, MPI_Request handle);
  void complete(std::size_t index, const MPI_Status& status, bool error_in_status);
  /// What MPI said of `count` requests.
  void complete(int code, const char* call, int count);

  const MpiWaiting waiting_;
  MPI_Comm messages_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 0;

  // Handles of everything under way and, at the same index, what they belong to.
  std::vector<MPI_Request> handles_;
  std::vector<Pending*> pending_;
  std::vector<int> indices_;
  std::vector<MPI_Status> statuses_;
};

}  // namespace banyan::comm
