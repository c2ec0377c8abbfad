// Cuts text into the pieces that byte-pair encoding works on, with a regular expression through PCRE2.  Bytes that are
// no valid UTF-8, and everything else the expression does not match, become pieces of their own: nothing is lost.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace banyan::io {

/// GPT-2's expression and Llama 3's (each as published with its tokenizer).
extern const std::string_view kGpt2Pieces;
extern const std::string_view kLlama3Pieces;

class TextPieces {
 public:
  /// DataError when the expression does not compile.
  explicit TextPieces(std::string pattern);
  TextPieces(TextPieces&&) noexcept;
  TextPieces& operator=(TextPieces&&) noexcept;
  ~TextPieces();

  const std::string& pattern() const { return pattern_; }
  /// Calls `piece` with consecutive pieces of `text` that join to `text`.
  void for_each(std::string_view text, const std::function<void(std::string_view)>& piece) const;
  /// The last place in `text` at which cutting it changes no piece, 0 when there is none.  Known for the two
  /// expressions above: between a character that is no white space and a space (GPT-2: any ASCII white space).  Others:
  /// always 0.
  std::size_t last_safe_cut(std::string_view text) const;

 private:
  struct Compiled;
  std::string pattern_;
  std::unique_ptr<Compiled> compiled_;
};

}  // namespace banyan::io
