// Reading.  Writing is in token_file_writer.cpp.
#include "io/token_file.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <limits>

#include "io/checksum.hpp"
#include "src/base/error.hpp"

namespace banyan::io {
namespace {

constexpr std::size_t kHeaderBytes = kTokenHeaderBytes;
constexpr std::string_view kMagic = "banyan-tokens 1\n";
constexpr std::string_view kLast = "header ";
constexpr std::int64_t kMostMetadata = std::int64_t{1} << 20;

/// Reads "NAME number number ...\n" lines in the order in which str() writes them.
class LineReader {
 public:
  LineReader(std::string_view text, const std::string& path) : text_(text), path_(path) {}
  void name(std::string_view expected) {
    if (text_.substr(0, expected.size()) != expected) damaged();
    text_.remove_prefix(expected.size());
  }
  std::int64_t number() {
    skip_space();
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), value);
    if (error != std::errc() || value < -1) damaged();
    text_.remove_prefix(static_cast<std::size_t>(end - text_.data()));
    return value;
  }
  std::uint64_t hex() {
    skip_space();
    std::uint64_t value = 0;
    if (text_.size() < 16 || !parse_hex64(text_.substr(0, 16), value)) damaged();
    text_.remove_prefix(16);
    return value;
  }
  void end_of_line() { name("\n"); }

 private:
  void skip_space() {
    if (!text_.empty() && text_.front() == ' ') text_.remove_prefix(1);
  }
  [[noreturn]] void damaged() const {
    throw DataError("{}: the header of this token file is damaged; make it again with banyan tokenize", path_);
  }
  std::string_view text_;
  const std::string& path_;
};

[[noreturn]] void damaged(const std::string& path, const std::string& what) {
  throw DataError("{}: {}; the token file is damaged, make it again with banyan tokenize", path, what);
}

std::array<TokenFilePart, 4> parts_in_order(const TokenFileHeader& h) {
  std::array<TokenFilePart, 4> parts{h.token_part, h.document_part, h.tokenizer_part, h.checksum_part};
  std::sort(parts.begin(), parts.end(), [](const auto& a, const auto& b) { return a.offset < b.offset; });
  return parts;
}

}  // namespace

std::uint64_t metadata_checksum(const TokenFileHeader& h, const std::byte* map) {
  Checksum64 sum;
  std::int64_t at = kHeaderBytes;
  for (const TokenFilePart& p : parts_in_order(h)) {
    sum.update(map + at, static_cast<std::size_t>(p.offset - at));
    at = p.offset + p.bytes;
  }
  sum.update(map + at, static_cast<std::size_t>(h.file_bytes - at));
  return sum.value();
}

std::string TokenFileHeader::str() const {
  std::string s(kMagic);
  s += fmt::format("bytes {}\nvocab {} end {}\n", file_bytes, vocab, end_token);
  s += fmt::format("tokens {} {} {}\n", token_part.offset, tokens, width);
  s += fmt::format("documents {} {} {}\n", document_part.offset, documents, hex64(document_sum));
  s += fmt::format("tokenizer {} {} {}\n", tokenizer_part.offset, tokenizer_part.bytes, hex64(tokenizer_sum));
  s += fmt::format("block_checksums {} {} {}\n", checksum_part.offset, checksum_part.bytes / 8, hex64(checksum_sum));
  s += fmt::format("metadata {}\n", hex64(metadata_sum));
  s += fmt::format("{}{}\n", kLast, hex64(checksum64(s.data(), s.size())));
  if (s.size() > kHeaderBytes) throw BugError("the header of a token file has {} bytes", s.size());
  s.resize(kHeaderBytes, '\n');
  return s;
}

TokenFileHeader TokenFileHeader::parse(std::string_view text, const std::string& path) {
  if (text.size() < kHeaderBytes || text.substr(0, 14) != kMagic.substr(0, 14))
    throw DataError("{} is no token file; make one with banyan tokenize", path);
  if (text.substr(0, kMagic.size()) != kMagic)
    throw DataError("{}: token files of this version cannot be read; make it again with banyan tokenize", path);
  text = text.substr(0, kHeaderBytes);
  const std::size_t last = text.find(std::string("\n") + std::string(kLast));
  if (last == std::string_view::npos) damaged(path, "the header has no end");
  LineReader end(text.substr(last + 1), path);
  end.name(kLast);
  if (checksum64(text.data(), last + 1) != end.hex()) damaged(path, "the header's checksum does not match");

  TokenFileHeader h;
  LineReader in(text, path);
  in.name(kMagic);
  in.name("bytes");
  h.file_bytes = in.number();
  in.name("\nvocab");
  h.vocab = static_cast<std::int32_t>(std::min<std::int64_t>(in.number(), std::numeric_limits<std::int32_t>::max()));
  in.name(" end");
  h.end_token = static_cast<std::int32_t>(std::min<std::int64_t>(in.number(), h.vocab));
  in.name("\ntokens");
  h.token_part.offset = in.number();
  h.tokens = in.number();
  h.width = static_cast<int>(in.number());
  in.name("\ndocuments");
  h.document_part.offset = in.number();
  h.documents = in.number();
  h.document_sum = in.hex();
  in.name("\ntokenizer");
  h.tokenizer_part.offset = in.number();
  h.tokenizer_part.bytes = in.number();
  h.tokenizer_sum = in.hex();
  in.name("\nblock_checksums");
  h.checksum_part.offset = in.number();
  const std::int64_t blocks = in.number();
  h.checksum_sum = in.hex();
  in.name("\nmetadata");
  h.metadata_sum = in.hex();
  in.end_of_line();

  // Everything below is bounded before it is multiplied, so nothing overflows.
  if ((h.width != 2 && h.width != 4) || h.vocab < 1 || h.end_token >= h.vocab || h.tokens < 1 || h.documents < 1 ||
      h.tokens > h.file_bytes / h.width || h.documents > h.file_bytes / 8 || blocks < 1 || blocks > h.file_bytes / 8)
    damaged(path, "the header says what cannot be");
  h.token_part.bytes = h.tokens * h.width;
  h.document_part.bytes = h.documents * 8;
  h.checksum_part.bytes = blocks * 8;
  if (blocks != (h.token_part.bytes + kTokenBlockBytes - 1) / kTokenBlockBytes)
    damaged(path, "the number of blocks is wrong");
  std::int64_t at = kHeaderBytes, metadata = 0;
  for (const TokenFilePart& p : parts_in_order(h)) {
    if (p.offset < at || p.bytes < 1 || p.bytes > h.file_bytes - p.offset) damaged(path, "parts of the file overlap");
    metadata += p.offset - at;
    at = p.offset + p.bytes;
  }
  if (metadata + h.file_bytes - at > kMostMetadata) damaged(path, "parts of the file belong to nothing");
  // The filling behind the checksum too: the digest of the file covers it.
  if (h.str() != text) damaged(path, "the header is not as it was written");
  return h;
}

TokenFile TokenFile::open(const std::filesystem::path& path) {
  TokenFile f;
  f.path_ = path.string();
  if (!path_exists(path)) throw DataError("{}: there is no such file; make it with banyan tokenize", f.path_);
  File file = File::open_for_reading(followed(path));
  if (file.size() < static_cast<std::int64_t>(kHeaderBytes))
    throw DataError("{} is no token file ({} bytes); make one with banyan tokenize", f.path_, file.size());
  std::string text(kHeaderBytes, '\0');
  file.read_at(0, text.data(), text.size());
  f.header_ = TokenFileHeader::parse(text, f.path_);
  const TokenFileHeader& h = f.header_;
  if (file.size() != h.file_bytes)
    damaged(f.path_, fmt::format("it has {} bytes instead of {}", file.size(), h.file_bytes));
  void* map = ::mmap(nullptr, static_cast<std::size_t>(h.file_bytes), PROT_READ, MAP_SHARED, file.fd(), 0);
  if (map == MAP_FAILED) throw IoError("{}: cannot be mapped: {}", f.path_, std::strerror(errno));
  f.map_ = static_cast<const std::byte*>(map);
  ::madvise(map, static_cast<std::size_t>(h.file_bytes), MADV_RANDOM);

  if (metadata_checksum(h, f.map_) != h.metadata_sum) damaged(f.path_, "HDF5's part of it does not match its checksum");
  const auto check = [&](const TokenFilePart& part, std::uint64_t sum, const char* what) {
    if (checksum64(f.at(part), static_cast<std::size_t>(part.bytes)) != sum)
      damaged(f.path_, fmt::format("{} does not match its checksum", what));
  };
  check(h.document_part, h.document_sum, "/documents");
  check(h.tokenizer_part, h.tokenizer_sum, "/tokenizer");
  check(h.checksum_part, h.checksum_sum, "/block_checksums");
  f.digest_ = digest_bytes(text);
  f.verified_.resize(static_cast<std::size_t>(h.checksum_part.bytes / 8));
  return f;
}

TokenFile::TokenFile(TokenFile&& other) noexcept { *this = std::move(other); }

TokenFile& TokenFile::operator=(TokenFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(digest_, other.digest_);
  std::swap(header_, other.header_);
  std::swap(map_, other.map_);
  std::swap(verified_, other.verified_);
  return *this;
}

TokenFile::~TokenFile() {
  if (map_) ::munmap(const_cast<std::byte*>(map_), static_cast<std::size_t>(header_.file_bytes));
}

std::string_view TokenFile::tokenizer_json() const {
  return {reinterpret_cast<const char*>(at(header_.tokenizer_part)),
          static_cast<std::size_t>(header_.tokenizer_part.bytes)};
}

std::int64_t TokenFile::document_begin(std::int64_t document) const {
  if (document < 0 || document >= documents()) throw BugError("{}: there is no document {}", path_, document);
  std::uint64_t begin = 0;
  std::memcpy(&begin, at(header_.document_part) + document * 8, 8);
  return static_cast<std::int64_t>(begin);
}

void TokenFile::verify_block(std::int64_t block) {
  const std::int64_t begin = block * kTokenBlockBytes,
                     end = std::min(begin + kTokenBlockBytes, header_.token_part.bytes);
  std::uint64_t expected = 0;
  std::memcpy(&expected, at(header_.checksum_part) + block * 8, 8);
  const std::byte* data = at(header_.token_part) + begin;
  if (checksum64(data, static_cast<std::size_t>(end - begin)) != expected)
    damaged(path_,
            fmt::format("tokens {} to {} do not match their checksum", begin / header_.width, end / header_.width - 1));
  // A vocabulary that is too small is an error of whoever made the file, which no checksum finds.
  std::uint32_t largest = 0;
  for (std::int64_t i = 0; i < (end - begin) / header_.width; ++i) {
    std::uint32_t id = 0;
    std::memcpy(&id, data + i * header_.width, static_cast<std::size_t>(header_.width));
    largest = std::max(largest, id);
  }
  if (largest >= static_cast<std::uint32_t>(header_.vocab))
    throw DataError("{}: the token id {} is outside its vocabulary of {}; make the file again with banyan tokenize",
                    path_, largest, header_.vocab);
  verified_[static_cast<std::size_t>(block)] = true;
}

void TokenFile::read(std::int64_t begin, std::span<std::int32_t> out) {
  const auto n = static_cast<std::int64_t>(out.size());
  if (begin < 0 || begin > tokens() - n)
    throw BugError("{}: tokens {} to {} of {} were asked for", path_, begin, begin + n, tokens());
  if (n == 0) return;
  const std::int64_t width = header_.width;
  for (std::int64_t b = begin * width / kTokenBlockBytes; b <= ((begin + n) * width - 1) / kTokenBlockBytes; ++b)
    if (!verified_[static_cast<std::size_t>(b)]) verify_block(b);
  const std::byte* data = at(header_.token_part) + begin * width;
  for (std::int64_t i = 0; i < n; ++i) {
    std::uint32_t id = 0;
    std::memcpy(&id, data + i * width, static_cast<std::size_t>(width));
    out[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(id);
  }
}

void TokenFile::verify_all() {
  ::madvise(const_cast<std::byte*>(map_), static_cast<std::size_t>(header_.file_bytes), MADV_SEQUENTIAL);
  for (std::size_t b = 0; b < verified_.size(); ++b)
    if (!verified_[b]) verify_block(static_cast<std::int64_t>(b));
  ::madvise(const_cast<std::byte*>(map_), static_cast<std::size_t>(header_.file_bytes), MADV_RANDOM);
}

}  // namespace banyan::io
