#include "io/text_pieces.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <cstdint>

#include "src/base/error.hpp"

namespace banyan::io {

const std::string_view kGpt2Pieces = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const std::string_view kLlama3Pieces =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

namespace {

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

bool ascii_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool ascii_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/// True when the character that ends at `text`'s end is certainly no white space.
bool ends_in_non_space(std::string_view text) {
  const auto last = static_cast<unsigned char>(text.back());
  if (last < 0x80) return last > 0x20 && last != 0x7f;
  // White space beyond ASCII: U+0085, U+00A0, U+1680, U+180E, U+2000 to U+205F (a superset), U+3000.
  if (text.size() >= 2 && static_cast<unsigned char>(text[text.size() - 2]) == 0xC2)
    return last != 0x85 && last != 0xA0;
  if (text.size() < 3) return false;
  const auto first = static_cast<unsigned char>(text[text.size() - 3]);
  const auto second = static_cast<unsigned char>(text[text.size() - 2]);
  if (first == 0xE1) return second != 0x9A && second != 0xA0;
  if (first == 0xE2) return second != 0x80 && second != 0x81;
  if (first == 0xE3) return second != 0x80 || last != 0x80;
  return true;
}

}  // namespace

struct TextPieces::Compiled {
  pcre2_code* code = nullptr;
  pcre2_match_data* match = nullptr;
  pcre2_match_context* context = nullptr;
  ~Compiled() {
    pcre2_match_context_free(context);
    pcre2_match_data_free(match);
    pcre2_code_free(code);
  }
};

TextPieces::TextPieces(std::string pattern) : pattern_(std::move(pattern)), compiled_(std::make_unique<Compiled>()) {
  int error = 0;
  PCRE2_SIZE where = 0;
  compiled_->code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern_.data()), pattern_.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C, &error, &where, nullptr);
  if (!compiled_->code)
    throw DataError("the splitting expression of the tokenizer does not compile at character {}: {}", where,
                    message_of(error));
  pcre2_jit_compile(compiled_->code, PCRE2_JIT_COMPLETE);  // without JIT it is only slower
  compiled_->match = pcre2_match_data_create(1, nullptr);
  compiled_->context = pcre2_match_context_create(nullptr);
  if (!compiled_->match || !compiled_->context) throw DataError("no memory for the tokenizer's splitting expression");
  // A hostile expression must end with an error, not run for ever.
  pcre2_set_match_limit(compiled_->context, 10'000'000);
}

TextPieces::TextPieces(TextPieces&&) noexcept = default;
TextPieces& TextPieces::operator=(TextPieces&&) noexcept = default;
TextPieces::~TextPieces() = default;

void TextPieces::for_each(std::string_view text, const std::function<void(std::string_view)>& piece) const {
  const PCRE2_SIZE* place = pcre2_get_ovector_pointer(compiled_->match);
  std::size_t done = 0, at = 0;
  while (at < text.size()) {
    const int found = pcre2_match(compiled_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                                  PCRE2_NOTEMPTY, compiled_->match, compiled_->context);
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) throw DataError("splitting text for the tokenizer failed: {}", message_of(found));
    if (place[0] > done) piece(text.substr(done, place[0] - done));
    piece(text.substr(place[0], place[1] - place[0]));
    done = at = place[1];
  }
  if (done < text.size()) piece(text.substr(done));
}

std::size_t TextPieces::last_safe_cut(std::string_view text) const {
  const bool gpt2 = pattern_ == kGpt2Pieces, llama3 = pattern_ == kLlama3Pieces;
  if (!gpt2 && !llama3) return 0;
  for (std::size_t cut = text.size() - (text.empty() ? 0 : 1); cut > 0; --cut) {
    if (!ascii_space(text[cut]) || !ends_in_non_space(text.substr(0, cut))) continue;
    // Llama 3 joins line ends to the punctuation before them, and letters to the character before them.
    if (gpt2 || text[cut] == ' ' || ascii_letter(text[cut - 1])) return cut;
  }
  return 0;
}

}  // namespace banyan::io
