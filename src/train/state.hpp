// The state of training as named slabs: what a checkpoint holds and how a resume fills it again.
//   param/NAME, m/NAME, v/NAME for every logical parameter; which rank writes which slab depends on the mesh, the
//   values under a name do not.
#pragma once

#include <string>
#include <vector>

#include "src/job/checkpoint.hpp"
#include "src/train/step.hpp"

namespace banyan::train {

/// The slabs this rank writes, so that all ranks together write every value once: rows are spread over the data ranks,
/// and what all tensor ranks hold also over those; the second copy of a tied embedding is left out.  What lies on a
/// device is copied to host memory, where it stays until the trainer's host_copy is used next.
std::vector<job::SaveTensor> slabs_to_save(Trainer& trainer);

/// Fills parameters and moments from a checkpoint of any mesh.  `optimizer` = false leaves the moments as they are.
void fill_state(Trainer& trainer, job::Source& source, bool optimizer);

/// Hex digest of the keys that decide the shapes of the tensors.
std::string model_hash(const model::ModelShape& shape);

/// A key that must not change between the run that wrote a checkpoint and the one that resumes it.
struct FixedKey {
  std::string name, saved, now;
};
/// Such keys with different values: the model's shape and numerics, seed, data, batch.  Mesh, threads, steps, optimizer
/// and log may change.  `model_only`: the checkpoint has no optimizer state (an import), so only the model counts.
std::vector<FixedKey> changed_keys(const config::Config& saved, const config::Config& now, bool model_only);

}  // namespace banyan::train
