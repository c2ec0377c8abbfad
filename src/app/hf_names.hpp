// How Hugging Face names, fuses and turns the parameters of GPT-2 and Llama.  Pure data: import and export read it from
// its two ends.
//
//   GPT-2   weights of linear layers are [in, out]; q, k and v are one matrix, side by side.  Names begin with
//           "transformer." when a whole language model was saved, with nothing when only its body was.
//   Llama   weights are [out, in] like ours; everything is apart; rotary pairs are (i, i + D/2) in both.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/view.hpp"
#include "src/model/shapes.hpp"

namespace banyan::app {

enum class HfKind : std::uint8_t { kGpt2, kLlama };

/// A logical parameter inside a tensor of theirs.
struct HfPiece {
  std::string logical;
  Shape shape;             ///< of the logical parameter
  std::int64_t begin = 0;  ///< first output channel (element of a bias, row of a table) inside the tensor
};

struct HfTensor {
  std::string name;
  Shape shape;
  bool transposed = false;  ///< [in, out]
  std::vector<HfPiece> pieces;
};

inline constexpr const char* kGpt2Prefix = "transformer.";
/// Key of a checkpoint's small facts under which import keeps the prefix it met, so that export writes it again.
inline constexpr const char* kHfPrefix = "hf_prefix";

/// Which of the two a model is.  ConfigError naming the key that makes it neither.
HfKind hf_kind(const model::ModelShape& shape);
/// Their tensors, in the order of the forward pass.  `prefix` goes before the names of GPT-2's body.
std::vector<HfTensor> hf_tensors(const model::ModelShape& shape, HfKind kind, const std::string& prefix);
/// True for tensors that some files carry although they are no parameters: masks, tables of angles.
bool hf_ignored(const std::string& name);

}  // namespace banyan::app
