// The file of tokens that training reads: one HDF5 file with the datasets
//   /tokens [n] u16 or u32        /documents [d] u64: where each document begins      /tokenizer: text of a
//   tokenizer.json /block_checksums [b] u64: XXH3 of every block of kBlockBytes of /tokens
// all contiguous, and in front of it (HDF5's user block, 512 bytes of text) a header that says where they lie and
// carries checksums of everything else in the file.  io/FORMAT.md has the grammar.
//
// Reading never trusts: the header's own checksum comes first, then sizes and places, then the checksum of HDF5's
// metadata.  The file is mapped, and the HDF5 library, which would follow whatever a crafted file tells it, never opens
// it. A block of tokens is verified when it is first touched, so a start costs nothing and no flipped bit reaches a
// model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/atomic_file.hpp"

namespace banyan::io {

inline constexpr std::size_t kTokenHeaderBytes = 512;
inline constexpr std::int64_t kTokenBlockBytes = std::int64_t{1} << 20;

/// Where one dataset lies in the file.
struct TokenFilePart {
  std::int64_t offset = 0, bytes = 0;
};

/// What the header says.
struct TokenFileHeader {
  std::int64_t file_bytes = 0;
  int width = 2;  ///< bytes of a token
  std::int64_t tokens = 0, documents = 0;
  std::int32_t vocab = 0, end_token = -1;
  TokenFilePart token_part, document_part, tokenizer_part, checksum_part;
  std::uint64_t document_sum = 0, tokenizer_sum = 0, checksum_sum = 0, metadata_sum = 0;

  std::string str() const;  ///< 512 bytes
  /// DataError when the text is no header, is damaged, or says what cannot be.
  static TokenFileHeader parse(std::string_view text, const std::string& path);
};

/// XXH3 of all bytes behind the header that belong to no dataset: HDF5's own.  `map` is the whole file.
std::uint64_t metadata_checksum(const TokenFileHeader& header, const std::byte* map);

/// An open token file.  Movable.  read() may verify, so one object belongs to one thread.
class TokenFile {
 public:
  /// DataError (missing, empty, truncated, damaged, or something else) or IoError.
  static TokenFile open(const std::filesystem::path& path);
  TokenFile(TokenFile&& other) noexcept;
  TokenFile& operator=(TokenFile&& other) noexcept;
  ~TokenFile();

  std::int64_t tokens() const { return header_.tokens; }
  std::int64_t documents() const { return header_.documents; }
  std::int32_t vocab() const { return header_.vocab; }
  std::int32_t end_token() const { return header_.end_token; }
  const std::string& path() const { return path_; }
  std::string_view tokenizer_json() const;
  /// First token of a document.
  std::int64_t document_begin(std::int64_t document) const;
  /// Tokens [begin, begin + out.size()).  DataError when they are damaged or outside the vocabulary.
  void read(std::int64_t begin, std::span<std::int32_t> out);
  /// Every block.
  void verify_all();
  /// Of everything in the file.
  const std::string& digest() const { return digest_; }

 private:
  TokenFile() = default;
  void verify_block(std::int64_t block);
  const std::byte* at(const TokenFilePart& part) const { return map_ + part.offset; }

  std::string path_, digest_;
  TokenFileHeader header_;
  const std::byte* map_ = nullptr;
  std::vector<bool> verified_;  ///< per block
};

/// Writes a token file as it comes, with memory that does not grow with it.  Nothing is visible under `path` before
/// finish() has made everything durable; without finish() nothing stays.
class TokenFileWriter {
 public:
  /// `vocab` decides the width.  An existing file is a UsageError unless `replace`.
  TokenFileWriter(std::filesystem::path path, std::int32_t vocab, std::int32_t end_token, bool replace);
  TokenFileWriter(const TokenFileWriter&) = delete;
  TokenFileWriter& operator=(const TokenFileWriter&) = delete;
  ~TokenFileWriter();

  /// The next append begins a document.
  void begin_document();
  void append(std::span<const std::int32_t> ids);
  std::int64_t tokens() const { return header_.tokens; }
  std::int64_t documents() const { return header_.documents; }
  /// DataError when there are no tokens.  Returns the size of the file.
  std::int64_t finish(std::string_view tokenizer_json);

 private:
  /// Bytes that wait in a file of their own until their number, and so their place, is known.
  struct Spool {
    File file;
    std::string buffer;
    void open(const std::filesystem::path& at);
    void append(const void* data, std::size_t bytes);
    void flush();
  };
  File lay_out();
  std::vector<std::uint64_t> copy_tokens(File& out);
  void copy_documents(File& out);

  std::filesystem::path path_, tmp_path_;
  Spool tokens_, documents_;
  TokenFileHeader header_;
};

}  // namespace banyan::io
