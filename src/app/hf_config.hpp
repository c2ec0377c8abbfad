// config.json of Hugging Face's GPT-2 and Llama, and our [model] section.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "src/app/hf_names.hpp"
#include "src/config/config.hpp"

namespace banyan::app {

/// The defaults with [model] as the file says.  DataError for what is damaged; ConfigError, naming the member, for a
/// variant that would be computed in another way here.
config::Config from_hf_config(const nlohmann::ordered_json& json, const std::string& context);

/// The members that describe a model, as their own program writes them.  `end_token` < 0: none is known.
nlohmann::ordered_json to_hf_config(const model::ModelShape& shape, HfKind kind, std::int64_t end_token);

}  // namespace banyan::app
