// The parameters and gradients of a stage in two arenas of equal layout (see local_params.hpp), and the handles through
// which blocks use them.
//
// A block never keeps a pointer to a parameter: it acquires the value for as long as it computes with it.  Here the
// value is resident and acquiring it costs nothing; a store that spreads parameters over data ranks gathers in
// acquire() and drops in release().
#pragma once

#include <cstdint>
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
  ParamHandle(ParamStore* store, std::int64_t begin, Shape shape) : store_(store), begin_(begin), shape_(shape) {}
  explicit operator bool() const { return store_ != nullptr; }
  ParamUse acquire() const;
  /// Where the gradient accumulates; empty for a parameter that the model does not have.
  View grad() const;

 private:
  ParamStore* store_ = nullptr;
  std::int64_t begin_ = 0;
  Shape shape_;
};

class ParamStore {
 public:
  ParamStore(const StageSpec& spec, kernels::Backend& backend);
  ~ParamStore();
  ParamStore(const ParamStore&) = delete;
  ParamStore& operator=(const ParamStore&) = delete;

  std::vector<LocalParam>& params() { return params_; }
  View param_arena() { return values_; }
  View grad_arena() { return grads_; }

  /// Handle of one parameter; empty when the model has no such parameter.
  ParamHandle handle(const std::string& name) { return fused({name}); }
  /// Handle of neighbours that one matrix product reads; empty when the model has none of them.
  ParamHandle fused(const std::vector<std::string>& names);

  void init(const ModelShape& shape, std::uint64_t seed);
  void zero_grads();
  /// Parameters were written from outside.
  void changed() const;

 private:
  friend class ParamUse;
  friend class ParamHandle;

  kernels::Backend& backend_;
  std::vector<LocalParam> params_;
  std::unordered_map<std::string, std::size_t> by_name_;
  View values_, grads_;
  int in_use_ = 0;
};

}  // namespace banyan::model
