// A config for tests, made by hand so that these tests do not depend on parsing: GPT-2 124M on one rank.
#pragma once

#include "src/config/config.hpp"

namespace banyan::plan {

inline config::Config gpt2_124m() {
  config::Config c;
  c.run.seed = 1;
  c.run.precision = "fp32";
  c.generate.weights = "fp32";
  c.model.layers = 12;
  c.model.width = 768;
  c.model.heads = 12;
  c.model.context = 1024;
  c.model.vocab = 50257;
  c.model.norm = "layer";
  c.model.position = "learned";
  c.model.mlp = "gelu";
  c.model.bias = true;
  c.model.tied = true;
  c.model.rope_theta = 10000;
  c.model.norm_eps = 1e-5;
  c.model.init_std = 0.02;
  c.parallel.tensor = 1;
  c.parallel.pipeline = 1;
  c.parallel.data = 0;
  c.parallel.zero = 0;
  c.parallel.schedule = "1f1b";
  c.parallel.stages = "auto";
  c.parallel.microbatch = 1;
  c.parallel.tensor_blocks = 1;
  c.parallel.bucket = 25 << 20;
  c.train.batch = 8;
  c.train.recompute = "none";
  c.checkpoint.every_steps = 500;
  return c;
}

}  // namespace banyan::plan
