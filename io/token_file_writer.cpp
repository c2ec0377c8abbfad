// Writing of token files.  Contiguous datasets need their size beforehand, so tokens go to a raw file first.
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "io/checksum.hpp"
#include "io/hdf5_image.hpp"
#include "io/token_file.hpp"
#include "src/base/error.hpp"

namespace banyan::io {
namespace {

constexpr std::size_t kBuffer = std::size_t{4} << 20;

/// A contiguous dataset whose space is allocated and not filled; its place in the file.
std::int64_t add_dataset(hid_t file, const char* name, hid_t type, std::int64_t count) {
  Hdf5Handle properties(hdf5_contiguous(), H5Pclose, "dataset properties");
  Hdf5Handle space(hdf5_space(Shape{count}), H5Sclose, name);
  Hdf5Handle dataset(H5Dcreate2(file, name, type, space, H5P_DEFAULT, properties, H5P_DEFAULT), H5Dclose, name);
  const haddr_t place = H5Dget_offset(dataset);
  hdf5_require(place != HADDR_UNDEF, name);
  dataset.close();
  return static_cast<std::int64_t>(place);
}

std::uint64_t metadata_checksum_of(const std::filesystem::path& path, const TokenFileHeader& h) {
  const File file = File::open_for_reading(path);
  void* map = ::mmap(nullptr, static_cast<std::size_t>(h.file_bytes), PROT_READ, MAP_SHARED, file.fd(), 0);
  if (map == MAP_FAILED) throw IoError("{}: cannot be mapped: {}", path.string(), std::strerror(errno));
  const std::uint64_t sum = metadata_checksum(h, static_cast<const std::byte*>(map));
  ::munmap(map, static_cast<std::size_t>(h.file_bytes));
  return sum;
}

}  // namespace

TokenFileWriter::TokenFileWriter(std::filesystem::path path, std::int32_t vocab, std::int32_t end_token, bool replace)
    : path_(std::move(path)) {
  if (path_exists(path_) && !replace) throw UsageError("{} exists already; give --force to replace it", path_.string());
  if (path_.has_parent_path()) make_directories(path_.parent_path());
  const std::string unique = fmt::format(".{}", ::getpid());
  tmp_path_ = path_.string() + unique + ".tmp";
  tokens_.open(path_.string() + unique + ".tokens");
  documents_.open(path_.string() + unique + ".documents");
  header_.vocab = vocab;
  header_.end_token = end_token;
  header_.width = vocab <= 65536 ? 2 : 4;
}

TokenFileWriter::~TokenFileWriter() { ::unlink(tmp_path_.c_str()); }  // already renamed after finish()

// The name goes away at once, so that nothing stays behind whatever ends this process.
void TokenFileWriter::Spool::open(const std::filesystem::path& at) {
  file = File::create(at);
  ::unlink(at.c_str());
  buffer.reserve(kBuffer);
}

void TokenFileWriter::Spool::append(const void* data, std::size_t bytes) {
  buffer.append(static_cast<const char*>(data), bytes);
  if (buffer.size() >= kBuffer) flush();
}

void TokenFileWriter::Spool::flush() {
  file.write(buffer);
  buffer.clear();
}

void TokenFileWriter::begin_document() {
  const auto begin = static_cast<std::uint64_t>(header_.tokens);
  documents_.append(&begin, sizeof begin);
  ++header_.documents;
}

void TokenFileWriter::append(std::span<const std::int32_t> ids) {
  if (header_.documents == 0) throw BugError("tokens before the first document");
  for (std::int32_t id : ids) {
    if (id < 0 || id >= header_.vocab) throw BugError("token {} of a vocabulary of {}", id, header_.vocab);
    tokens_.append(&id, static_cast<std::size_t>(header_.width));  // little-endian machines
  }
  header_.tokens += static_cast<std::int64_t>(ids.size());
}

File TokenFileWriter::lay_out() {
  TokenFileHeader& h = header_;
  h.token_part.bytes = h.tokens * h.width;
  h.document_part.bytes = documents() * 8;
  const std::int64_t blocks = (h.token_part.bytes + kTokenBlockBytes - 1) / kTokenBlockBytes;
  h.checksum_part.bytes = blocks * 8;

  Hdf5Image image(tmp_path_.string(), kTokenHeaderBytes);
  const hid_t file = image.file();
  hdf5_put_text(file, "format", "banyan-tokens 1");
  hdf5_put_integers(file, "vocab", Shape{h.vocab});
  hdf5_put_integers(file, "end_token", Shape{h.end_token});
  h.tokenizer_part.offset = add_dataset(file, "/tokenizer", H5T_STD_U8LE, h.tokenizer_part.bytes);
  h.document_part.offset = add_dataset(file, "/documents", H5T_STD_U64LE, h.documents);
  h.checksum_part.offset = add_dataset(file, "/block_checksums", H5T_STD_U64LE, blocks);
  h.token_part.offset = add_dataset(file, "/tokens", h.width == 2 ? H5T_STD_U16LE : H5T_STD_U32LE, h.tokens);
  image.finish();
  File out = File::create(tmp_path_);
  image.write_to(out);
  h.file_bytes = image.size();
  return out;
}

std::vector<std::uint64_t> TokenFileWriter::copy_tokens(File& out) {
  std::vector<std::uint64_t> sums;
  std::vector<std::byte> block(static_cast<std::size_t>(kTokenBlockBytes));
  for (std::int64_t at = 0; at < header_.token_part.bytes; at += kTokenBlockBytes) {
    const auto n = static_cast<std::size_t>(std::min(kTokenBlockBytes, header_.token_part.bytes - at));
    tokens_.file.read_at(at, block.data(), n);
    sums.push_back(checksum64(block.data(), n));
    out.write_at(header_.token_part.offset + at, block.data(), n);
  }
  return sums;
}

void TokenFileWriter::copy_documents(File& out) {
  Checksum64 sum;
  std::vector<std::byte> block(kBuffer);
  for (std::int64_t at = 0; at < header_.document_part.bytes; at += static_cast<std::int64_t>(kBuffer)) {
    const auto n =
        static_cast<std::size_t>(std::min(static_cast<std::int64_t>(kBuffer), header_.document_part.bytes - at));
    documents_.file.read_at(at, block.data(), n);
    sum.update(block.data(), n);
    out.write_at(header_.document_part.offset + at, block.data(), n);
  }
  header_.document_sum = sum.value();
}

std::int64_t TokenFileWriter::finish(std::string_view tokenizer_json) {
  if (header_.tokens == 0) throw DataError("the input has no text, so {} was not written", path_.string());
  tokens_.flush();
  documents_.flush();
  header_.tokenizer_part.bytes = static_cast<std::int64_t>(tokenizer_json.size());
  File out = lay_out();
  const std::vector<std::uint64_t> sums = copy_tokens(out);
  out.write_at(header_.tokenizer_part.offset, tokenizer_json.data(), tokenizer_json.size());
  copy_documents(out);
  out.write_at(header_.checksum_part.offset, sums.data(), sums.size() * 8);
  header_.tokenizer_sum = checksum64(tokenizer_json.data(), tokenizer_json.size());
  header_.checksum_sum = checksum64(sums.data(), sums.size() * 8);
  if (out.size() != header_.file_bytes)
    throw BugError("{} has {} bytes instead of {}", tmp_path_.string(), out.size(), header_.file_bytes);
  header_.metadata_sum = metadata_checksum_of(tmp_path_, header_);
  const std::string text = header_.str();
  out.write_at(0, text.data(), text.size());
  out.sync();
  out.close();
  rename_path(tmp_path_, path_);
  fsync_dir(path_.has_parent_path() ? path_.parent_path() : ".");
  return header_.file_bytes;
}

}  // namespace banyan::io
