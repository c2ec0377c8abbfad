#include "src/train/optimizer.hpp"

#include <algorithm>

namespace banyan::train {
namespace {

View flat(View v) { return v.reshaped({v.count()}); }

}  // namespace

Optimizer::Optimizer(job::Team& team, const GradSync& grad_sync, const config::optimizer_section& options, Queue queue)
    : team_(team), options_(options), queue_(queue) {
  const std::vector<model::LocalParam>& params = team_.stage->params();
  std::int64_t elements = 0;
  for (const model::LocalParam& p : params) elements += grad_sync.update_rows(p).count() * p.count.row_count();
  if (elements == 0) return;
  bytes_ = 2 * sizeof(float) * static_cast<std::size_t>(elements);
  memory_ = static_cast<std::byte*>(team_.backend->allocate(bytes_));
  const MemoryKind kind = team_.backend->memory_kind();
  team_.backend->fill_zero(queue_, View(memory_, DType::kF32, {2 * elements}, kind));
  std::byte *m = memory_, *v = memory_ + bytes_ / 2;
  for (std::size_t i = 0; i < params.size(); ++i) {
    const model::Range rows = grad_sync.update_rows(params[i]);
    Shape shape = params[i].count;
    shape[0] = rows.count();
    if (shape.count() == 0) continue;
    state_.push_back({static_cast<int>(i), rows, View(m, DType::kF32, shape, kind), View(v, DType::kF32, shape, kind)});
    m += state_.back().m.bytes();
    v += state_.back().v.bytes();
  }
}

Optimizer::~Optimizer() {
  if (memory_) team_.backend->release(memory_, bytes_);
}

void Optimizer::update(std::int64_t updates, double lr, double grad_scale) {
  for (MomentSlab& s : state_) {
    const model::LocalParam& p = team_.stage->params()[static_cast<std::size_t>(s.param)];
    team_.backend->adamw(queue_, flat(model::param_rows(p, s.rows)), flat(p.grad.rows(s.rows.begin, s.rows.end)),
                         flat(s.m), flat(s.v),
                         {.lr = static_cast<float>(lr),
                          .beta1 = static_cast<float>(options_.beta1),
                          .beta2 = static_cast<float>(options_.beta2),
                          .eps = static_cast<float>(options_.eps),
                          .weight_decay = p.logical.decay ? static_cast<float>(options_.weight_decay) : 0.0f,
                          .step = updates,
                          .grad_scale = static_cast<float>(grad_scale),
                          .rounded = p.rounded ? flat(p.rounded.rows(s.rows.begin, s.rows.end)) : View()});
  }
}

double Optimizer::clip_factor(double norm) const {
  return options_.clip > 0 && norm > options_.clip ? options_.clip / norm : 1.0;
}

}  // namespace banyan::train
