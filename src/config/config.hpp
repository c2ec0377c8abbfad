// The effective configuration: one struct per section, one field per key of schema.def.  Plain data; made by load.hpp,
// immutable afterwards, translated into numbers by src/job/setup only.
#pragma once

#include <cstdint>
#include <string>

namespace banyan::config {

// Field types behind the type names of schema.def.
using Int = std::int64_t;
using Real = double;
using Bool = bool;
using Text = std::string;
using Bytes = std::int64_t;
using Time = double;  ///< seconds

#define SECTION(name, sentence) struct name##_section {
#define KEY(type, name, default_value, check, sentence) type name{};
#define END_SECTION(name) };
#include "src/config/schema.def"
#undef SECTION
#undef KEY
#undef END_SECTION

struct Config {
#define SECTION(name, sentence) name##_section name;
#define KEY(type, name, default_value, check, sentence)
#define END_SECTION(name)
#include "src/config/schema.def"
#undef SECTION
#undef KEY
#undef END_SECTION
};

}  // namespace banyan::config
