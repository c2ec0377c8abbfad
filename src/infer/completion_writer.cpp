#include "src/infer/completion_writer.hpp"

#include <fmt/core.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "src/base/error.hpp"
#include "src/base/json.hpp"

namespace banyan::infer {
namespace {

void put(std::FILE* file, const std::string& text, const std::string& path) {
  if (std::fwrite(text.data(), 1, text.size(), file) != text.size() || std::fflush(file) != 0)
    throw IoError("{} cannot be written: {}", path, std::strerror(errno));
}

}  // namespace

void TextPrinter::print(const Completion& completion, bool finished) {
  std::string text;
  if (!opened_) {
    opened_ = true;
    if (at_ > 0) text = "\n";
    text += valid_utf8(requests_[at_].text);
  }
  for (; printed_ < completion.tokens.size(); ++printed_)
    text += stream_.push(tokenizer_.bytes_of(completion.tokens[printed_]));
  if (finished) {
    text += stream_.finish() + "\n";
    ++at_;
    printed_ = 0;
    opened_ = false;
  }
  put(stdout, text, "standard output");
}

void JsonlWriter::Closer::operator()(std::FILE* file) const {
  if (file != stdout) std::fclose(file);
}

JsonlWriter::JsonlWriter(const io::Tokenizer& tokenizer, const std::string& path, bool replace)
    : tokenizer_(tokenizer), path_(path.empty() ? "standard output" : path) {
  // "x" leaves an existing file alone even when somebody makes it between a check and the opening.
  file_.reset(path.empty() ? stdout : std::fopen(path.c_str(), replace ? "wb" : "wbx"));
  if (file_) return;
  if (errno == EEXIST) throw UsageError("{} exists; name another file for --out, or add --force", path);
  throw IoError("{} cannot be created: {}", path, std::strerror(errno));
}

void JsonlWriter::write(const Request& request, const Completion& completion) {
  Json line = request.line ? *request.line : Json::object({{"prompt", request.text}});
  line["text"] = valid_utf8(tokenizer_.decode(completion.tokens));
  line["tokens"] = completion.tokens;
  line["finish"] = name_of(completion.finish);
  put(file_.get(), dump_line(line) + "\n", path_);
}

void JsonlWriter::close() {
  if (file_.get() == stdout) return;
  if (std::FILE* file = file_.release(); std::fclose(file) != 0)
    throw IoError("{} cannot be written: {}", path_, std::strerror(errno));
}

}  // namespace banyan::infer
