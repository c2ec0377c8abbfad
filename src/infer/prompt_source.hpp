// Where prompts come from, on the one rank that reads and writes: the command line, a file, or the lines of a JSONL
// file.
#pragma once

#include <cstdint>
#include <fstream>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace banyan::infer {

struct Request {
  std::int64_t index = 0;
  std::string text;                              ///< any bytes
  std::shared_ptr<nlohmann::ordered_json> line;  ///< the JSONL object it came from, which the answer repeats
  std::string where;                             ///< for messages: "prompt 3", "in.jsonl:7"
};

class PromptSource {
 public:
  /// Texts from the command line, then the whole text of a file when there is one.
  PromptSource(std::vector<std::string> texts, const std::optional<std::string>& file);
  /// Lines of a JSONL file: objects with a string "prompt".  Read as they are needed.
  static PromptSource from_jsonl(const std::string& path);

  /// Up to `count` more; fewer only at the end.  DataError naming the line for what is no such object.
  std::vector<Request> next(std::int64_t count);

 private:
  PromptSource() = default;
  std::vector<std::string> texts_;
  std::string path_;
  std::unique_ptr<std::ifstream> lines_;
  std::int64_t line_ = 0, index_ = 0;
};

}  // namespace banyan::infer
