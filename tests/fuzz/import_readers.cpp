// What describes models of others.
#include "src/app/hf_config.hpp"
#include "src/base/error.hpp"
#include "src/base/json.hpp"
#include "src/plan/layout.hpp"
#include "tests/fuzz/readers.hpp"

namespace banyan::fuzz {
namespace {

void read_hf_config(std::string_view input) {
  try {
    plan::make_model_shape(app::from_hf_config(parse_json(input, "input"), "input"), 0);
  } catch (const DataError&) {
  } catch (const ConfigError&) {  // a variant that is not supported
  }
}

std::vector<std::string> hf_config_seeds() {
  return {R"({"model_type":"gpt2","n_embd":8,"n_head":2,"n_layer":3,"n_positions":16,"vocab_size":11,)"
          R"("activation_function":"gelu_new","layer_norm_epsilon":1e-5,"n_inner":null,"resid_pdrop":0.1})",
          R"({"model_type":"llama","hidden_size":8,"num_attention_heads":4,"num_key_value_heads":2,)"
          R"("num_hidden_layers":3,"intermediate_size":24,"max_position_embeddings":16,"vocab_size":11,)"
          R"("rms_norm_eps":1e-6,"rope_theta":500000.0,"hidden_act":"silu","rope_scaling":null})"};
}

}  // namespace

std::vector<Reader> import_readers() { return {{"hf_config", read_hf_config, hf_config_seeds}}; }

}  // namespace banyan::fuzz
