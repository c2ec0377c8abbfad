#include "src/job/halt_file.hpp"

#include <fmt/core.h>

#include "io/atomic_file.hpp"
#include "src/base/error.hpp"
#include "src/base/units.hpp"

namespace banyan::job {
namespace {

constexpr std::string_view kAtStep = "at-step ";
constexpr std::size_t kLongest = 4096;

std::filesystem::path halt_path(const std::filesystem::path& run_dir) { return run_dir / "stop"; }

}  // namespace

std::string halt_text(const Halt& halt) {
  return halt.at_step > 0 ? fmt::format("at-step {}\n", halt.at_step) : "now\n";
}

Halt parse_halt(std::string_view text) {
  text = text.substr(0, text.find('\n'));
  if (text.substr(0, kAtStep.size()) != kAtStep) return {};
  const std::optional<std::int64_t> step = parse_count(text.substr(kAtStep.size()));
  return {step && *step > 0 ? *step : 0};
}

void write_halt(const std::filesystem::path& run_dir, const Halt& halt) {
  io::write_atomic(halt_path(run_dir), halt_text(halt));
}

std::optional<Halt> read_halt(const std::filesystem::path& run_dir) {
  std::string text;
  try {
    if (!io::read_if_there(halt_path(run_dir), kLongest, text)) return std::nullopt;
  } catch (const DataError&) {  // long, a link or a directory: there, and that is what counts
    return Halt{};
  } catch (const IoError&) {
    if (!io::path_exists(halt_path(run_dir))) return std::nullopt;  // taken away between two looks
    throw;
  }
  return parse_halt(text);
}

bool remove_halt(const std::filesystem::path& run_dir) {
  if (!io::path_exists(halt_path(run_dir))) return false;
  io::remove_tree(halt_path(run_dir));
  return true;
}

}  // namespace banyan::job
