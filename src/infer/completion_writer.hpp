// Shows completions, on the one rank that reads and writes.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/tokenizer.hpp"
#include "src/infer/batcher.hpp"
#include "src/infer/prompt_source.hpp"
#include "src/infer/text_stream.hpp"

namespace banyan::infer {

/// Prompts and their completions as running text on standard output, one after the other in the order of the prompts;
/// the first that is not finished grows on the screen token by token.
class TextPrinter {
 public:
  explicit TextPrinter(const io::Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  void begin(std::span<const Request> requests) { requests_ = requests; }
  /// What is known of the first completions of the requests; `finished(i)` says which will not grow any more.
  template <class Finished>
  void show(std::span<const Completion> completions, Finished finished) {
    while (at_ < completions.size()) {
      const bool whole = finished(at_);
      print(completions[at_], whole);  // goes on to the next one when it is whole
      if (!whole) return;
    }
  }

 private:
  void print(const Completion& completion, bool finished);

  const io::Tokenizer& tokenizer_;
  std::span<const Request> requests_;
  std::size_t at_ = 0, printed_ = 0;  ///< the completion being shown, and its tokens shown
  bool opened_ = false;
  TextStream stream_;
};

/// One JSON object a line: the members of the request's line, then "text" (valid UTF-8), "tokens" (exact ids) and
/// "finish".
class JsonlWriter {
 public:
  /// An empty path is standard output.  UsageError when the file exists and `replace` is not set.
  JsonlWriter(const io::Tokenizer& tokenizer, const std::string& path, bool replace);
  void write(const Request& request, const Completion& completion);
  /// IoError unless everything has arrived.
  void close();

 private:
  struct Closer {
    void operator()(std::FILE* file) const;
  };
  const io::Tokenizer& tokenizer_;
  std::string path_;
  std::unique_ptr<std::FILE, Closer> file_;
};

}  // namespace banyan::infer
