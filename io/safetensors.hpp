// Tensors in the safetensors format: eight bytes with the length of a JSON header (little endian), the header
// {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ..., "__metadata__": {"key": "text"}}, then the
// values of all tensors end to end.  A model may be cut into several files that an index names.
//
// The header is hostile until checked: its length, depth, names, dtypes, shapes and offsets are looked at before
// anything is allocated by them, and the tensors must cover the rest of the file exactly once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/atomic_file.hpp"
#include "src/base/view.hpp"

namespace banyan::io {

/// One tensor of a file.
struct SafeTensor {
  std::string name, dtype;  ///< dtype as the file spells it: "F32", "BF16", "BOOL", ...
  Shape shape;
  std::int64_t begin = 0, end = 0;  ///< bytes, counted from the end of the header
  int file = 0;                     ///< of the model it belongs to
};

/// Tensors of a header, in the order of their places.  `data_bytes` is what the file holds behind the header. DataError
/// with `context` in front for everything the format does not allow.
std::vector<SafeTensor> parse_safetensors_header(std::string_view json, std::int64_t data_bytes,
                                                 const std::string& context);

/// A model: one file, or a directory with model.safetensors or model.safetensors.index.json.
class Safetensors {
 public:
  explicit Safetensors(const std::filesystem::path& path);

  /// By name.
  const std::map<std::string, SafeTensor>& tensors() const { return tensors_; }
  /// nullptr when there is none.
  const SafeTensor* find(const std::string& name) const;
  /// Elements first, first + 1, ... (row-major) as fp32.  Exact: F32, F16 and BF16 only, DataError for other types.
  void read(const SafeTensor& tensor, std::int64_t first, std::span<float> out) const;

 private:
  void add_file(const std::filesystem::path& path);
  void add_index(const std::filesystem::path& directory);

  std::vector<File> files_;
  std::vector<std::int64_t> data_begin_;  ///< of each file
  std::map<std::string, SafeTensor> tensors_;
};

}  // namespace banyan::io
