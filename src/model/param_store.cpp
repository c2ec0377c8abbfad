#include "src/model/param_store.hpp"

#include <algorithm>
#include <memory>

#include "src/base/error.hpp"

namespace banyan::model {
namespace {

/// Elements that are made or rounded in host memory at a time.
constexpr std::int64_t kChunk = 1 << 20;
/// Where a value lies: elements of the fp32 arena, or bytes of the narrow one.
struct Place {
  bool narrow = false;
  std::int64_t begin = 0;
};

std::vector<Place> places(const std::vector<LocalParam>& params, DType weights, ValueBytes& need) {
  std::vector<Place> all;
  const bool spread = std::any_of(params.begin(), params.end(), [](const LocalParam& p) { return p.spread; });
  if (weights == DType::kF32 && !spread) {
    for (const LocalParam& p : params) all.push_back({false, p.begin});
    need = {arena_count(params), 0};
    return all;
  }
  constexpr std::int64_t line = 16;  // elements: 64 bytes
  need = {};
  std::int64_t wide_end = -1;  // of the last fp32 value, in the layout that has all of them
  for (const LocalParam& p : params) {
    if (weights != DType::kF32 && read_by_products(p)) {
      all.push_back({true, need.narrow});
      need.narrow += p.count[0] * kernels::narrow_row_bytes(weights, p.count[1]);
      continue;
    }
    // Members of a group stay neighbours where blocks read them here.
    if (p.begin != wide_end || p.spread) need.wide = (need.wide + line - 1) / line * line;
    all.push_back({false, need.wide});
    need.wide += p.master.count() * p.count.row_count();
    wide_end = p.begin + p.count.count();
  }
  return all;
}

/// Rows of a matrix that fill() brings at a time.
std::int64_t rows_at_a_time(const LocalParam& p) { return std::max<std::int64_t>(1, kChunk / p.count.row_count()); }

/// Bytes in which rows of a parameter wait on a device to be rounded; 0: they are written where they belong.
std::int64_t waiting_bytes(const LocalParam& p, DType weights) {
  const bool wide = !p.spread && (weights == DType::kF32 || !read_by_products(p));
  if (wide || p.count.count() == 0) return 0;
  return 4 * std::min(rows_at_a_time(p), p.count[0]) * p.count.row_count();
}

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
  return {store_, value_};
}

View ParamHandle::grad() const {
  if (!store_) return {};
  if (!store_->grads_) throw BugError("a stage without gradients was asked for one");
  return grad_;
}

ValueBytes value_bytes(const std::vector<LocalParam>& params, DType weights) {
  ValueBytes need;
  places(params, weights, need);
  return need;
}

std::int64_t loading_bytes(const std::vector<LocalParam>& params, DType weights) {
  std::int64_t most = 0;
  for (const LocalParam& p : params) most = std::max(most, waiting_bytes(p, weights));
  return most;
}

ParamStore::ParamStore(const StageSpec& spec, kernels::Backend& backend)
    : backend_(backend), params_(local_params(spec)), weights_(spec.weights) {
  ValueBytes need;
  const std::vector<Place> where = places(params_, spec.weights, need);
  try {
    values_ = allocate(DType::kF32, need.wide);
    if (spec.gradients) grads_ = allocate(DType::kF32, arena_count(params_));
    narrow_ = allocate(DType::kU8, need.narrow);
    if (spec.activations == DType::kBF16) rounded_ = allocate(DType::kBF16, arena_count(params_));
  } catch (...) {
    release();
    throw;
  }
  for (std::size_t i = 0; i < params_.size(); ++i) {
    LocalParam& p = params_[i];
    by_name_.emplace(p.logical.name, i);
    if (where[i].narrow) {
      View matrix(narrow_.data + where[i].begin, spec.weights, p.count, backend_.memory_kind());
      matrix.row_stride =
          kernels::narrow_row_bytes(spec.weights, p.count[1]) / static_cast<std::int64_t>(size_of(spec.weights));
      compute_.push_back(matrix);
      continue;
    }
    Shape held = p.count;
    held[0] = p.master.count();
    p.param = part_of(values_, where[i].begin, held);
    if (grads_) p.grad = part_of(grads_, p.begin, p.count);
    if (rounded_ && read_by_products(p)) p.rounded = part_of(rounded_, p.begin, p.count);
    compute_.push_back(p.rounded ? p.rounded : p.param);
  }
}

View ParamStore::allocate(DType dtype, std::int64_t count) {
  if (count == 0) return {};
  const std::size_t bytes = static_cast<std::size_t>(count) * size_of(dtype);
  const View all(static_cast<std::byte*>(backend_.allocate(bytes)), dtype, {count}, backend_.memory_kind());
  // The gaps between groups must hold zeros.
  backend_.fill_zero({}, all);
  return all;
}

void ParamStore::release() {
  for (const View& arena : {values_, grads_, narrow_, rounded_})
    if (arena) backend_.release(arena.data, arena.bytes());
}

ParamStore::~ParamStore() { release(); }

ParamHandle ParamStore::fused(const std::vector<std::string>& names) {
  View value, grad;
  for (const std::string& name : names) {
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) {
      if (value) throw BugError("{} is missing in its fused group", name);
      continue;
    }
    const LocalParam& p = params_[found->second];
    const View& next = compute_[found->second];
    if (!value) {
      value = next;
      grad = p.grad;
      continue;
    }
    if (next.data != value.data + value.shape[0] * value.row_stride * static_cast<std::int64_t>(size_of(value.dtype)))
      throw BugError("{} is no neighbour of its fused group", name);
    value.shape[0] += p.count[0];
    if (grad) grad.shape[0] += p.count[0];
  }
  return value ? ParamHandle(this, value, grad) : ParamHandle();
}

void ParamStore::init(const ModelShape& shape, std::uint64_t seed) {
  std::vector<float> chunk;
  for (const LocalParam& p : params_) {
    if (p.count.count() == 0) continue;
    fill(p, [&](const Shape& offset, View to) {
      const std::int64_t width = to.shape.row_count();
      const std::int64_t at_a_time = std::max<std::int64_t>(1, kChunk / width);
      const Range columns = to.shape.rank() == 2 ? Range{offset[1], offset[1] + to.shape[1]} : Range{0, 1};
      for (std::int64_t row = 0; row < to.shape[0]; row += at_a_time) {
        const std::int64_t end = std::min(to.shape[0], row + at_a_time);
        chunk.resize(static_cast<std::size_t>((end - row) * width));
        init_values(p.logical, shape, seed, {offset[0] + row, offset[0] + end}, columns, chunk.data());
        Shape part = to.shape;
        part[0] = end - row;
        backend_.copy({}, to.rows(row, end), ConstView(chunk.data(), part));
      }
    });
  }
  changed();
  backend_.synchronize({});
}

void ParamStore::fill(const LocalParam& p, const std::function<void(const Shape& offset, View to)>& read) {
  if (p.count.count() == 0) return;
  const bool wide = p.param && !p.spread, device = backend_.memory_kind() == MemoryKind::kDevice;
  if (wide && !device) return read(p.offset, p.param);
  const View matrix = wide ? p.param : compute_[by_name_.at(p.logical.name)];
  const std::int64_t width = p.count.row_count(), at_a_time = rows_at_a_time(p);
  std::vector<float> chunk;
  // What is to be narrowed on a device goes there first.
  const std::size_t room_bytes = device ? static_cast<std::size_t>(waiting_bytes(p, weights_)) : 0;
  const std::shared_ptr<void> room(room_bytes > 0 ? backend_.allocate(room_bytes) : nullptr, [&](void* memory) {
    if (memory) backend_.release(memory, room_bytes);
  });
  for (std::int64_t row = 0; row < p.count[0]; row += at_a_time) {
    const std::int64_t end = std::min(p.count[0], row + at_a_time);
    chunk.resize(static_cast<std::size_t>((end - row) * width));
    Shape offset = p.offset, shape = p.count;
    offset[0] += row;
    shape[0] = end - row;
    View rows(chunk.data(), shape);
    read(offset, rows);
    if (device) {
      const View there = wide ? matrix.rows(row, end)
                              : View(static_cast<std::byte*>(room.get()), DType::kF32, shape, MemoryKind::kDevice);
      backend_.copy({}, there, rows);
      rows = there;
    }
    if (!wide) backend_.narrow({}, matrix.rows(row, end), rows);
    const Range mine{std::max(row, p.master.begin), std::min(end, p.master.end)};
    if (p.spread && mine.begin < mine.end)
      backend_.copy({}, param_rows(p, mine), ConstView(rows.rows(mine.begin - row, mine.end - row)));
    backend_.synchronize({});
  }
}

void ParamStore::zero_grads() {
  if (!grads_) throw BugError("a stage without gradients was asked to clear them");
  backend_.fill_zero({}, grads_);
}

void ParamStore::changed(bool rounded) {
  if (in_use_ != 0) throw BugError("parameters changed while a block was computing with {} of them", in_use_);
  if (rounded) return;
  for (const LocalParam& p : params_)
    if (p.rounded && !p.spread && p.count.count() > 0) backend_.narrow({}, p.rounded, p.param);
}

}  // namespace banyan::model
