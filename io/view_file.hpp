// HDF5 files for people and Python: whole tensors under readable names,
//   /params/blocks/0/attn/q/weight   /optimizer/m/blocks/0/attn/q/weight   /optimizer/v/...
// Neither is ever read by this program: a virtual dataset whose source is missing silently reads as zeros.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "io/checkpoint_reader.hpp"
#include "io/manifest.hpp"

namespace banyan::io {

inline constexpr const char* kViewName = "view.h5";

/// Path of a tensor in these files.
std::string view_path(const Tensor& tensor);

/// Writes DIRECTORY/view.h5: virtual datasets over the shard files beside it (named relatively, so that the directory
/// may be moved).  A handful of kilobytes, whatever the size of the model.
void write_view(const std::filesystem::path& directory, const Manifest& manifest);

/// Writes one HDF5 file that holds every tensor in full, streaming; each shard is checked on the way.  The file appears
/// under its name when it is complete.  `progress` is told bytes done and bytes in total.
void write_merged(CheckpointReader& reader, const std::filesystem::path& out,
                  const std::function<void(std::int64_t done, std::int64_t total)>& progress = {});

}  // namespace banyan::io
