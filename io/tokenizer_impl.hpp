// Inside of Tokenizer, shared by tokenizer.cpp (encoding) and tokenizer_json.cpp (reading and writing).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "io/text_pieces.hpp"
#include "io/tokenizer.hpp"

namespace banyan::io {

struct TokenizerTables {
  struct Merge {
    std::int32_t rank, result;  ///< smaller ranks merge first
  };
  static std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
  }
  Merge merge(std::int32_t left, std::int32_t right) const;  ///< result -1: the two do not merge

  std::vector<std::string> bytes;                       ///< of every id
  std::unordered_map<std::string, std::int32_t> id_of;  ///< ordinary tokens only
  std::array<std::int32_t, 256> byte_id{};
  std::unordered_map<std::uint64_t, Merge> merges;
  std::int32_t end_token = -1;
  bool whole_pieces_first = false;  ///< tokenizer.json's ignore_merges
};

struct Tokenizer::Impl {
  Impl(TokenizerTables t, TextPieces p, std::string text)
      : tables(std::move(t)), pieces(std::move(p)), json(std::move(text)) {}
  void encode_piece(std::string_view piece, std::vector<std::int32_t>& append_to);

  TokenizerTables tables;
  TextPieces pieces;
  std::string json;
  std::unordered_map<std::string, std::vector<std::int32_t>> cache;
};

}  // namespace banyan::io
