// The MPI library's own collectives, non-blocking, on a communicator of their own.
#pragma once

#include <mpi.h>

#include <memory>
#include <vector>

#include "comm/native.hpp"

namespace banyan::comm {

class MpiCollectives final : public NativeCollectives {
 public:
  /// Ranks of MPI_COMM_WORLD, each of which makes one at the same point; `id` as of World::group.  Waits for them
  /// inside MPI, so nothing may be under way.  The communicator lives until MPI_Finalize, because freeing it could wait
  /// too.
  MpiCollectives(const std::vector<int>& world_ranks, int id);

  /// Numbers as MPI knows them, at most 2^31 - 1 in all.
  bool takes(const NativeCall& call) const override;
  std::shared_ptr<Operation> make(Engine& engine, NativeCall call, Label label, Seconds silence) override;

 private:
  MPI_Comm comm_ = MPI_COMM_NULL;
};

}  // namespace banyan::comm
