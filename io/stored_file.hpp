// Files as they lie on storage, read past the system's cache where that can be done.
#pragma once

#include <atomic>
#include <filesystem>

#include "io/checksum.hpp"
#include "io/manifest.hpp"

namespace banyan::io {

/// Digest of what storage holds.  Ends with an IoError soon after `cancel` is set, if there is one.
HexDigest stored_digest(const std::filesystem::path& path, const std::atomic<bool>* cancel);
/// The same, and an IoError when it is another one than `digest`.
void require_stored(const std::filesystem::path& path, const HexDigest& digest, const std::atomic<bool>* cancel);

/// Copies FROM/NAME to TO/NAME, which must not be there; durable when this returns, but for the entry in TO.
/// DataError when the file has not the size or digest that `file` says; IoError when the system fails, or, with
/// `verify`, when the copy is read back and differs.  What is left then is for the caller to remove.
void copy_stored(const std::filesystem::path& from, const std::filesystem::path& to, const ManifestFile& file,
                 bool verify, const std::atomic<bool>* cancel);

}  // namespace banyan::io
