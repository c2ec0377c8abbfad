// Reading and writing tokenizers: Hugging Face's tokenizer.json, GPT-2's two files, and our own merges.
#include <algorithm>
#include <set>

#include "io/atomic_file.hpp"
#include "io/tokenizer.hpp"
#include "io/tokenizer_impl.hpp"
#include "src/base/error.hpp"
#include "src/base/json.hpp"

namespace banyan::io {
namespace {

constexpr std::int64_t kLargestVocab = std::int64_t{1} << 24;
constexpr std::size_t kLargestFile = std::size_t{256} << 20;

/// The published files write bytes as characters: printable Latin-1 as itself, the rest shifted to U+0100 and up.
std::array<std::uint32_t, 256> byte_characters() {
  std::array<std::uint32_t, 256> out{};
  std::uint32_t shifted = 256;
  for (std::uint32_t b = 0; b < 256; ++b) {
    const bool itself = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    out[b] = itself ? b : shifted++;
  }
  return out;
}

void append_utf8(std::string& out, std::uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else {  // no character of the table is beyond U+0143
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

std::string to_characters(std::string_view bytes) {
  static const auto table = byte_characters();
  std::string out;
  for (char b : bytes) append_utf8(out, table[static_cast<unsigned char>(b)]);
  return out;
}

/// The bytes a token's characters stand for; false when a character is not of the table.
bool to_bytes(std::string_view characters, std::string& out) {
  static const auto inverse = [] {
    std::array<int, 512> t{};
    t.fill(-1);
    const auto table = byte_characters();
    for (std::size_t b = 0; b < 256; ++b) t[table[b]] = static_cast<int>(b);
    return t;
  }();
  out.clear();
  for (std::size_t i = 0; i < characters.size(); ++i) {
    std::uint32_t c = static_cast<unsigned char>(characters[i]);
    if (c >= 0x80) {
      if ((c & 0xE0) != 0xC0 || i + 1 == characters.size()) return false;
      c = (c & 0x1F) << 6 | (static_cast<unsigned char>(characters[++i]) & 0x3F);
    }
    if (c >= inverse.size() || inverse[c] < 0) return false;
    out += static_cast<char>(inverse[c]);
  }
  return true;
}

class Builder {
 public:
  explicit Builder(const std::string& context) : context_(context) {}

  void add_token(const std::string& characters, const Json& id) {
    std::string bytes;
    if (!to_bytes(characters, bytes)) {
      // Special tokens stand in GPT-2's vocabulary by their text, which has characters that stand for no byte.
      bytes = characters;
    }
    set(number(id), bytes);
    if (!tables_.id_of.emplace(bytes, static_cast<std::int32_t>(number(id))).second)
      throw DataError("{}: the token \"{}\" has two ids", context_, characters);
  }

  void add_special(const std::string& text, const Json& id) {
    const std::int64_t n = number(id);
    if (static_cast<std::size_t>(n) < tables_.bytes.size() && !tables_.bytes[static_cast<std::size_t>(n)].empty())
      tables_.id_of.erase(tables_.bytes[static_cast<std::size_t>(n)]);  // text never gives it
    else
      set(n, text);
    tables_.bytes[static_cast<std::size_t>(n)] = text;
    if (text == kEndOfText || text == "<|end_of_text|>" || text == "</s>")
      tables_.end_token = static_cast<std::int32_t>(n);
  }

  void add_merge(std::string_view left, std::string_view right) {
    std::string l, r;
    if (!to_bytes(left, l) || !to_bytes(right, r))
      throw DataError("{}: merge {} has a character that stands for no byte", context_, rank_);
    const auto find = [&](const std::string& bytes) {
      const auto it = tables_.id_of.find(bytes);
      if (it == tables_.id_of.end())
        throw DataError("{}: merge {} ({} {}) needs a token that is not in the vocabulary", context_, rank_, left,
                        right);
      return it->second;
    };
    tables_.merges.emplace(TokenizerTables::pair_key(find(l), find(r)), TokenizerTables::Merge{rank_, find(l + r)});
    ++rank_;
  }

  TokenizerTables finish() {
    for (std::size_t b = 0; b < 256; ++b) {
      const auto it = tables_.id_of.find(std::string(1, static_cast<char>(b)));
      if (it == tables_.id_of.end())
        throw DataError("{}: no token stands for byte {}; this is no byte-level vocabulary", context_, b);
      tables_.byte_id[b] = it->second;
    }
    return std::move(tables_);
  }
  TokenizerTables& tables() { return tables_; }

 private:
  std::int64_t number(const Json& id) const {
    if (!id.is_number_integer()) throw DataError("{}: a token's id is no whole number", context_);
    const auto n = id.get<std::int64_t>();
    if (n < 0 || n >= kLargestVocab)
      throw DataError("{}: the token id {} is not in 0 .. {}", context_, n, kLargestVocab - 1);
    return n;
  }
  void set(std::int64_t id, const std::string& bytes) {
    const auto i = static_cast<std::size_t>(id);
    if (i >= tables_.bytes.size()) tables_.bytes.resize(i + 1);
    if (!tables_.bytes[i].empty()) throw DataError("{}: two tokens have the id {}", context_, id);
    tables_.bytes[i] = bytes;
  }

  const std::string& context_;
  TokenizerTables tables_;
  std::int32_t rank_ = 0;
};

std::string text_at(const Json& object, const char* key) {
  return object.is_object() && object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : "";
}
bool flag_at(const Json& object, const char* key) {
  return object.is_object() && object.contains(key) && object[key].is_boolean() && object[key].get<bool>();
}

/// The splitting expression of a pre_tokenizer.
std::string splitting_expression(const Json& root, const std::string& context) {
  static const Json none;
  const Json& p = root.contains("pre_tokenizer") ? root["pre_tokenizer"] : none;
  const auto byte_level = [&](const Json& step) {
    if (flag_at(step, "add_prefix_space"))
      throw DataError("{}: add_prefix_space is not supported: text would not come back byte for byte", context);
    return !step.contains("use_regex") || flag_at(step, "use_regex");
  };
  if (text_at(p, "type") == "ByteLevel" && byte_level(p)) return std::string(kGpt2Pieces);
  if (text_at(p, "type") == "Sequence" && p.contains("pretokenizers") && p["pretokenizers"].is_array() &&
      p["pretokenizers"].size() == 2) {
    const Json &split = p["pretokenizers"][0], &level = p["pretokenizers"][1];
    const std::string pattern =
        split.is_object() && split.contains("pattern") ? text_at(split["pattern"], "Regex") : "";
    if (text_at(split, "type") == "Split" && !pattern.empty() && text_at(split, "behavior") == "Isolated" &&
        !flag_at(split, "invert") && text_at(level, "type") == "ByteLevel" && !byte_level(level))
      return pattern;
  }
  throw DataError(
      "{}: unsupported pre_tokenizer; supported are ByteLevel, and a Sequence of Split (by Regex, Isolated) and "
      "ByteLevel (use_regex false)",
      context);
}

Json to_json(const TokenizerTables& t, const std::vector<std::pair<std::int32_t, std::int32_t>>& merges) {
  Json root;
  root["version"] = "1.0";
  root["truncation"] = nullptr;
  root["padding"] = nullptr;
  root["added_tokens"] = Json::array();
  if (t.end_token >= 0)
    root["added_tokens"].push_back({{"id", t.end_token},
                                    {"content", kEndOfText},
                                    {"single_word", false},
                                    {"lstrip", false},
                                    {"rstrip", false},
                                    {"normalized", false},
                                    {"special", true}});
  root["normalizer"] = nullptr;
  root["pre_tokenizer"] = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  root["post_processor"] = nullptr;
  root["decoder"] = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  Json vocab = Json::object(), list = Json::array();
  // Appended without the search for an equal key that operator[] of an ordered object does each time.
  auto& members = vocab.get_ref<Json::object_t&>();
  for (std::size_t id = 0; id < t.bytes.size(); ++id)
    static_cast<std::vector<std::pair<const std::string, Json>>&>(members).emplace_back(
        static_cast<std::int32_t>(id) == t.end_token ? std::string(kEndOfText) : to_characters(t.bytes[id]), id);
  for (const auto& [left, right] : merges)
    list.push_back(to_characters(t.bytes[static_cast<std::size_t>(left)]) + " " +
                   to_characters(t.bytes[static_cast<std::size_t>(right)]));
  root["model"] = {{"type", "BPE"},
                   {"dropout", nullptr},
                   {"unk_token", nullptr},
                   {"continuing_subword_prefix", nullptr},
                   {"end_of_word_suffix", nullptr},
                   {"fuse_unk", false},
                   {"byte_fallback", false}};
  root["model"]["vocab"] = std::move(vocab);
  root["model"]["merges"] = std::move(list);
  return root;
}

}  // namespace

Tokenizer Tokenizer::from_json(std::string text, const std::string& context) {
  const Json root = parse_json(text, context, {.bytes = kLargestFile, .depth = 32});
  if (!root.is_object() || !root.contains("model")) throw DataError("{}: this is no tokenizer.json", context);
  const Json& model = root["model"];
  if (text_at(model, "type") != "BPE")
    throw DataError("{}: the tokenizer is of the kind \"{}\"; supported is byte-level BPE (GPT-2, Llama 3)", context,
                    text_at(model, "type"));
  if (flag_at(model, "byte_fallback") || !text_at(model, "continuing_subword_prefix").empty() ||
      !text_at(model, "end_of_word_suffix").empty())
    throw DataError(
        "{}: sentencepiece-like BPE (byte_fallback, prefixes, suffixes) is not supported; supported is "
        "byte-level BPE (GPT-2, Llama 3)",
        context);
  if (root.contains("normalizer") && !root["normalizer"].is_null())
    throw DataError("{}: a normalizer is not supported: text would not come back byte for byte", context);
  TextPieces pieces(splitting_expression(root, context));
  if (!model.contains("vocab") || !model["vocab"].is_object() || !model.contains("merges") ||
      !model["merges"].is_array())
    throw DataError("{}: model.vocab or model.merges is missing", context);
  Builder builder(context);
  for (const auto& [token, id] : model["vocab"].items()) builder.add_token(token, id);
  if (root.contains("added_tokens") && root["added_tokens"].is_array())
    for (const Json& t : root["added_tokens"]) {
      if (!t.is_object() || !t.contains("id") || text_at(t, "content").empty())
        throw DataError("{}: an added token has no id or content", context);
      builder.add_special(text_at(t, "content"), t["id"]);
    }
  for (const Json& m : model["merges"]) {
    if (m.is_string()) {
      const auto s = m.get<std::string>();
      const std::size_t space = s.find(' ');
      if (space == std::string::npos) throw DataError("{}: the merge \"{}\" is no pair", context, s);
      builder.add_merge(std::string_view(s).substr(0, space), std::string_view(s).substr(space + 1));
    } else if (m.is_array() && m.size() == 2 && m[0].is_string() && m[1].is_string()) {
      builder.add_merge(m[0].get<std::string>(), m[1].get<std::string>());
    } else {
      throw DataError("{}: a merge is neither text nor a pair", context);
    }
  }
  TokenizerTables tables = builder.finish();
  tables.whole_pieces_first = flag_at(model, "ignore_merges");
  return Tokenizer(std::make_unique<Impl>(std::move(tables), std::move(pieces), std::move(text)));
}

Tokenizer Tokenizer::from_gpt2(std::string_view encoder_json, std::string_view vocab_bpe, const std::string& context) {
  const Json vocab = parse_json(encoder_json, context + "/encoder.json", {.bytes = kLargestFile, .depth = 4});
  if (!vocab.is_object()) throw DataError("{}/encoder.json: expected an object of tokens and ids", context);
  Builder builder(context);
  for (const auto& [token, id] : vocab.items()) builder.add_token(token, id);
  if (vocab.contains(std::string(kEndOfText)))
    builder.add_special(std::string(kEndOfText), vocab[std::string(kEndOfText)]);
  std::vector<std::pair<std::int32_t, std::int32_t>> merges;
  std::size_t line_number = 0;
  while (!vocab_bpe.empty()) {
    const std::size_t end = std::min(vocab_bpe.find('\n'), vocab_bpe.size());
    std::string_view line = vocab_bpe.substr(0, end);
    vocab_bpe.remove_prefix(std::min(end + 1, vocab_bpe.size()));
    ++line_number;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty() || (line_number == 1 && line.rfind("#version", 0) == 0)) continue;
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos) throw DataError("{}/vocab.bpe:{}: expected two tokens", context, line_number);
    builder.add_merge(line.substr(0, space), line.substr(space + 1));
    std::string left, right;
    to_bytes(line.substr(0, space), left);
    to_bytes(line.substr(space + 1), right);
    merges.emplace_back(builder.tables().id_of.at(left), builder.tables().id_of.at(right));
  }
  TokenizerTables tables = builder.finish();
  std::string text = to_json(tables, merges).dump();
  return Tokenizer(std::make_unique<Impl>(std::move(tables), TextPieces(std::string(kGpt2Pieces)), std::move(text)));
}

Tokenizer Tokenizer::from_merges(const std::vector<std::pair<std::int32_t, std::int32_t>>& merges) {
  TokenizerTables t;
  const auto add = [&](std::string bytes) {
    t.id_of.emplace(bytes, static_cast<std::int32_t>(t.bytes.size()));
    t.bytes.push_back(std::move(bytes));
  };
  for (int b = 0; b < 256; ++b) {
    t.byte_id[static_cast<std::size_t>(b)] = b;
    add(std::string(1, static_cast<char>(b)));
  }
  for (const auto& [left, right] : merges) {
    const std::string bytes = t.bytes.at(static_cast<std::size_t>(left)) + t.bytes.at(static_cast<std::size_t>(right));
    if (t.id_of.contains(bytes)) throw BugError("two merges give the same token");
    const auto rank = static_cast<std::int32_t>(t.merges.size());
    t.merges.emplace(TokenizerTables::pair_key(left, right),
                     TokenizerTables::Merge{rank, static_cast<std::int32_t>(t.bytes.size())});
    add(bytes);
  }
  t.end_token = static_cast<std::int32_t>(t.bytes.size());
  t.bytes.emplace_back(kEndOfText);
  std::string text = to_json(t, merges).dump();
  return Tokenizer(std::make_unique<Impl>(std::move(t), TextPieces(std::string(kGpt2Pieces)), std::move(text)));
}

Tokenizer Tokenizer::from_path(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path)) {
    std::string encoder;
    if (read_if_there(followed(path / "encoder.json"), kLargestFile, encoder))
      return from_gpt2(encoder, read_limited(followed(path / "vocab.bpe"), kLargestFile), path.string());
    return from_json(read_limited(followed(path / "tokenizer.json"), kLargestFile), (path / "tokenizer.json").string());
  }
  return from_json(read_limited(followed(path), kLargestFile), path.string());
}

}  // namespace banyan::io
