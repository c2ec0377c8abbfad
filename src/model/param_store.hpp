// The parameters and gradients of a stage in two arenas of equal layout (see local_params.hpp), and the handles through
// which blocks use them.
//
// Where weights are narrow (StageSpec::weights), the matrices that products read lie in an arena of their own, rounded,
// and the other parameters alone in the arena of values: nothing holds the matrices in fp32, and what is read from a
// file goes through fill().
//
// Where activations are bf16 (StageSpec::activations), the same matrices have a rounded copy beside the fp32 parameters
// that are trained, in an arena of the same layout, which blocks compute with.  With ZeRO-1 a data rank keeps no more
// of those fp32 matrices than the rows it updates (LocalParam::spread); such a matrix is written by fill() alone, or
// row by row together with its rounded copy, and the arena of values is shorter than that of gradients.
//
// A block never keeps a pointer to a parameter: it acquires the value for as long as it computes with it.  Here the
// value is resident and acquiring it costs nothing; a store that spreads parameters over data ranks gathers in
// acquire() and drops in release().
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/backend.hpp"
#include "src/model/local_params.hpp"

namespace banyan::model {

class ParamStore;

/// A value in use; gives it back when it goes out of scope.  Empty for a parameter that the model does not have.
class ParamUse {
 public:
  ParamUse() = default;
  ParamUse(ParamStore* store, ConstView value) : store_(store), value_(value) {}
  ~ParamUse();
  ParamUse(const ParamUse&) = delete;
  ParamUse& operator=(const ParamUse&) = delete;
  /// The value; only while this object lives.
  ConstView view() const { return value_; }

 private:
  ParamStore* store_ = nullptr;
  ConstView value_;
};

/// Names one parameter, or a group of neighbours that one matrix product reads.  A value; the store outlives it.
class ParamHandle {
 public:
  ParamHandle() = default;  ///< a parameter that the model does not have
  ParamHandle(ParamStore* store, ConstView value, View grad) : store_(store), value_(value), grad_(grad) {}
  explicit operator bool() const { return store_ != nullptr; }
  ParamUse acquire() const;
  /// Where the gradient accumulates; empty for a parameter that the model does not have.
  View grad() const;

 private:
  ParamStore* store_ = nullptr;
  ConstView value_;
  View grad_;
};

/// Elements of fp32 and bytes of narrow matrices that the values of these parameters take with the spec's weights.
struct ValueBytes {
  std::int64_t wide = 0, narrow = 0;
  std::int64_t bytes() const { return 4 * wide + narrow; }
};
ValueBytes value_bytes(const std::vector<LocalParam>& params, DType weights);
/// Bytes of a device's memory that fill() takes beside them while it works, at most.
std::int64_t loading_bytes(const std::vector<LocalParam>& params, DType weights);

class ParamStore {
 public:
  ParamStore(const StageSpec& spec, kernels::Backend& backend);
  ~ParamStore();
  ParamStore(const ParamStore&) = delete;
  ParamStore& operator=(const ParamStore&) = delete;

  /// With narrow weights `param` of a matrix that products read is empty.
  std::vector<LocalParam>& params() { return params_; }
  /// Empty with narrow weights.
  View param_arena() { return narrow_ ? View() : values_; }
  View grad_arena() { return grads_; }

  /// Handle of one parameter; empty when the model has no such parameter.
  ParamHandle handle(const std::string& name) { return fused({name}); }
  /// Handle of neighbours that one matrix product reads; empty when the model has none of them.
  ParamHandle fused(const std::vector<std::string>& names);

  void init(const ModelShape& shape, std::uint64_t seed);
  /// Gives a parameter its values: read(offset, to) fills `to`, fp32 in host memory, with the slab of the logical
  /// tensor that begins at `offset`; several times for a narrow matrix or a device's memory, a bounded number of rows
  /// at a time.
  void fill(const LocalParam& p, const std::function<void(const Shape& offset, View to)>& read);
  void zero_grads();
  /// Parameters were written from outside; `rounded`: and LocalParam::rounded with them.  What is spread was written
  /// with its copy anyway.
  void changed(bool rounded = false);

 private:
  friend class ParamUse;
  friend class ParamHandle;

  View allocate(DType dtype, std::int64_t count);
  void release();

  kernels::Backend& backend_;
  std::vector<LocalParam> params_;
  const DType weights_;
  std::unordered_map<std::string, std::size_t> by_name_;
  std::vector<View> compute_;  ///< of each parameter: what blocks read
  View values_, grads_, narrow_, rounded_;
  int in_use_ = 0;
};

}  // namespace banyan::model
