// The choice of the next token.  A pure function of the logits and of (seed, prompt, position): neither the mesh nor
// the prompts generated beside it nor time can change it.
#pragma once

#include <cstdint>
#include <span>

namespace banyan::infer {

struct SamplingOptions {
  double temperature = 0.8;  ///< 0: always the likeliest token
  std::int64_t top_k = 0;    ///< only this many likeliest tokens; 0: all
  double top_p = 1;          ///< only the likeliest tokens that together have this probability
  std::uint64_t seed = 1;
};

/// Index of the chosen logit.  `prompt` numbers the prompts of the job, `position` is the new token's place in its
/// sequence.  Of equal logits the lower index counts as likelier.  NumericsError when the logits are not finite.
std::int32_t sample(std::span<const float> logits, const SamplingOptions& options, std::int64_t prompt,
                    std::int64_t position);

}  // namespace banyan::infer
