#include "comm/mpi/native_collectives.hpp"

#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <utility>

#include "comm/mpi/mpi_transport.hpp"
#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

MPI_Datatype type_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return MPI_FLOAT;
    case DType::kF64:
      return MPI_DOUBLE;
    case DType::kI32:
      return MPI_INT32_T;
    case DType::kI64:
      return MPI_INT64_T;
    case DType::kI8:
      return MPI_INT8_T;
    case DType::kU8:
      return MPI_UINT8_T;
    case DType::kU16:
      return MPI_UINT16_T;
    case DType::kU32:
      return MPI_UINT32_T;
    case DType::kBF16:  // moved only, see takes()
      return MPI_UINT16_T;
  }
  return MPI_DATATYPE_NULL;
}

MPI_Op op_of(ReduceOp op) { return op == ReduceOp::kSum ? MPI_SUM : op == ReduceOp::kMax ? MPI_MAX : MPI_MIN; }

bool reduces(CollectiveKind kind) {
  return kind == CollectiveKind::kAllReduce || kind == CollectiveKind::kReduceScatter;
}

std::vector<int> narrow(const std::vector<std::int64_t>& counts) { return {counts.begin(), counts.end()}; }

std::vector<int> begins(const std::vector<int>& counts) {
  std::vector<int> result(counts.size(), 0);
  std::partial_sum(counts.begin(), counts.end() - 1, result.begin() + 1);
  return result;
}

/// What MPI reads and writes until the request is complete.
struct Buffers {
  NativeCall call;
  std::vector<int> counts, displacements, in_counts, in_displacements;
  std::vector<std::byte> apart;  // the result of a reduce-scatter into its own input
};

class NativeOperation final : public Operation {
 public:
  NativeOperation(Engine& engine, MPI_Comm comm, NativeCall call, Label label, Seconds silence)
      : Operation(engine, std::move(label), silence), buffers_(std::make_unique<Buffers>()) {
    buffers_->call = std::move(call);
    begin(comm);
  }
  ~NativeOperation() override { give_up(true); }

  bool advance() override {
    if (!buffers_) return false;
    int complete = 0;
    const int code = MPI_Test(&request_, &complete, MPI_STATUS_IGNORE);
    if (code != MPI_SUCCESS) {
      give_up(true);
      check_mpi(code, "the MPI library's own collective");
    }
    if (!complete) return false;
    if (!buffers_->apart.empty())
      std::memcpy(buffers_->call.output.data, buffers_->apart.data(), buffers_->apart.size());
    buffers_.reset();
    finish();
    return true;
  }
  // MPI cannot take a collective back: what it still reads and writes of ours stays.
  void give_up(bool) override { static_cast<void>(buffers_.release()); }
  // The library does not tell whom it waits for.
  int waits_for() const override { return -1; }
  bool woken_by_messages() const override { return false; }

 private:
  void begin(MPI_Comm comm) {
    Buffers& b = *buffers_;
    const NativeCall& c = b.call;
    int rank = 0;
    MPI_Comm_rank(comm, &rank);
    const MPI_Datatype type = type_of(c.kind == CollectiveKind::kBarrier ? DType::kU8 : c.output.dtype);
    b.counts = narrow(c.counts);
    if (!b.counts.empty()) b.displacements = begins(b.counts);
    switch (c.kind) {
      case CollectiveKind::kAllReduce:
        return check_mpi(MPI_Iallreduce(MPI_IN_PLACE, c.output.data, b.counts[0], type, op_of(c.op), comm, &request_),
                         "MPI_Iallreduce");
      case CollectiveKind::kReduceScatter: {
        const std::byte* begin = c.input.data;
        const bool inside = c.output.bytes() > 0 && c.output.data >= begin && c.output.data < begin + c.input.bytes();
        if (inside) b.apart.resize(c.output.bytes());
        return check_mpi(MPI_Ireduce_scatter(begin, inside ? b.apart.data() : c.output.data, b.counts.data(), type,
                                             op_of(c.op), comm, &request_),
                         "MPI_Ireduce_scatter");
      }
      case CollectiveKind::kAllGather: {
        const auto own = static_cast<std::size_t>(rank);
        const std::byte* place =
            c.output.data + static_cast<std::size_t>(b.displacements[own]) * size_of(c.output.dtype);
        const bool in_place = b.counts[own] > 0 && c.input.data == place;
        return check_mpi(
            MPI_Iallgatherv(in_place ? MPI_IN_PLACE : static_cast<const void*>(c.input.data), b.counts[own], type,
                            c.output.data, b.counts.data(), b.displacements.data(), type, comm, &request_),
            "MPI_Iallgatherv");
      }
      case CollectiveKind::kBroadcast:
        return check_mpi(MPI_Ibcast(c.output.data, b.counts[0], type, c.root, comm, &request_), "MPI_Ibcast");
      case CollectiveKind::kBarrier:
        return check_mpi(MPI_Ibarrier(comm, &request_), "MPI_Ibarrier");
      case CollectiveKind::kAllToAll:
        b.in_counts = narrow(c.in_counts);
        b.in_displacements = begins(b.in_counts);
        return check_mpi(MPI_Ialltoallv(c.input.data, b.in_counts.data(), b.in_displacements.data(), type,
                                        c.output.data, b.counts.data(), b.displacements.data(), type, comm, &request_),
                         "MPI_Ialltoallv");
    }
    throw BugError("unknown collective {}", static_cast<int>(c.kind));
  }

  std::unique_ptr<Buffers> buffers_;  // empty when complete or given up
  MPI_Request request_ = MPI_REQUEST_NULL;
};

}  // namespace

MpiCollectives::MpiCollectives(const std::vector<int>& world_ranks, int id) {
  MPI_Group everyone = MPI_GROUP_NULL, members = MPI_GROUP_NULL;
  check_mpi(MPI_Comm_group(MPI_COMM_WORLD, &everyone), "MPI_Comm_group");
  check_mpi(MPI_Group_incl(everyone, static_cast<int>(world_ranks.size()), world_ranks.data(), &members),
            "MPI_Group_incl");
  check_mpi(MPI_Comm_create_group(MPI_COMM_WORLD, members, id, &comm_), "MPI_Comm_create_group");
  MPI_Group_free(&members);
  MPI_Group_free(&everyone);
  check_mpi(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
}

bool MpiCollectives::takes(const NativeCall& call) const {
  if (call.kind == CollectiveKind::kAllToAll) {
    // Members know different counts and must agree all the same, so this one is refused instead of done another way.
    for (const auto* counts : {&call.counts, &call.in_counts})
      if (std::accumulate(counts->begin(), counts->end(), std::int64_t{0}) > std::numeric_limits<int>::max())
        throw ConfigError("MPI's all-to-all moves 2^31 - 1 elements at most; use comm.all_to_all = auto");
    return true;
  }
  if (reduces(call.kind) && call.output.dtype == DType::kBF16) return false;
  const std::int64_t total = std::accumulate(call.counts.begin(), call.counts.end(), std::int64_t{0});
  return total <= std::numeric_limits<int>::max();
}

std::shared_ptr<Operation> MpiCollectives::make(Engine& engine, NativeCall call, Label label, Seconds silence) {
  return std::make_shared<NativeOperation>(engine, comm_, std::move(call), std::move(label), silence);
}

}  // namespace banyan::comm
