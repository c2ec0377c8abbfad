#include "src/job/choices.hpp"

#include <filesystem>
#include <map>
#include <set>
#include <sstream>
#include <vector>

#include "io/atomic_file.hpp"
#include "io/checksum.hpp"
#include "src/base/error.hpp"
#include "src/base/log.hpp"
#include "src/job/setup.hpp"

namespace banyan::job {
namespace {

constexpr std::size_t kMostBytes = std::size_t{16} << 20;
constexpr std::string_view kDigest = "digest ";

std::filesystem::path file_of(const Job& job) { return job.run_dir / "algorithms.txt"; }

std::string kept_by(const Job& job) {
  std::string text;
  io::read_if_there(file_of(job), kMostBytes, text);
  return text;
}

std::string shape_of(const std::string& line) { return line.substr(0, line.find(" :")); }
std::string first_line_of(std::string_view text) { return std::string(text.substr(0, text.find('\n'))); }

/// Lines by shape of each library and device.
using Blocks = std::map<std::string, std::map<std::string, std::string>>;

void add(Blocks& blocks, std::string_view text) {
  std::istringstream lines{std::string(text)};
  std::map<std::string, std::string>* block = nullptr;
  for (std::string line; std::getline(lines, line);) {
    if (const bool about_a_shape = line.find(" :") != std::string::npos; !about_a_shape)
      block = &blocks[line];
    else if (block)
      block->emplace(shape_of(line), line);
  }
}

/// Shapes for which texts of one first line say different things.
std::set<std::string> disagreements(std::span<const std::string> texts) {
  Blocks blocks;
  std::set<std::string> shapes;
  for (const std::string& text : texts) {
    const std::string first = first_line_of(text);
    std::istringstream lines(text);
    std::string line;
    for (std::getline(lines, line); std::getline(lines, line);)
      if (blocks[first].emplace(shape_of(line), line).first->second != line) shapes.insert(shape_of(line));
  }
  return shapes;
}

}  // namespace

std::string merge_choices(std::string_view kept, std::span<const std::string> of_ranks) {
  Blocks blocks;
  add(blocks, kept);
  for (const std::string& text : of_ranks) add(blocks, text);
  std::string merged;
  for (const auto& [first, lines] : blocks) {
    if (lines.empty()) continue;
    merged += first + "\n";
    for (const auto& [shape, line] : lines) merged += line + "\n";
  }
  return merged.empty() ? merged : merged + std::string(kDigest) + io::digest_bytes(merged) + "\n";
}

std::string choices_of(std::string_view text, std::string_view first_line) {
  Blocks blocks;
  add(blocks, text);
  const auto found = blocks.find(std::string(first_line));
  if (found == blocks.end() || found->second.empty()) return "";
  std::string block = found->first + "\n";
  for (const auto& [shape, line] : found->second) block += line + "\n";
  return block;
}

std::string checked_choices(std::string_view text, const std::string& file) {
  if (text.empty()) return "";
  const std::size_t at = text.rfind(kDigest);
  const bool whole = at != std::string_view::npos && (at == 0 || text[at - 1] == '\n') &&
                     text.substr(at) == std::string(kDigest) + io::digest_bytes(text.substr(0, at)) + "\n";
  if (!whole)
    throw ConfigError(
        "{} is damaged: its digest is not that of its lines; remove it, and the algorithms of matrix products are "
        "chosen anew",
        file);
  return std::string(text.substr(0, at));
}

void recall_choices(Job& job) {
  kernels::DeviceBackend* const device = job.device();
  if (!device) return;
  const std::string file = file_of(job).string();
  const std::string text = checked_choices(
      comm::broadcast_string(*job.everyone, job.root() ? kept_by(job) : "", 0, "the algorithms of the run"), file);
  if (text.empty()) return;
  const std::string mine = choices_of(text, first_line_of(device->choices()));
  const bool recalled = !mine.empty() && device->recall(mine);
  const std::int64_t others = comm::all_reduce_value(*job.everyone, std::int64_t{recalled ? 0 : 1},
                                                     comm::ReduceOp::kSum, "the algorithms of the run");
  if (others > 0 && job.root())
    log::warning(
        "{} says nothing about the library and GPU of {} of {} ranks, which choose the algorithms of their products "
        "anew: results may differ in their last digits from those of a run that went on with the same ones",
        file, others, job.world.size());
}

void keep_choices(Job& job) {
  kernels::DeviceBackend* const device = job.device();
  if (!device) return;
  const std::vector<std::string> all =
      comm::all_gather_strings(*job.everyone, device->choices(), "the algorithms of all ranks");
  if (!job.root()) return;
  if (const std::set<std::string> shapes = disagreements(all); !shapes.empty())
    log::warning(
        "ranks with the same GPU and library have chosen different algorithms for {} shapes of matrix products, the "
        "first of which is {}: they differ in their last digits",
        shapes.size(), *shapes.begin());
  const std::string before = kept_by(job), file = file_of(job).string();
  const std::string text = merge_choices(checked_choices(before, file), all);
  if (text != before) io::write_atomic(file_of(job), text);
}

}  // namespace banyan::job
