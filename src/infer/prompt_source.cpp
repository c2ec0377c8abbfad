#include "src/infer/prompt_source.hpp"

#include <fmt/core.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "io/atomic_file.hpp"
#include "src/base/error.hpp"
#include "src/base/json.hpp"

namespace banyan::infer {
namespace {

constexpr std::size_t kLargestPrompt = std::size_t{64} << 20;

/// A path the user mistyped is the user's to mend, not storage's.
void require_file(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error))
    throw UsageError("{} is no file that prompts could be read from; check the path", path);
}

}  // namespace

PromptSource::PromptSource(std::vector<std::string> texts, const std::optional<std::string>& file)
    : texts_(std::move(texts)) {
  if (!file) return;
  require_file(*file);
  texts_.push_back(io::read_limited(*file, kLargestPrompt));
}

PromptSource PromptSource::from_jsonl(const std::string& path) {
  PromptSource source;
  source.path_ = path;
  require_file(path);
  io::File::open_for_reading(path);  // says why, if it cannot be read
  source.lines_ = std::make_unique<std::ifstream>(path, std::ios::binary);
  if (!*source.lines_) throw IoError("{} cannot be read", path);
  return source;
}

std::vector<Request> PromptSource::next(std::int64_t count) {
  std::vector<Request> requests;
  if (!lines_) {
    for (; index_ < static_cast<std::int64_t>(texts_.size()) && count > 0; ++index_, --count)
      requests.push_back(
          {index_, std::move(texts_[static_cast<std::size_t>(index_)]), nullptr, fmt::format("prompt {}", index_ + 1)});
    return requests;
  }
  std::string line;
  while (static_cast<std::int64_t>(requests.size()) < count && std::getline(*lines_, line)) {
    ++line_;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    Request r{index_++, "", nullptr, fmt::format("{}:{}", path_, line_)};
    r.line = std::make_shared<Json>(parse_json(line, r.where, {.bytes = kLargestPrompt}));
    r.text = get<std::string>(*r.line, "prompt", r.where);
    requests.push_back(std::move(r));
  }
  if (lines_->bad()) throw IoError("{} cannot be read to its end", path_);
  return requests;
}

}  // namespace banyan::infer
