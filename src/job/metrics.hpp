// What is measured at a step, as one list: the console line and the line of metrics.jsonl are two ways to write it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "io/atomic_file.hpp"

namespace banyan::job {

struct Metric {
  std::string_view key;  ///< in metrics.jsonl
  std::variant<std::int64_t, double, std::string> value;
  std::string_view label = {};  ///< on the console, in front of the value; empty: only in the file
  int digits = -1;  ///< on the console: digits behind the point of a real number; -1: as few as say it exactly
};
using Metrics = std::vector<Metric>;

/// One JSON object without a line break.  Real numbers round-trip to the bit; NaN and infinity are written as null.
std::string json_line(const Metrics& metrics);
/// "step 120  loss 3.1416  lr 6e-4".
std::string console_line(const Metrics& metrics);

/// A file of lines that only grows.  A torn last line, left by a process that died while writing it, is cut when the
/// file is opened.  Lines that a full disk did not take are written before the next one, or in the end; more than a MiB
/// of them is not kept.
class LineFile {
 public:
  explicit LineFile(std::filesystem::path path);
  ~LineFile();
  LineFile(const LineFile&) = delete;
  LineFile& operator=(const LineFile&) = delete;
  /// IoError naming the file when the line has to wait.
  void append(std::string_view line);

 private:
  void write_waiting();

  std::filesystem::path path_;
  io::File file_;
  std::int64_t end_ = 0;  ///< behind the last whole line
  bool torn_ = false;     ///< a piece of a line is behind it
  std::string waiting_;   ///< whole lines
};

}  // namespace banyan::job
