#include "io/token_file.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <numeric>
#include <utility>

#include "io/bpe_trainer.hpp"
#include "io/hdf5_handle.hpp"
#include "io/tokenizer.hpp"
#include "src/base/error.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::io {
namespace {

std::vector<std::int32_t> numbers(std::int64_t n, std::int32_t vocab) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<std::int32_t>((i * 7919) % static_cast<std::size_t>(vocab));
  return ids;
}

void write_file(const std::filesystem::path& path, std::int64_t tokens, std::int32_t vocab) {
  TokenFileWriter writer(path, vocab, vocab - 1, false);
  const auto ids = numbers(tokens, vocab);
  const std::size_t half = ids.size() / 2;
  writer.begin_document();
  writer.append(std::span(ids).subspan(0, half));
  writer.begin_document();
  writer.append(std::span(ids).subspan(half));
  writer.finish("{\"tokenizer\": \"of the test\"}");
}

std::string slurp(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void spill(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

TEST(TokenFile, RoundTripsBothWidths) {
  for (std::int32_t vocab : {1000, 65536, 65537, 200000}) {
    const test::TempDir dir;
    write_file(dir / "t.h5", 700001, vocab);
    TokenFile file = TokenFile::open(dir / "t.h5");
    EXPECT_EQ(file.tokens(), 700001);
    EXPECT_EQ(file.vocab(), vocab);
    EXPECT_EQ(file.end_token(), vocab - 1);
    EXPECT_EQ(file.documents(), 2);
    EXPECT_EQ(file.document_begin(0), 0);
    EXPECT_EQ(file.document_begin(1), 350000);
    EXPECT_EQ(file.tokenizer_json(), "{\"tokenizer\": \"of the test\"}");
    std::vector<std::int32_t> all(700001);
    file.read(0, all);
    EXPECT_EQ(all, numbers(700001, vocab));
    std::vector<std::int32_t> some(10);
    file.read(699991, some);
    EXPECT_EQ(some.back(), all.back());
    EXPECT_THROW(file.read(699992, some), BugError);
    EXPECT_NO_THROW(file.verify_all());
    // Nothing but the file is left behind.
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);
  }
}

// Reading goes by the header alone; other programs go by HDF5, and must find the same.
TEST(TokenFile, Hdf5FindsTheSameInTheSamePlaces) {
  const test::TempDir dir;
  write_file(dir / "t.h5", 70001, 70000);
  const TokenFileHeader h = TokenFileHeader::parse(slurp(dir / "t.h5").substr(0, kTokenHeaderBytes), "t.h5");
  hdf5_quiet();
  Hdf5Handle file(H5Fopen((dir / "t.h5").c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose, "t.h5");
  const std::pair<const char*, TokenFilePart> parts[] = {{"/tokens", h.token_part},
                                                         {"/documents", h.document_part},
                                                         {"/tokenizer", h.tokenizer_part},
                                                         {"/block_checksums", h.checksum_part}};
  for (const auto& [name, part] : parts) {
    Hdf5Handle dataset(H5Dopen2(file, name, H5P_DEFAULT), H5Dclose, name);
    EXPECT_EQ(H5Dget_offset(dataset), static_cast<haddr_t>(part.offset)) << name;
    EXPECT_EQ(H5Dget_storage_size(dataset), static_cast<hsize_t>(part.bytes)) << name;
  }
  Hdf5Handle tokens(H5Dopen2(file, "/tokens", H5P_DEFAULT), H5Dclose, "/tokens");
  std::vector<std::int32_t> all(70001);
  ASSERT_GE(H5Dread(tokens, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, all.data()), 0);
  EXPECT_EQ(all, numbers(70001, 70000));
}

TEST(TokenFile, NeverReplacesUnlessTold) {
  const test::TempDir dir;
  write_file(dir / "t.h5", 100, 300);
  const std::string before = slurp(dir / "t.h5");
  EXPECT_THROW(write_file(dir / "t.h5", 200, 300), UsageError);
  EXPECT_EQ(slurp(dir / "t.h5"), before);
}

TEST(TokenFile, AnUnfinishedWriterLeavesNothing) {
  const test::TempDir dir;
  {
    TokenFileWriter writer(dir / "t.h5", 300, 299, false);
    writer.begin_document();
    writer.append(numbers(50, 300));
  }
  {
    TokenFileWriter writer(dir / "t.h5", 300, 299, false);
    EXPECT_THROW(writer.finish("{}"), DataError);
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(TokenFile, RefusesMissingEmptyAndForeignFiles) {
  const test::TempDir dir;
  EXPECT_THROW(TokenFile::open(dir / "none.h5"), DataError);
  spill(dir / "empty.h5", "");
  EXPECT_THROW(TokenFile::open(dir / "empty.h5"), DataError);
  spill(dir / "text.h5", std::string(5000, 'x'));
  EXPECT_THROW(TokenFile::open(dir / "text.h5"), DataError);
  EXPECT_THROW(TokenFile::open(dir.path()), DataError);
}

TEST(TokenFile, FindsEveryTruncation) {
  const test::TempDir dir;
  write_file(dir / "t.h5", 3000, 300);
  const std::string good = slurp(dir / "t.h5");
  for (std::size_t n = 0; n < good.size(); n += n < 600 ? 1 : 97) {
    spill(dir / "bad.h5", good.substr(0, n));
    EXPECT_THROW(TokenFile::open(dir / "bad.h5"), DataError) << n;
  }
  spill(dir / "bad.h5", good + "x");
  EXPECT_THROW(TokenFile::open(dir / "bad.h5"), DataError);
}

TEST(TokenFile, FindsEveryFlippedBit) {
  const test::TempDir dir;
  write_file(dir / "t.h5", 1500, 300);
  const std::string good = slurp(dir / "t.h5");
  const std::size_t header_end = good.find("\nheader ") + 8 + 16;
  for (std::size_t bit = 0; bit < good.size() * 8; bit += bit / 8 < header_end ? 5 : 29) {
    if (bit / 8 >= header_end && bit / 8 < kTokenHeaderBytes) continue;  // padding behind the header means nothing
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    spill(dir / "bad.h5", bad);
    EXPECT_THROW(TokenFile::open(dir / "bad.h5").verify_all(), DataError) << "bit " << bit;
  }
}

TEST(TokenFile, FindsAFlippedTokenBeforeItIsUsed) {
  const test::TempDir dir;
  write_file(dir / "t.h5", 2'000'000, 300);
  std::string bytes = slurp(dir / "t.h5");
  bytes[bytes.size() - 10] ^= 1;  // in the last block of tokens
  spill(dir / "t.h5", bytes);
  TokenFile file = TokenFile::open(dir / "t.h5");
  std::vector<std::int32_t> ids(100);
  EXPECT_NO_THROW(file.read(0, ids));
  EXPECT_THROW(file.read(2'000'000 - 100, ids), DataError);
}

TEST(TokenFile, FindsAFlippedBitInTheFillingOfTheHeader) {
  const test::TempDir dir;
  write_file(dir / "t.h5", 1000, 300);
  std::string bytes = slurp(dir / "t.h5");
  bytes[kTokenHeaderBytes - 1] ^= 1;
  spill(dir / "t.h5", bytes);
  EXPECT_THROW(TokenFile::open(dir / "t.h5"), DataError);
}

TEST(TokenFile, RefusesTokensOutsideItsVocabulary) {
  // Made by hand: a file whose header claims a smaller vocabulary and whose checksums all hold.
  const test::TempDir dir;
  write_file(dir / "t.h5", 1000, 300);
  std::string bytes = slurp(dir / "t.h5");
  TokenFileHeader h = TokenFileHeader::parse(bytes, "t");
  h.vocab = 200;
  h.end_token = 199;
  bytes.replace(0, kTokenHeaderBytes, h.str());
  spill(dir / "t.h5", bytes);
  TokenFile file = TokenFile::open(dir / "t.h5");
  std::vector<std::int32_t> ids(10);
  EXPECT_THROW(file.read(0, ids), DataError);
}

TEST(TokenFileHeader, RefusesWhatCannotBe) {
  const test::TempDir dir;
  write_file(dir / "t.h5", 1000, 300);
  const TokenFileHeader good = TokenFileHeader::parse(slurp(dir / "t.h5"), "t");
  const auto refused = [&](auto change) {
    TokenFileHeader h = good;
    change(h);
    EXPECT_THROW(TokenFileHeader::parse(h.str(), "t"), DataError);
  };
  EXPECT_NO_THROW(TokenFileHeader::parse(good.str(), "t"));
  refused([](auto& h) { h.width = 3; });
  refused([](auto& h) { h.width = 4; });
  refused([](auto& h) { h.vocab = 0; });
  refused([](auto& h) { h.end_token = h.vocab; });
  refused([](auto& h) { h.tokens = 0; });
  refused([](auto& h) { h.tokens = std::int64_t{1} << 62; });
  refused([](auto& h) { h.documents = std::int64_t{1} << 61; });
  refused([](auto& h) { h.token_part.offset = h.document_part.offset; });
  refused([](auto& h) { h.token_part.offset = std::int64_t{1} << 62; });
  refused([](auto& h) { h.tokenizer_part.bytes = 1 << 30; });
  refused([](auto& h) { h.file_bytes = std::int64_t{1} << 62; });
}

}  // namespace
}  // namespace banyan::io
