#include "src/train/state.hpp"

#include <fmt/core.h>

#include "io/checksum.hpp"

namespace banyan::train {
namespace {

/// The whole of a local tensor in global coordinates, restricted to rows of the local tensor.
Shape offset_of(const model::LocalParam& p, std::int64_t first_row) {
  Shape offset = p.offset;
  offset[0] += first_row;
  return offset;
}

/// Rows of the local tensor that this rank writes.
model::Range rows_to_write(const Trainer& t, const model::LocalParam& p) {
  const parallel::MeshShape& mesh = t.team.mesh.shape();
  const model::Range own = owned_rows(p.count[0], t.team.at.data, mesh.data);
  if (!p.replicated) return own;
  const model::Range share = owned_rows(own.count(), t.team.at.tensor, mesh.tensor);
  return {own.begin + share.begin, own.begin + share.end};
}

}  // namespace

std::vector<job::SaveTensor> slabs_to_save(Trainer& t) {
  std::vector<job::SaveTensor> slabs;
  const std::vector<model::LocalParam>& params = t.stage.params();
  const auto add = [&](const model::LocalParam& p, io::TensorKind kind, View data, std::int64_t first_row) {
    if (data.count() > 0)
      slabs.push_back({p.logical.name, kind, p.logical.shape, offset_of(p, first_row), ConstView(data)});
  };
  for (const model::LocalParam& p : params) {
    if (p.tied_copy) continue;
    const model::Range rows = rows_to_write(t, p);
    add(p, io::TensorKind::kParam, model::param_rows(p, rows), rows.begin);
  }
  for (const MomentSlab& s : t.optimizer.state()) {
    const model::LocalParam& p = params[static_cast<std::size_t>(s.param)];
    if (p.tied_copy) continue;
    const model::Range rows = rows_to_write(t, p);
    const std::int64_t begin = rows.begin - s.rows.begin, end = rows.end - s.rows.begin;
    add(p, io::TensorKind::kM, s.m.rows(begin, end), rows.begin);
    add(p, io::TensorKind::kV, s.v.rows(begin, end), rows.begin);
  }
  std::vector<ConstView> views;
  for (const job::SaveTensor& s : slabs) views.push_back(s.data);
  views = t.host_copy.of_all(views);
  for (std::size_t i = 0; i < slabs.size(); ++i) slabs[i].data = views[i];
  return slabs;
}

void fill_state(Trainer& t, job::Source& source, bool optimizer) {
  for (const model::LocalParam& p : t.stage.params())
    t.stage.fill_param(
        p, [&](const Shape& offset, View to) { source.read_slab(io::TensorKind::kParam, p.logical.name, offset, to); });
  if (!optimizer) return;
  for (MomentSlab& s : t.optimizer.state()) {
    const model::LocalParam& p = t.stage.params()[static_cast<std::size_t>(s.param)];
    const auto read = [&](io::TensorKind kind, View moment) {
      t.host_copy.write(moment,
                        [&](View to) { source.read_slab(kind, p.logical.name, offset_of(p, s.rows.begin), to); });
    };
    read(io::TensorKind::kM, s.m);
    read(io::TensorKind::kV, s.v);
  }
}

std::string model_hash(const model::ModelShape& s) {
  return io::digest_bytes(
      fmt::format("layers {} width {} heads {} kv_heads {} ffn {} context {} vocab {} norm {} "
                  "position {} mlp {} bias {} tied {}",
                  s.layers, s.width, s.heads, s.kv_heads, s.ffn, s.context, s.vocab, static_cast<int>(s.norm),
                  static_cast<int>(s.position), static_cast<int>(s.mlp), s.bias, s.tied));
}

std::vector<FixedKey> changed_keys(const config::Config& saved, const config::Config& now, bool model_only) {
  std::vector<FixedKey> changed;
  const auto fixed = [&](const char* name, const auto& a, const auto& b) {
    if (a != b) changed.push_back({name, fmt::format("{}", a), fmt::format("{}", b)});
  };
#define FIXED(section, key) fixed(#section "." #key, saved.section.key, now.section.key)
  FIXED(model, layers);
  FIXED(model, width);
  FIXED(model, heads);
  FIXED(model, kv_heads);
  FIXED(model, ffn);
  FIXED(model, context);
  FIXED(model, vocab);
  FIXED(model, norm);
  FIXED(model, position);
  FIXED(model, mlp);
  FIXED(model, bias);
  FIXED(model, tied);
  FIXED(model, rope_theta);
  FIXED(model, norm_eps);
  if (model_only) return changed;
  FIXED(model, dropout);
  FIXED(run, seed);
  FIXED(run, precision);
  FIXED(train, batch);
#undef FIXED
  return changed;
}

}  // namespace banyan::train
