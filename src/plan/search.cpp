#include "src/plan/search.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <tuple>

#include "src/base/error.hpp"
#include "src/base/units.hpp"
#include "src/plan/layout.hpp"

namespace banyan::plan {
namespace {

/// Of two predictions closer than this share neither is faster.
constexpr double kNoDifference = 1e-9;
/// Positions of a sequence that a context rank keeps at least; shorter pieces are all traffic.
constexpr std::int64_t kShortestPiece = 1024;
constexpr std::int64_t kLargestMicrobatch = 64;

bool faster(const Candidate& a, const Candidate& b) {
  const double margin = kNoDifference * std::max(a.step, b.step);
  if (a.step < b.step - margin) return true;
  if (b.step < a.step - margin) return false;
  const auto size = [](const Candidate& c) {
    const Division& d = c.division;
    return std::tuple(!c.runnable, c.memory, d.mesh.tensor, d.mesh.context, d.mesh.pipeline, d.microbatch, d.schedule,
                      d.virtual_stages, d.zero, d.recompute, d.sequence, d.data_outermost);
  };
  return size(a) < size(b);
}

std::vector<int> divisors(int n) {
  std::vector<int> list;
  for (int d = 1; d <= n; ++d)
    if (n % d == 0) list.push_back(d);
  return list;
}

class Search {
 public:
  Search(SearchResult& result, const SearchOptions& options, const config::Config& config)
      : r_(result),
        precision_(options.precision),
        tensor_blocks_(static_cast<int>(config.parallel.tensor_blocks)),
        gradient_bytes_(config.run.grad_dtype == "bf16" ? 2 : 0) {
    limit_ = options.memory > 0 ? options.memory : r_.machine.memory_bytes - r_.machine.reserved_bytes;
  }

  void run() {
    for (int tensor : divisors(r_.ranks)) {
      if (const std::string why = tensor_refusal(tensor); !why.empty()) {
        reject({.tensor = tensor, .context = 0, .data = 0, .pipeline = 0}, why);
        continue;
      }
      for (int context : divisors(r_.ranks / tensor)) {
        if (const std::string why = context_refusal(context); !why.empty()) {
          if (context <= 64) reject({.tensor = tensor, .context = context, .data = 0, .pipeline = 0}, why);
          continue;
        }
        parts_.clear();
        for (int pipeline : divisors(r_.ranks / tensor / context))
          mesh({.tensor = tensor,
                .context = context,
                .data = r_.ranks / tensor / context / pipeline,
                .pipeline = pipeline});
      }
    }
    std::sort(r_.candidates.begin(), r_.candidates.end(), faster);
  }

 private:
  void reject(const parallel::MeshShape& m, std::string why) { r_.rejections.push_back({m, std::move(why)}); }

  std::string tensor_refusal(int t) const {
    const model::ModelShape& s = r_.model;
    const auto cannot = [&](const char* key, std::int64_t value) {
      return fmt::format("{} = {} cannot be split over {} tensor ranks", key, value, t);
    };
    if (s.heads % t != 0) return cannot("model.heads", s.heads);
    if (s.kv_heads % t != 0) return cannot("model.kv_heads", s.kv_heads);
    if (s.ffn % t != 0) return cannot("model.ffn", s.ffn);
    if (s.vocab < t) return cannot("model.vocab", s.vocab);
    return "";
  }
  std::string context_refusal(int c) const {
    if (c == 1 || (r_.model.context % (2 * c) == 0 && r_.model.context / c >= kShortestPiece)) return "";
    return fmt::format("model.context = {} leaves {} context ranks fewer than {} positions each, or uneven halves",
                       r_.model.context, c, kShortestPiece);
  }

  void mesh(const parallel::MeshShape& m) {
    if (m.pipeline > r_.model.layers)
      return reject(m, fmt::format("model.layers = {} are fewer than {} pipeline stages", r_.model.layers, m.pipeline));
    if (m.data > r_.batch)
      return reject(m, fmt::format("train.batch = {} leaves some of {} data ranks without work", r_.batch, m.data));
    best_.reset();
    best_runnable_.reset();
    least_ = 0;
    Division d;
    d.mesh = m;
    d.precision = precision_;
    if (m.tensor > 1) d.tensor_blocks = tensor_blocks_;
    d.gradient_bytes = gradient_bytes_;
    for (d.microbatch = 1; d.microbatch <= kLargestMicrobatch && d.microbatch * m.data <= r_.batch; d.microbatch *= 2)
      if (r_.batch % d.microbatch == 0) microbatch(d);
    if (!best_)
      return reject(m,
                    fmt::format("does not fit: at least {} a rank, of {}", format_bytes(least_), format_bytes(limit_)));
    r_.candidates.push_back(*best_);
    if (best_runnable_ && !best_->runnable) r_.candidates.push_back(*best_runnable_);
  }

  void microbatch(Division d) {
    const std::int64_t rows = d.microbatch * r_.model.context / d.mesh.context;
    for (const bool sequence : {false, true}) {
      d.sequence = sequence;
      if (sequence && (d.mesh.tensor == 1 || rows % d.mesh.tensor != 0)) continue;
      for (const Recompute recompute :
           {Recompute::kNone, Recompute::kCheap, Recompute::kAttention, Recompute::kBlock}) {
        d.recompute = recompute;
        if (recompute == Recompute::kAttention && r_.machine.fused_attention) continue;
        PartPrices parts = parts_of(d);
        for (const auto& [schedule, chunks] : schedules_of(d, parts)) {
          d.schedule = schedule;
          d.virtual_stages = chunks;
          parts.fill_share = fill_share_of(d);
          for (d.zero = 0; d.zero <= (d.mesh.data > 1 ? 3 : 0); ++d.zero)
            for (const bool outermost : {false, true}) {
              d.data_outermost = outermost;
              if (!outermost || (d.mesh.pipeline > 1 && d.mesh.data > 1 && several_nodes())) price(d, parts);
            }
        }
      }
    }
  }

  bool several_nodes() const { return r_.machine.ranks_per_node > 0 && r_.ranks > r_.machine.ranks_per_node; }

  std::vector<std::pair<parallel::ScheduleKind, int>> schedules_of(const Division& d, const PartPrices& parts) const {
    using parallel::ScheduleKind;
    const std::int64_t stages = d.mesh.pipeline, per_stage = (r_.model.layers + stages - 1) / stages;
    const std::int64_t rounds = r_.batch / d.microbatch / d.mesh.data;
    const double ends = parts.head.forward() + parts.head.backward() + parts.embedding.total(),
                 block = parts.block.forward() + parts.block.backward();
    std::vector<std::pair<ScheduleKind, int>> list{{ScheduleKind::k1F1B, 1}};
    if (stages == 1) return list;
    // Interleaving takes the microbatches in groups of one for each stage.
    if (r_.batch / d.microbatch % d.mesh.data == 0 && rounds % stages == 0)
      for (int v = 2; v <= per_stage; ++v)
        if (per_stage % v == 0 && v * stages <= r_.model.layers) list.emplace_back(ScheduleKind::kInterleaved, v);
    // What is computed again is not there for gradients of weights.
    if (d.recompute != Recompute::kNone && d.recompute != Recompute::kCheap) return list;
    list.emplace_back(ScheduleKind::kZbH1, 1);
    // The price of a V is that of chunks that are alike; beside a head as dear as half of one they are not.
    const double chunk = block * static_cast<double>(r_.model.layers) / static_cast<double>(2 * stages);
    if (2 * stages <= r_.model.layers && ends <= chunk / 2) list.emplace_back(ScheduleKind::kZbV, 2);
    return list;
  }

  double fill_share_of(const Division& d) {
    const auto key = std::tuple(d.schedule, d.mesh.pipeline, d.virtual_stages, microbatches_of(d, r_.batch));
    const auto [at, is_new] = fill_shares_.try_emplace(key, 0.0);
    if (is_new) at->second = fill_share(r_.model, d, r_.batch);
    return at->second;
  }

  /// What does not depend on pipeline, data, schedule and ZeRO.
  const PartPrices& parts_of(const Division& d) {
    const auto key = std::tuple(d.microbatch, d.sequence, d.recompute);
    if (const auto at = parts_.find(key); at != parts_.end()) return at->second;
    return parts_[key] = {block_price(r_.model, d, r_.machine), head_price(r_.model, d, r_.machine),
                          embedding_price(r_.model, d, r_.machine), 1};
  }

  void price(const Division& d, const PartPrices& parts) {
    ++r_.priced;
    const StepPrice p = step_price(r_.model, d, r_.batch, r_.machine, parts);
    const RankMemory memory = rank_memory(r_.model, d, p.blocks, p.parameters, p.microbatches, r_.machine);
    least_ = least_ > 0 ? std::min(least_, memory.total()) : memory.total();
    if (limit_ > 0 && memory.total() > limit_) {
      ++r_.too_large;
      return;
    }
    const Candidate c{d, p.step, memory.total(), can_run(d)};
    if (!best_ || faster(c, *best_)) best_ = c;
    if (c.runnable && (!best_runnable_ || faster(c, *best_runnable_))) best_runnable_ = c;
  }
  static bool can_run(const Division& d) {
    return d.mesh.context == 1 && d.zero <= 1 && d.recompute != Recompute::kAttention && !d.data_outermost;
  }

  SearchResult& r_;
  const Precision precision_;
  const int tensor_blocks_, gradient_bytes_;  ///< as the configuration has them
  double limit_ = 0, least_ = 0;
  std::map<std::tuple<std::int64_t, bool, Recompute>, PartPrices> parts_;
  std::map<std::tuple<parallel::ScheduleKind, int, int, double>, double> fill_shares_;
  std::optional<Candidate> best_, best_runnable_;
};

}  // namespace

SearchResult search_divisions(const config::Config& config, int ranks, std::int64_t dataset_vocab,
                              const Machine& machine, const SearchOptions& options) {
  if (machine.peak(options.precision) <= 0)
    throw ConfigError("the machine {} says nothing about {}; add compute.{} to its file", machine.name,
                      name_of(options.precision), name_of(options.precision));
  SearchResult result;
  result.model = make_model_shape(config, dataset_vocab);
  result.machine = machine;
  result.ranks = ranks;
  result.batch = config.train.batch;
  result.steps = config.train.steps;
  Search(result, options, config).run();
  return result;
}

std::string not_runnable(const Division& d) {
  std::string why;
  const auto add = [&](bool missing, std::string_view what) {
    if (missing) why += fmt::format("{}{}", why.empty() ? "" : ", ", what);
  };
  add(d.mesh.context > 1, "context ranks");
  add(d.zero > 1, fmt::format("ZeRO-{}", d.zero));
  add(d.recompute == Recompute::kAttention, "recomputing attention alone");
  add(d.data_outermost, "data ranks outermost");
  return why;
}

std::string options_of(const Division& d) {
  std::string s = fmt::format("--parallel.tensor={} --parallel.pipeline={} --parallel.data={} --parallel.microbatch={}",
                              d.mesh.tensor, d.mesh.pipeline, d.mesh.data, d.microbatch);
  if (d.schedule != parallel::ScheduleKind::k1F1B) s += fmt::format(" --parallel.schedule={}", name_of(d.schedule));
  if (d.schedule == parallel::ScheduleKind::kInterleaved)
    s += fmt::format(" --parallel.virtual_stages={}", d.virtual_stages);
  if (d.zero > 0) s += fmt::format(" --parallel.zero={}", d.zero);
  if (d.sequence) s += " --parallel.sequence=true";
  if (d.tensor_blocks > 1) s += fmt::format(" --parallel.tensor_blocks={}", d.tensor_blocks);
  if (d.recompute == Recompute::kCheap) s += " --train.recompute=cheap";
  if (d.recompute == Recompute::kBlock) s += " --train.recompute=block";
  return s;
}

StepPrice price_of(const SearchResult& r, const Candidate& c) {
  return step_price(r.model, c.division, r.batch, r.machine);
}

}  // namespace banyan::plan
