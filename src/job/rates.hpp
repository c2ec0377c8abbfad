// What this machine is worth today for one model: seconds of a product and of a block, measured for a moment on this
// rank, turned into the Machine that the price of a step is made from.  Its figures only ever lead to a prediction.
#pragma once

#include <cstdint>

#include "comm/cost.hpp"
#include "kernels/gpu.hpp"
#include "src/plan/layout.hpp"
#include "src/plan/machine.hpp"

namespace banyan::job {

class Job;

/// Where the ranks sit and what they share.
struct RankPlaces {
  int node_ranks = 1;  ///< of the fullest node
  int cores = 1;       ///< of a node
  int threads = 1;     ///< of a rank
};

/// FLOP/s that a product of rows x in by in x out of elements of f32 or bf16 reaches on this rank, measured for about a
/// fifth of a second: the best of a few calls, since a busy machine only ever slows them.
double product_rate(kernels::Backend& backend, DType dtype, std::int64_t rows, std::int64_t out, std::int64_t in);
/// Takes at most about half a second.  Allocates one block of the model's shape, cut to at most kMeasuredWidth
/// channels, and one microbatch of it.
plan::Machine measure_machine(kernels::Backend& backend, const plan::Layout& layout, const RankPlaces& places);
/// What a rank of this job is worth: run.machine, or else measured, the first time that somebody asks; best before the
/// memory of training is touched.  On rank 0.  ConfigError for a file that is none.
const plan::Machine& machine_of(Job& job, const plan::Layout& layout);
/// Bytes/s of copies between a device and its host, of the slower direction, measured as product_rate is.  Takes 16 MiB
/// of both memories meanwhile.
double host_link_rate(kernels::DeviceBackend& device);
/// Makes a machine's links those that carry this job's device memory (plan::carry), for good: comm.device = auto is
/// what it came to.  Warns where the price of copies is unknown, and leaves them out.  After use_links.
void carry_messages(plan::Machine& machine, const Job& job);
/// Gives a measured machine the links between its ranks.
void use_links(plan::Machine& machine, const comm::Links& links);

}  // namespace banyan::job
