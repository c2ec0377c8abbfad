// The logical parameters of a model: named once here, unfused, unpadded, with global shape.  Checkpoints, import,
// export, digests and tests know parameters only by this list.  Linear weights are [out, in].
//
//   embed.token.weight [V,C]   embed.position.weight [T,C] (learned positions)
//   blocks.N.norm1.weight .bias?            blocks.N.attn.{q,k,v}.weight .bias?    blocks.N.attn.o.weight .bias?
//   blocks.N.norm2.weight .bias?            blocks.N.mlp.up.weight .bias?  blocks.N.mlp.gate.weight .bias? (swiglu)
//   blocks.N.mlp.down.weight .bias?         norm.weight .bias?             head.weight [V,C] (not tied)
// Norm biases exist for LayerNorm, linear biases for model.bias.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/view.hpp"
#include "src/model/shapes.hpp"

namespace banyan::model {

enum class Init : std::uint8_t { kZero, kOne, kNormal, kNormalResidual };  ///< residual: std / sqrt(2 layers)

/// Which dimension of the mesh an axis of a tensor is split over.  More members will come (expert).
enum class MeshAxis : std::uint8_t { kTensor };
struct Split {
  int axis;
  MeshAxis over;
};

struct LogicalParam {
  std::string name;
  Shape shape;                ///< global
  std::vector<Split> splits;  ///< empty: replicated over the tensor ranks
  Init init = Init::kZero;
  bool decay = false;      ///< weight decay applies (matrices)
  std::int64_t block = 0;  ///< 0 .. layers-1; -1 before the blocks; layers after them
};

/// "blocks.N.", with which the names of a block's parameters begin.
std::string block_prefix(std::int64_t block);

/// The list, in the order of the forward pass.
std::vector<LogicalParam> logical_params(const ModelShape& shape);

/// [begin, end) of an axis of `extent` that member i of n owns.  Vocabulary-split axes divide the extent padded to a
/// multiple of n, so late members may own less, or nothing; all other axes divide evenly (checked by config rules).
struct Range {
  std::int64_t begin = 0, end = 0;
  std::int64_t count() const { return end - begin; }
  bool operator==(const Range&) const = default;
};
Range split_range(std::int64_t extent, int i, int n);

/// Initial values of rows [rows.begin, rows.end) and columns [columns.begin, columns.end) of a parameter, as a function
/// of (seed, name, global index) only.  1-D tensors use rows.  Writes fp32 in row-major order.
void init_values(const LogicalParam& param, const ModelShape& shape, std::uint64_t seed, Range rows, Range columns,
                 float* out);

}  // namespace banyan::model
