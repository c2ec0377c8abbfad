#include "src/job/root_file.hpp"

#include <filesystem>

#include "io/atomic_file.hpp"
#include "src/base/error.hpp"

namespace banyan::job {
namespace {

constexpr std::size_t kLargestFile = 64 << 20;

}  // namespace

std::string read_for_all(comm::Communicator& everyone, const std::string& file, const char* key) {
  std::string text;
  if (everyone.rank() == 0) {
    std::error_code error;
    if (!std::filesystem::exists(file, error)) throw ConfigError("{} = {}: there is no such file", key, file);
    text = io::read_limited(file, kLargestFile);
  }
  return comm::broadcast_string(everyone, text, 0, file + " from rank 0");
}

}  // namespace banyan::job
