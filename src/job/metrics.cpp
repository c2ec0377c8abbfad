#include "src/job/metrics.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "src/base/error.hpp"

namespace banyan::job {
namespace {

constexpr std::size_t kLongestBacklog = 1 << 20;  // bytes

/// Shortest text that reads back as the same bits; JSON has no word for what is not finite.
std::string exact(double v) { return std::isfinite(v) ? fmt::format("{}", v) : "null"; }

}  // namespace

std::string json_line(const Metrics& metrics) {
  std::string line = "{";
  for (const Metric& m : metrics) {
    if (line.size() > 1) line += ", ";
    line += fmt::format("\"{}\": ", m.key);
    if (const auto* i = std::get_if<std::int64_t>(&m.value)) line += std::to_string(*i);
    if (const auto* d = std::get_if<double>(&m.value)) line += exact(*d);
    if (const auto* s = std::get_if<std::string>(&m.value))
      line += nlohmann::json(*s).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  }
  return line + "}";
}

std::string console_line(const Metrics& metrics) {
  std::string line;
  for (const Metric& m : metrics) {
    if (m.label.empty()) continue;
    if (!line.empty()) line += "  ";
    line += fmt::format("{} ", m.label);
    if (const auto* i = std::get_if<std::int64_t>(&m.value)) line += std::to_string(*i);
    if (const auto* d = std::get_if<double>(&m.value))
      line += m.digits >= 0 ? fmt::format("{:.{}f}", *d, m.digits) : fmt::format("{:.4g}", *d);
    if (const auto* s = std::get_if<std::string>(&m.value)) line += *s;
  }
  return line;
}

LineFile::LineFile(std::filesystem::path path) : path_(std::move(path)) {
  const int fd = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
  if (fd < 0)
    throw IoError("cannot open {}: {}; check that the directory is writable", path_.string(), std::strerror(errno));
  file_ = io::File(fd, path_);
  end_ = file_.size();
  for (char last[4096]; end_ > 0;) {
    const std::int64_t begin = std::max<std::int64_t>(0, end_ - static_cast<std::int64_t>(sizeof last));
    file_.read_at(begin, last, static_cast<std::size_t>(end_ - begin));
    const void* newline = memrchr(last, '\n', static_cast<std::size_t>(end_ - begin));
    end_ = newline ? begin + (static_cast<const char*>(newline) - last) + 1 : begin;
    if (newline) break;
  }
  if (end_ < file_.size() && ::ftruncate(fd, end_) != 0)
    throw IoError("cannot cut the torn last line of {}: {}", path_.string(), std::strerror(errno));
}

LineFile::~LineFile() {
  try {
    write_waiting();
  } catch (const IoError&) {  // told when they were appended
  }
}

void LineFile::append(std::string_view line) {
  waiting_ += line;
  waiting_ += '\n';
  while (waiting_.size() > kLongestBacklog) waiting_.erase(0, waiting_.find('\n') + 1);
  write_waiting();
}

void LineFile::write_waiting() {
  // Whoever took the run over has lines there, too; a piece of ours that could not be cut off is written over.
  if (!torn_) end_ = file_.size();
  try {
    file_.write_at(end_, waiting_.data(), waiting_.size());
  } catch (IoError&) {
    torn_ = ::ftruncate(file_.fd(), end_) != 0;
    throw;
  }
  torn_ = false;
  end_ += std::ssize(waiting_);
  waiting_.clear();
}

}  // namespace banyan::job
