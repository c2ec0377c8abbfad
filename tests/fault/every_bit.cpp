// Damages every file of a checkpoint at every place and reads it each time: every bit turned round, every length it may
// be cut to, a hole of 512 bytes at every place.
//
//   every_bit CHECKPOINT STRIDE LANE LANES
//     STRIDE     every so many of these; LANE, LANES: of those the share of one process of several, each with a copy
//
// Promised: a check of all bytes sees each of them, and values that are read in spite of it are the right ones, from a
// manifest that is whole.  Prints one line for each broken promise, then the counts; exit code 1 when there was one.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>

#include "io/atomic_file.hpp"
#include "io/checkpoint_reader.hpp"
#include "src/base/error.hpp"

namespace {

using namespace banyan;
namespace fs = std::filesystem;

struct Seen {
  bool checked = false;  ///< by a check of all bytes
  bool read = false;     ///< by a reader of the values
  std::string values;    ///< which it got, if not
};

Seen look(const fs::path& checkpoint) {
  Seen seen;
  try {
    io::CheckpointReader reader(checkpoint);
    seen.checked = !reader.verify_files().empty();
    try {
      seen.values = reader.digest().hex();
    } catch (const DataError&) {
      seen.read = true;
    }
  } catch (const DataError&) {
    seen.checked = seen.read = true;
  }
  return seen;
}

class Damages {
 public:
  Damages(fs::path checkpoint, std::size_t stride, std::size_t lane, std::size_t lanes)
      : checkpoint_(std::move(checkpoint)), stride_(stride), lane_(lane), lanes_(lanes) {
    whole_ = look(checkpoint_).values;
  }

  void file(const std::string& name) {
    name_ = name;
    good_ = io::read_limited(checkpoint_ / name, 1 << 30);
    for (std::size_t bit = 0; bit < 8 * good_.size(); ++bit)
      if (due()) {
        std::string turned(1, static_cast<char>(good_[bit / 8] ^ (1 << bit % 8)));
        write(bit / 8, turned);
        judge("a turned bit", bit);
        write(bit / 8, good_.substr(bit / 8, 1));
      }
    for (std::size_t at = 0; at < good_.size(); ++at) {
      const std::string there = good_.substr(at, 512);
      if (std::all_of(there.begin(), there.end(), [](char c) { return c == 0; }) || !due()) continue;
      write(at, std::string(there.size(), '\0'));
      judge("a hole", at);
      write(at, there);
    }
    for (std::size_t size = good_.size(); size-- > 0;)
      if (due()) {
        fs::resize_file(checkpoint_ / name, size);
        judge("a cut", size);
        write(size, good_.substr(size));
      }
  }

  int report() const {
    std::printf("%zu faults injected, %zu of them read past without harm, %zu promises broken\n", injected_, harmless_,
                broken_);
    return broken_ == 0 && injected_ > 0 && !whole_.empty() ? 0 : 1;
  }

 private:
  bool due() { return n_++ / stride_ % lanes_ == lane_ && (n_ - 1) % stride_ == 0; }

  void write(std::size_t at, const std::string& bytes) const {
    const int fd = ::open((checkpoint_ / name_).c_str(), O_WRONLY);
    if (::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at)) != std::ssize(bytes))
      throw IoError("cannot write to {}", (checkpoint_ / name_).string());
    ::close(fd);
  }

  void judge(const char* what, std::size_t at) {
    const Seen seen = look(checkpoint_);
    ++injected_;
    harmless_ += !seen.read;
    if (seen.checked && (seen.read || (seen.values == whole_ && name_ != io::kManifestName))) return;
    ++broken_;
    std::printf("BROKEN %s of %s at %zu: %s\n", what, name_.c_str(), at,
                seen.checked ? "other values were read" : "a check of all bytes does not see it");
  }

  const fs::path checkpoint_;
  const std::size_t stride_, lane_, lanes_;
  std::string whole_, name_, good_;
  std::size_t n_ = 0, injected_ = 0, harmless_ = 0, broken_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 64;
  const fs::path checkpoint = argv[1];
  Damages damages(checkpoint, std::stoul(argv[2]), std::stoul(argv[3]), std::stoul(argv[4]));
  damages.file(io::kManifestName);
  const io::Manifest manifest = io::CheckpointReader(checkpoint).manifest();
  for (const io::ManifestFile& f : manifest.files) damages.file(f.name);
  return damages.report();
}
