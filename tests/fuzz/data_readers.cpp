// What training and import read.
#include <algorithm>
#include <cstring>
#include <fstream>

#include "io/checksum.hpp"
#include "io/safetensors.hpp"
#include "io/token_file.hpp"
#include "io/tokenizer.hpp"
#include "src/base/error.hpp"
#include "tests/fuzz/readers.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::fuzz {
namespace {

namespace fs = std::filesystem;

void put(const fs::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

/// The header's own checksum made to fit, so that what it says is looked at.
std::string with_header_sum(std::string_view input) {
  std::string s(input);
  const std::size_t last = std::string_view(s).substr(0, io::kTokenHeaderBytes).find("\nheader ");
  if (last == std::string::npos || last + 8 + 16 > std::min(s.size(), io::kTokenHeaderBytes)) return s;
  s.replace(last + 8, 16, io::hex64(io::checksum64(s.data(), last + 1)));
  return s;
}

/// All sums made to fit, as somebody would who wants what is under them believed.
std::string with_all_sums(std::string_view input) {
  std::string s = with_header_sum(input);
  if (s.size() < io::kTokenHeaderBytes) return s;
  try {
    io::TokenFileHeader h = io::TokenFileHeader::parse(s.substr(0, io::kTokenHeaderBytes), "input");
    if (h.file_bytes != std::ssize(s)) return s;
    const auto at = [&](const io::TokenFilePart& p) { return s.data() + p.offset; };
    const auto sum = [&](const io::TokenFilePart& p) {
      return io::checksum64(at(p), static_cast<std::size_t>(p.bytes));
    };
    for (std::int64_t begin = 0; begin < h.token_part.bytes; begin += io::kTokenBlockBytes) {
      const std::int64_t bytes = std::min(io::kTokenBlockBytes, h.token_part.bytes - begin);
      const std::uint64_t block = io::checksum64(at(h.token_part) + begin, static_cast<std::size_t>(bytes));
      std::memcpy(at(h.checksum_part) + begin / io::kTokenBlockBytes * 8, &block, sizeof block);
    }
    h.document_sum = sum(h.document_part);
    h.tokenizer_sum = sum(h.tokenizer_part);
    h.checksum_sum = sum(h.checksum_part);
    h.metadata_sum = io::metadata_checksum(h, reinterpret_cast<const std::byte*>(s.data()));
    s.replace(0, io::kTokenHeaderBytes, h.str());
  } catch (const DataError&) {
  }
  return s;
}

void read_token_file(std::string_view input) {
  static const test::TempDir dir;
  const fs::path path = dir / "tokens.h5";
  for (const std::string& bytes : {std::string(input), with_header_sum(input), with_all_sums(input)}) {
    put(path, bytes);
    try {
      io::TokenFile file = io::TokenFile::open(path);
      file.verify_all();
      std::vector<std::int32_t> ids(static_cast<std::size_t>(std::min<std::int64_t>(file.tokens(), 1000)));
      file.read(file.tokens() - static_cast<std::int64_t>(ids.size()), ids);
      for (const std::int32_t id : ids) must(id >= 0 && id < file.vocab(), "a token outside the vocabulary");
      file.document_begin(file.documents() - 1);
      file.tokenizer_json();
    } catch (const DataError&) {
    }
  }
}

constexpr std::string_view kText(
    "any\0bytes \xFF\xC3 come back,  they're 12345 \n\t of them and then some more of them", 76);

void encode_and_decode(io::Tokenizer& t) {
  const std::vector<std::int32_t> ids = t.encode(kText);
  for (const std::int32_t id : ids) must(id >= 0 && id < t.vocab(), "a token outside the vocabulary");
  must(t.decode(ids) == kText, "text does not come back");
  must(t.end_token() >= -1 && t.end_token() < t.vocab(), "the end token is outside the vocabulary");
  const std::string long_piece(300, 'e');
  must(t.decode(t.encode(long_piece)) == long_piece, "a long piece does not come back");
}

void read_tokenizer(std::string_view input) {
  try {
    io::Tokenizer t = io::Tokenizer::from_json(std::string(input), "input");
    encode_and_decode(t);
  } catch (const DataError&) {
  }
}

void read_gpt2(std::string_view input) {
  const auto [encoder, merges] = two_parts(input);
  try {
    io::Tokenizer t = io::Tokenizer::from_gpt2(encoder, merges, "input");
    encode_and_decode(t);
    io::Tokenizer again = io::Tokenizer::from_json(t.json(), "written");
    must(again.encode(kText) == t.encode(kText), "a tokenizer changes when written");
  } catch (const DataError&) {
  }
}

void read_everything(const io::Safetensors& model) {
  for (const auto& [name, tensor] : model.tensors()) {
    must(model.find(name) != nullptr, "a tensor is not found");
    std::vector<float> values(static_cast<std::size_t>(std::min<std::int64_t>(tensor.shape.count(), 4096)));
    try {
      model.read(tensor, tensor.shape.count() - static_cast<std::int64_t>(values.size()), values);
    } catch (const DataError&) {  // a type that is not read
    }
  }
}

void read_safetensors(std::string_view input) {
  static const test::TempDir dir;
  const fs::path path = dir / "model.safetensors";
  put(path, input);
  try {
    read_everything(io::Safetensors(path));
  } catch (const DataError&) {
  }
}

std::string safetensors_file(std::string_view header, std::size_t data) {
  std::string s(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) s[i] = static_cast<char>(header.size() >> (8 * i));
  return s.append(header).append(data, '\1');
}

const char* const kTwoTensors =
    R"({"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, )"
    R"("b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]}})";

/// An index beside two files that are always the same.
void read_safetensors_index(std::string_view input) {
  static const test::TempDir dir;
  static const bool once = [&] {
    put(dir / "one.safetensors", safetensors_file(kTwoTensors, 32));
    put(dir / "two.safetensors",
        safetensors_file(R"({"c": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}})", 4));
    return true;
  }();
  must(once, "no files");
  put(dir / "model.safetensors.index.json", input);
  try {
    read_everything(io::Safetensors(dir.path()));
  } catch (const DataError&) {
  }
}

io::Tokenizer small_tokenizer() { return io::Tokenizer::from_merges({{116, 104}, {256, 101}, {32, 257}}); }

std::vector<std::string> token_file_seeds() {
  const test::TempDir dir;
  io::Tokenizer tokenizer = small_tokenizer();
  io::TokenFileWriter writer(dir / "good.h5", tokenizer.vocab(), tokenizer.end_token(), false);
  for (int document = 0; document < 3; ++document) {
    writer.begin_document();
    writer.append(tokenizer.encode("the water of the new tree"));
  }
  writer.finish(tokenizer.json());
  std::ifstream in(dir / "good.h5", std::ios::binary);
  return {{std::istreambuf_iterator<char>(in), {}}};
}

std::vector<std::string> tokenizer_seeds() {
  const std::string json = small_tokenizer().json();
  std::string split = json;
  const std::string level =
      R"("pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true})";
  if (const std::size_t at = split.find(level); at != std::string::npos)
    split.replace(
        at, level.size(),
        R"("pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"\\s?\\p{L}+|."},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]})");
  return {json, split};
}

std::vector<std::string> gpt2_seeds() {
  const std::string json = small_tokenizer().json();
  const std::size_t begin = json.find("\"vocab\":") + 8, end = json.find('}', json.find("<|endoftext|>", begin));
  return {json.substr(begin, end - begin + 1) + "\n--\n#version: 0.2\nt h\nth e\n\u0120 the\n"};
}

std::vector<std::string> safetensors_seeds() { return {safetensors_file(kTwoTensors, 32)}; }
std::vector<std::string> index_seeds() {
  return {R"({"metadata": {"total_size": 36}, "weight_map": {"a": "one.safetensors", "b": "one.safetensors", )"
          R"("c": "two.safetensors"}})"};
}

}  // namespace

std::vector<Reader> data_readers() {
  return {{"token_file", read_token_file, token_file_seeds},
          {"tokenizer", read_tokenizer, tokenizer_seeds},
          {"gpt2", read_gpt2, gpt2_seeds},
          {"safetensors", read_safetensors, safetensors_seeds},
          {"safetensors_index", read_safetensors_index, index_seeds}};
}

}  // namespace banyan::fuzz
