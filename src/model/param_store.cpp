#include "src/model/param_store.hpp"

#include <algorithm>

#include "src/base/error.hpp"

namespace banyan::model {
namespace {

/// Elements of initial values that are made in host memory at a time.
constexpr std::int64_t kInitChunk = 1 << 20;

View part_of(View arena, std::int64_t begin, const Shape& shape) {
  return arena.rows(begin, begin + shape.count()).reshaped(shape);
}

}  // namespace

ParamUse::~ParamUse() {
  if (store_) --store_->in_use_;
}

ParamUse ParamHandle::acquire() const {
  if (!store_) return {};
  ++store_->in_use_;
  return {store_, part_of(store_->values_, begin_, shape_)};
}

View ParamHandle::grad() const {
  if (!store_) return {};
  if (!store_->grads_) throw BugError("a stage without gradients was asked for one");
  return part_of(store_->grads_, begin_, shape_);
}

ParamStore::ParamStore(const StageSpec& spec, kernels::Backend& backend)
    : backend_(backend), params_(local_params(spec)) {
  const Shape arena{arena_count(params_)};
  const std::size_t bytes = static_cast<std::size_t>(arena.count()) * sizeof(float);
  values_ = View(static_cast<std::byte*>(backend_.allocate(bytes)), DType::kF32, arena, backend_.memory_kind());
  try {
    if (spec.gradients)
      grads_ = View(static_cast<std::byte*>(backend_.allocate(bytes)), DType::kF32, arena, backend_.memory_kind());
  } catch (...) {
    backend_.release(values_.data, values_.bytes());
    throw;
  }
  // The gaps between groups must hold zeros.
  backend_.fill_zero({}, values_);
  if (grads_) backend_.fill_zero({}, grads_);
  for (std::size_t i = 0; i < params_.size(); ++i) {
    LocalParam& p = params_[i];
    by_name_.emplace(p.logical.name, i);
    p.param = part_of(values_, p.begin, p.count);
    if (grads_) p.grad = part_of(grads_, p.begin, p.count);
  }
}

ParamStore::~ParamStore() {
  backend_.release(values_.data, values_.bytes());
  if (grads_) backend_.release(grads_.data, grads_.bytes());
}

ParamHandle ParamStore::fused(const std::vector<std::string>& names) {
  std::int64_t begin = -1;
  Shape shape;
  for (const std::string& name : names) {
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) {
      if (begin >= 0) throw BugError("{} is missing in its fused group", name);
      continue;
    }
    const LocalParam& p = params_[found->second];
    if (begin < 0) {
      begin = p.begin;
      shape = p.count;
      continue;
    }
    if (p.begin != begin + shape.count()) throw BugError("{} is no neighbour of its fused group", name);
    shape[0] += p.count[0];
  }
  return begin < 0 ? ParamHandle() : ParamHandle(this, begin, shape);
}

void ParamStore::init(const ModelShape& shape, std::uint64_t seed) {
  std::vector<float> chunk;
  for (const LocalParam& p : params_) {
    if (p.count.count() == 0) continue;
    const std::int64_t width = p.count.row_count();
    const std::int64_t rows_at_a_time = std::max<std::int64_t>(1, kInitChunk / width);
    const bool matrix = p.count.rank() == 2;
    const Range columns = matrix ? Range{p.offset[1], p.offset[1] + p.count[1]} : Range{0, 1};
    for (std::int64_t row = 0; row < p.count[0]; row += rows_at_a_time) {
      const std::int64_t end = std::min(p.count[0], row + rows_at_a_time);
      chunk.resize(static_cast<std::size_t>((end - row) * width));
      init_values(p.logical, shape, seed, {p.offset[0] + row, p.offset[0] + end}, columns, chunk.data());
      Shape part = p.count;
      part[0] = end - row;
      backend_.copy({}, p.param.rows(row, end), ConstView(chunk.data(), part));
    }
  }
  backend_.synchronize({});
}

void ParamStore::zero_grads() {
  if (!grads_) throw BugError("a stage without gradients was asked to clear them");
  backend_.fill_zero({}, grads_);
}

void ParamStore::changed() const {
  if (in_use_ != 0) throw BugError("parameters changed while a block was computing with {} of them", in_use_);
}

}  // namespace banyan::model
