// Byte-level byte-pair encoding as GPT-2 and Llama 3 use it: text is cut into pieces by a regular expression, each
// piece is merged pair by pair in the order in which the merges were learned (Sennrich et al., ACL'16, algorithm 1, on
// bytes). Every byte string, valid UTF-8 or not, encodes and decodes back to exactly itself.
//
// Serialised as Hugging Face's tokenizer.json.  Accepted there: model BPE with byte-level pre-tokenizer, alone or
// behind a Split by a regular expression; everything else is refused with a sentence. A Tokenizer is a value; not
// thread-safe (it caches pieces).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace banyan::io {

/// Text of the special token between documents.
inline constexpr std::string_view kEndOfText = "<|endoftext|>";

class Tokenizer {
 public:
  /// A directory with encoder.json and vocab.bpe (GPT-2) or tokenizer.json, or a tokenizer.json itself.
  static Tokenizer from_path(const std::filesystem::path& path);
  /// Text of a tokenizer.json.  DataError with `context` in front when it is damaged or of an unsupported kind.
  static Tokenizer from_json(std::string text, const std::string& context);
  /// GPT-2's two files.
  static Tokenizer from_gpt2(std::string_view encoder_json, std::string_view vocab_bpe, const std::string& context);
  /// Ids 0..255 are the bytes, 256+i is the result of merge i, the end token comes last.
  static Tokenizer from_merges(const std::vector<std::pair<std::int32_t, std::int32_t>>& merges);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  /// Ids are 0 .. vocab()-1; some may stand for nothing.
  std::int32_t vocab() const;
  /// Of the token between documents; -1 when the tokenizer has none.
  std::int32_t end_token() const;
  /// Never gives special tokens: their text is encoded like any other.
  std::vector<std::int32_t> encode(std::string_view text);
  void encode(std::string_view text, std::vector<std::int32_t>& append_to);
  /// Bytes of one token (special tokens: their text).  BugError for an id outside the vocabulary.
  const std::string& bytes_of(std::int32_t id) const;
  std::string decode(std::span<const std::int32_t> ids) const;
  /// tokenizer.json; the original text where there was one.
  const std::string& json() const;
  /// Calls `piece` with each piece the regular expression cuts `text` into; they join to `text`.
  void for_each_piece(std::string_view text, const std::function<void(std::string_view)>& piece) const;
  /// The last place in `text` where it may be cut without changing the tokens of what precedes and follows, or 0.
  std::size_t last_safe_cut(std::string_view text) const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Encodes a document that comes in parts, with memory bounded by `kLargestRun`, giving the same tokens as encoding it
/// at once.  (Text without white space for longer than that is cut there; it still decodes to the same bytes.)
class StreamEncoder {
 public:
  static constexpr std::size_t kLargestRun = std::size_t{16} << 20;
  explicit StreamEncoder(Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  /// Appends the tokens that are certain by now.
  void feed(std::string_view part, std::vector<std::int32_t>& append_to);
  /// Ends the document: the rest.
  void finish(std::vector<std::int32_t>& append_to);

 private:
  Tokenizer& tokenizer_;
  std::string pending_;
};

}  // namespace banyan::io
