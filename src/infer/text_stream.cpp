#include "src/infer/text_stream.hpp"

#include <cstddef>

namespace banyan::infer {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

/// What the bytes from `at` on begin with (Unicode 15, table 3-7: well-formed UTF-8 byte sequences).
struct Piece {
  enum Kind { kCharacter, kBroken, kIncomplete } kind;
  std::size_t length;  ///< of the character, or of the longest prefix that began one (at least 1)
};

Piece piece(std::string_view s) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {Piece::kCharacter, 1};
  std::size_t length = 0;
  unsigned char low = 0x80, high = 0xBF;  // bounds of the second byte
  if (lead >= 0xC2 && lead <= 0xDF)
    length = 2;
  else if (lead >= 0xE0 && lead <= 0xEF)
    length = 3;
  else if (lead >= 0xF0 && lead <= 0xF4)
    length = 4;
  else
    return {Piece::kBroken, 1};
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;  // no surrogates
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  for (std::size_t i = 1; i < length; ++i) {
    if (i == s.size()) return {Piece::kIncomplete, i};
    if (byte(i) < low || byte(i) > high) return {Piece::kBroken, i};
    low = 0x80;
    high = 0xBF;
  }
  return {Piece::kCharacter, length};
}

}  // namespace

std::string TextStream::push(std::string_view bytes) {
  held_ += bytes;
  std::string text;
  std::size_t at = 0;
  while (at < held_.size()) {
    const Piece p = piece(std::string_view(held_).substr(at));
    if (p.kind == Piece::kIncomplete) break;
    if (p.kind == Piece::kCharacter)
      text.append(held_, at, p.length);
    else
      text += kReplacement;
    at += p.length;
  }
  held_.erase(0, at);
  return text;
}

std::string TextStream::finish() {
  const bool broken = !held_.empty();
  held_.clear();
  return broken ? std::string(kReplacement) : std::string();
}

std::string valid_utf8(std::string_view bytes) {
  TextStream stream;
  std::string text = stream.push(bytes);
  return text + stream.finish();
}

}  // namespace banyan::infer
