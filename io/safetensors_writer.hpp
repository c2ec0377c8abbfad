// Writes one safetensors file of fp32 tensors in the layout of the format's own Python package: tensors ordered by
// name, header padded to eight bytes, metadata {"format": "pt"}.  Equal tensors give equal bytes.  Values may come in
// any order; the file appears under its name when it is complete and on storage.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "io/atomic_file.hpp"
#include "src/base/view.hpp"

namespace banyan::io {

class SafetensorsWriter {
 public:
  struct Entry {
    std::string name;
    Shape shape;
  };
  /// Creates PATH.tmp with room for everything.  BugError when a name occurs twice.
  SafetensorsWriter(std::filesystem::path path, std::vector<Entry> entries);
  /// Removes PATH.tmp unless committed.
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  /// Elements first, first + 1, ... (row-major) of a tensor.  Each element is to be written once.
  void write(const std::string& name, std::int64_t first, std::span<const float> values);
  /// Syncs and renames.  BugError when values are missing.
  void commit();
  /// Bytes of all values.
  std::int64_t value_bytes() const { return value_bytes_; }

 private:
  struct Place {
    std::int64_t begin = 0, elements = 0, written = 0;  ///< begin: bytes from the start of the file
  };
  std::filesystem::path path_, tmp_;
  std::map<std::string, Place> places_;
  std::int64_t value_bytes_ = 0;
  File file_;
  bool committed_ = false;
};

}  // namespace banyan::io
