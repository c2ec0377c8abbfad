// The manifest of a checkpoint, from what each rank says about the file it wrote.  Pure.
#pragma once

#include <span>
#include <string>

#include "io/manifest.hpp"
#include "io/shard_file.hpp"

namespace banyan::job {

/// A rank's part on its way to rank 0.
std::string encode_part(const io::WrittenFile& written, std::span<const io::ShardData> tensors);

/// `head` with the files and tensors of all parts, shards in the order of their offsets.  Empty parts are of ranks that
/// wrote nothing.  BugError when ranks disagree on a tensor's shape or dtype.
io::Manifest join_parts(io::Manifest head, std::span<const std::string> parts);

}  // namespace banyan::job
