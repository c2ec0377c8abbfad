#include "src/job/save.hpp"

#include "io/atomic_file.hpp"
#include "io/shard_file.hpp"
#include "io/stored_file.hpp"
#include "src/base/error.hpp"
#include "src/job/manifest_parts.hpp"
#include "src/job/shared_dir.hpp"

namespace banyan::job {

void Save::write(const std::atomic<bool>& cancel) {
  if (from.empty() ? mine.empty() : written.name.empty()) return;
  if (!comes_into_view(tmp)) throw IoError("{} is not visible here although rank 0 made it", tmp.string());
  if (from.empty()) {
    io::WriteOptions options{.cancel = &cancel, .checksums = {}, .verify = verify};
    if (copy) options.checksums = copy->checksums();
    const io::WrittenFile whole = io::write_shard_file(tmp, file, head, mine, options);
    written = whole.file;
    part = encode_part(whole, mine);
  } else {
    io::copy_stored(from, tmp, written, verify, &cancel);
  }
  io::fsync_dir(tmp);
}

bool of_storage(const Verdict& verdict) {
  const auto code = static_cast<ExitCode>(verdict.first().code);
  return code == ExitCode::kIoFailed || code == ExitCode::kBadData;
}

}  // namespace banyan::job
