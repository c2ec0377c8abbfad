#include "src/config/rules.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "src/base/error.hpp"
#include "src/config/load.hpp"

namespace banyan::config {
namespace {

struct Case {
  const char* rule;
  std::vector<std::string> overrides;
  std::vector<std::string> words;  ///< both keys with their values, and the fix
};

const std::vector<Case> kCases{
    {"width_over_heads", {"model.width=100"}, {"model.width = 100", "model.heads = 12", "96"}},
    {"heads_over_kv_heads", {"model.kv_heads=5"}, {"model.heads = 12", "model.kv_heads = 5", "(1 2 3 4 6 12)"}},
    {"rotary_head_size",
     {"model.position=rotary", "model.width=36"},
     {"model.width = 36", "rotary", "model.width = 48"}},
    {"heads_over_tensor",
     {"parallel.tensor=8"},
     {"model.heads = 12 cannot be split over parallel.tensor = 8; use a divisor of 12 (1 2 3 4 6 12)"}},
    {"kv_heads_over_tensor",
     {"parallel.tensor=4", "model.kv_heads=2"},
     {"model.kv_heads = 2", "parallel.tensor = 4", "(1 2)"}},
    {"ffn_over_tensor", {"parallel.tensor=4", "model.ffn=102"}, {"model.ffn = 102", "parallel.tensor = 4", "104"}},
    {"blocks_need_tensor",
     {"parallel.tensor_blocks=4"},
     {"parallel.tensor_blocks = 4", "parallel.tensor = 1", "parallel.tensor_blocks = 1"}},
    {"grad_dtype_fits_precision",
     {"run.grad_dtype=bf16"},
     {"run.grad_dtype = bf16", "run.precision = fp32", "run.precision = bf16"}},
    {"sequence_needs_tensor", {"parallel.sequence=true"}, {"parallel.sequence = true", "parallel.tensor = 1"}},
    {"rows_over_tensor",
     {"parallel.sequence=true", "parallel.tensor=2", "model.context=15"},
     {"parallel.microbatch x model.context = 1 x 15", "parallel.tensor = 2", "model.context = 16"}},
    {"layers_over_pipeline", {"parallel.pipeline=13"}, {"model.layers = 12", "parallel.pipeline = 13", "12 or less"}},
    {"stages_fit", {"parallel.pipeline=3", "parallel.stages=6,6"}, {"parallel.stages = 6,6", "parallel.pipeline = 3"}},
    {"stages_fit", {"parallel.pipeline=2", "parallel.stages=6,5"}, {"adds up to 11", "model.layers = 12"}},
    {"schedule_needs_stages", {"parallel.schedule=interleaved"}, {"interleaved", "parallel.pipeline = 1"}},
    {"schedule_needs_stages", {"parallel.schedule=zb-h1"}, {"zb-h1", "parallel.pipeline = 1"}},
    {"virtual_stages_fit",
     {"parallel.schedule=zb-v", "parallel.pipeline=2", "parallel.virtual_stages=3"},
     {"zb-v", "parallel.virtual_stages = 3"}},
    {"split_backward_keeps_blocks",
     {"parallel.schedule=zb-h1", "parallel.pipeline=2", "train.recompute=block"},
     {"zb-h1", "train.recompute = block", "parallel.schedule = 1f1b"}},
    {"virtual_stages_fit",
     {"parallel.schedule=interleaved", "parallel.pipeline=2", "parallel.virtual_stages=1"},
     {"interleaved", "parallel.virtual_stages = 1"}},
    {"virtual_stages_fit",
     {"parallel.pipeline=2", "parallel.virtual_stages=2"},
     {"parallel.virtual_stages = 2", "parallel.schedule = 1f1b"}},
    {"layers_over_pipeline",
     {"parallel.schedule=interleaved", "parallel.pipeline=4", "parallel.virtual_stages=4"},
     {"model.layers = 12", "4 x 4 chunks"}},
    {"layers_over_pipeline",
     {"parallel.schedule=interleaved", "parallel.pipeline=7"},
     {"model.layers = 12", "7 x 2 chunks (parallel.schedule = interleaved)"}},
    {"stages_fit",
     {"parallel.schedule=interleaved", "parallel.pipeline=2", "parallel.stages=6,6"},
     {"parallel.stages = 6,6", "2 x 2", "list 4 numbers"}},
    {"stages_fit", {"parallel.stages=6,x"}, {"parallel.stages = 6,x"}},
    {"stages_fit", {"parallel.stages=12,0"}, {"parallel.stages = 12,0"}},
    {"stages_fit", {"parallel.stages=,12"}, {"parallel.stages = ,12"}},
    {"fallbacks_can_run", {"parallel.fallback=2"}, {"parallel.fallback = 2 is refused", "2x2,1x2x3"}},
    {"fallbacks_can_run", {"parallel.fallback=2x1,"}, {"parallel.fallback = 2x1, is refused"}},
    {"fallbacks_can_run", {"parallel.fallback=2x0"}, {"parallel.fallback = 2x0 is refused"}},
    {"fallbacks_can_run", {"parallel.fallback=1x1x1x1"}, {"parallel.fallback = 1x1x1x1 is refused"}},
    {"fallbacks_can_run",
     {"parallel.fallback=2x1,8x1"},
     {"parallel.fallback = 2x1,8x1: the mesh 8x1 cannot run", "model.heads = 12", "parallel.tensor = 8"}},
    {"fallbacks_can_run", {"parallel.fallback=1x13"}, {"the mesh 1x13", "model.layers = 12"}},
    {"batch_over_microbatch", {"parallel.microbatch=3"}, {"train.batch = 8", "parallel.microbatch = 3", "(1 2 4 8)"}},
    {"batch_over_data", {"parallel.data=9"}, {"train.batch = 8", "parallel.data = 9", "train.batch = 9"}},
    {"min_lr_below_lr", {"optimizer.lr=1e-5"}, {"optimizer.min_lr = 6e-05", "optimizer.lr = 1e-05"}},
    {"warmup_within_steps", {"optimizer.warmup=2k"}, {"optimizer.warmup = 2000", "train.steps = 1000"}},
    {"decay_within_steps",
     {"optimizer.schedule=wsd", "optimizer.decay=900", "optimizer.warmup=200"},
     {"optimizer.warmup = 200", "optimizer.decay = 900", "optimizer.decay = 800"}},
    {"evaluation_has_data",
     {"train.eval_every=10", "data.validation_fraction=0"},
     {"train.eval_every = 10", "data.validation_fraction = 0"}},
    {"local_is_a_place", {"checkpoint.local=shm"}, {"checkpoint.local = shm", "/dev/shm"}},
    {"local_comes_between",
     {"checkpoint.local=/dev/shm", "checkpoint.local_every=500"},
     {"checkpoint.local_every = 500", "checkpoint.every_steps = 500"}},
    {"overhead_has_an_interval",
     {"checkpoint.overhead=0.02"},
     {"checkpoint.overhead = 0.02", "checkpoint.interval = auto"}},
    {"gpus_for_what_carries_their_memory",
     {"comm.device=nccl"},
     {"comm.device = nccl", "run.backend = cpu", "run.backend = cuda"}},
    {"messages_are_checked_in_host_memory",
     {"run.backend=cuda", "comm.device=ucx", "comm.checksum=on"},
     {"comm.checksum = on", "comm.device = ucx", "comm.device = staged"}},
    {"nccl_has_its_own_collectives",
     {"run.backend=cuda", "comm.device=nccl", "comm.all_gather=ring"},
     {"comm.all_gather = ring", "comm.device = nccl", "comm.device = staged"}},
    {"shared_needs_shared_memory",
     {"comm.barrier=shared", "comm.shared_memory=off"},
     {"comm.barrier = shared", "comm.shared_memory = off", "comm.barrier = auto"}},
};

TEST(Rules, EachSaysBothKeysBothValuesAndAFix) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.rule);
    try {
      load_text("", "x.ini", c.overrides);
      ADD_FAILURE() << "accepted";
    } catch (const ConfigError& e) {
      for (const std::string& w : c.words) EXPECT_NE(std::string(e.what()).find(w), std::string::npos) << e.what();
    }
  }
}

TEST(Rules, EveryRuleHasACase) {
  std::set<std::string> with_case;
  for (const Case& c : kCases) with_case.insert(c.rule);
  for (const Rule& r : rules()) EXPECT_EQ(with_case.count(r.name), 1u) << r.name;
}

TEST(Rules, AcceptWhatFits) {
  const std::vector<std::string> overrides{"parallel.pipeline=2",    "parallel.stages=5, 7", "parallel.tensor=4",
                                           "parallel.sequence=true", "model.kv_heads=4",     "parallel.data=2"};
  EXPECT_NO_THROW(load_text("", "x.ini", overrides));
}

TEST(Rules, ZeroesStandForWhatTheSentencesSay) {
  model_section m = defaults().model;
  EXPECT_EQ(effective_kv_heads(m), 12);
  EXPECT_EQ(effective_ffn(m), 3072);
  m.mlp = "swiglu";
  m.width = 4096;
  EXPECT_EQ(effective_ffn(m), 10944);
  m.ffn = 7;
  EXPECT_EQ(effective_ffn(m), 7);
  EXPECT_EQ(divisors_text(1), "1");
  EXPECT_EQ(divisors_text(12), "1 2 3 4 6 12");
}

TEST(Rules, ZeroVirtualStagesAreWhatTheScheduleTakes) {
  Config c = defaults();
  EXPECT_EQ(effective_virtual_stages(c.parallel), 1);
  c.parallel.schedule = "interleaved";
  EXPECT_EQ(effective_virtual_stages(c.parallel), 2);
  c.parallel.virtual_stages = 3;
  EXPECT_EQ(effective_virtual_stages(c.parallel), 3);
  c.parallel.virtual_stages = 0;
  c.parallel.schedule = "zb-v";
  EXPECT_EQ(effective_virtual_stages(c.parallel), 2);
  c.parallel.schedule = "interleaved";
  c.parallel.pipeline = 4;
  EXPECT_EQ(with_mesh(c, {1, 2}).parallel.schedule, "interleaved");
  // A pipeline of one stage has nothing to interleave.
  const Config one = with_mesh(c, {2, 1});
  EXPECT_EQ(one.parallel.schedule, "1f1b");
  EXPECT_EQ(effective_virtual_stages(one.parallel), 1);
}

TEST(FallbackList, IsReadInItsOrder) {
  EXPECT_TRUE(fallback_list("none").empty());
  EXPECT_EQ(fallback_list("2x1"), (std::vector<FallbackMesh>{{2, 1, 0}}));
  EXPECT_EQ(fallback_list("2x2, 1 x 2 x 3"), (std::vector<FallbackMesh>{{2, 2, 0}, {1, 2, 3}}));
  EXPECT_EQ((FallbackMesh{1, 2, 3}.str()), "1x2x3");
}

TEST(WithMesh, TakesAlongWhatDependsOnTheMesh) {
  Config c = defaults();
  c.parallel.tensor = 4;
  c.parallel.pipeline = 2;
  c.parallel.sequence = true;
  c.parallel.stages = "5,7";
  c.parallel.fallback = "2x2,1x1";
  const Config half = with_mesh(c, {2, 2, 0});
  EXPECT_EQ(half.parallel.tensor, 2);
  EXPECT_TRUE(half.parallel.sequence);
  EXPECT_EQ(half.parallel.stages, "5,7");
  EXPECT_EQ(half.parallel.fallback, "none");
  const Config one = with_mesh(c, {1, 1, 3});
  EXPECT_FALSE(one.parallel.sequence);
  EXPECT_EQ(one.parallel.stages, "auto");
  EXPECT_EQ(one.parallel.data, 3);
}

}  // namespace
}  // namespace banyan::config
