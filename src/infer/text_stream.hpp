// Bytes that arrive token by token become text that may be shown: a token can end inside a character, so bytes are held
// back until the character is complete.  Bytes that belong to no character become U+FFFD.
#pragma once

#include <string>
#include <string_view>

namespace banyan::infer {

class TextStream {
 public:
  /// Adds bytes and returns what is complete now; always valid UTF-8.
  std::string push(std::string_view bytes);
  /// The end: whatever is held back was no character.
  std::string finish();

 private:
  std::string held_;
};

/// All of `bytes` as valid UTF-8.
std::string valid_utf8(std::string_view bytes);

}  // namespace banyan::infer
