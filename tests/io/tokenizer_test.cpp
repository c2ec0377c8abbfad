#include "io/tokenizer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "io/bpe_trainer.hpp"
#include "io/text_pieces.hpp"
#include "src/base/error.hpp"

namespace banyan::io {
namespace {

const std::string kText =
    "The quick brown fox jumps over the lazy dog. It's the fox's 2nd jump, isn't it?\n\n\tAnd then - 1984 - they'll "
    "jump "
    "again; again and again.  Tr\xC3\xA4ume \xE4\xB8\xAD\xE6\x96\x87 \xF0\x9F\x98\x80!\r\n   trailing   ";

std::vector<std::pair<std::int32_t, std::int32_t>> some_merges(std::int32_t vocab = 400) {
  BpeTrainer trainer;
  for (int i = 0; i < 20; ++i) trainer.add(kText);
  return trainer.train(vocab);
}

std::string random_bytes(std::mt19937& random, std::size_t most) {
  // A mixture of what text is made of and of anything.
  static const std::vector<std::string> bits{
      " ", "\n", "the",      "again",        "'s",       "\xC3\xA4", "\xE4\xB8\xAD", "\xFF", std::string(1, '\0'),
      "1", "  ", "\xC2\xA0", "\xE3\x80\x80", "\xF0\x9F", "."};
  std::string s;
  const std::size_t n = random() % most;
  while (s.size() < n)
    if (random() % 3)
      s += bits[random() % bits.size()];
    else
      s += static_cast<char>(random() % 256);
  return s;
}

/// Byte-pair encoding as its definition says, on one piece.
std::vector<std::int32_t> naive(const std::vector<std::pair<std::int32_t, std::int32_t>>& merges,
                                std::string_view piece) {
  std::vector<std::int32_t> ids;
  for (char c : piece) ids.push_back(static_cast<unsigned char>(c));
  for (;;) {
    std::size_t best = merges.size(), where = 0;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto it = std::find(merges.begin(), merges.end(), std::pair{ids[i], ids[i + 1]});
      if (it != merges.end() && static_cast<std::size_t>(it - merges.begin()) < best) {
        best = static_cast<std::size_t>(it - merges.begin());
        where = i;
      }
    }
    if (best == merges.size()) return ids;
    ids[where] = 256 + static_cast<std::int32_t>(best);
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(where) + 1);
  }
}

TEST(TextPieces, CutsAsGpt2Does) {
  const TextPieces pieces{std::string(kGpt2Pieces)};
  std::vector<std::string> got;
  pieces.for_each("It's  two words, 12x!\n\n end ", [&](std::string_view p) { got.emplace_back(p); });
  const std::vector<std::string> expected{"It", "'s", " ", " two", " words", ",", " 12", "x", "!", "\n\n", " end", " "};
  EXPECT_EQ(got, expected);
}

TEST(TextPieces, JoinToTheTextWhateverTheBytes) {
  std::mt19937 random(1);
  for (const auto& pattern : {kGpt2Pieces, kLlama3Pieces}) {
    const TextPieces pieces{std::string(pattern)};
    for (int i = 0; i < 2000; ++i) {
      const std::string text = random_bytes(random, 60);
      std::string joined;
      pieces.for_each(text, [&](std::string_view p) {
        EXPECT_FALSE(p.empty());
        joined += p;
      });
      ASSERT_EQ(joined, text);
    }
  }
}

TEST(TextPieces, SafeCutsChangeNoPiece) {
  std::mt19937 random(2);
  int cuts = 0;
  for (const auto& pattern : {kGpt2Pieces, kLlama3Pieces}) {
    const TextPieces pieces{std::string(pattern)};
    for (int i = 0; i < 4000; ++i) {
      const std::string text = random_bytes(random, 50);
      const std::size_t cut = pieces.last_safe_cut(text);
      if (cut == 0) continue;
      ++cuts;
      std::vector<std::string> whole, parts;
      pieces.for_each(text, [&](std::string_view p) { whole.emplace_back(p); });
      for (const std::string& part : {text.substr(0, cut), text.substr(cut)})
        pieces.for_each(part, [&](std::string_view p) { parts.emplace_back(p); });
      ASSERT_EQ(parts, whole) << text << " cut at " << cut;
    }
  }
  EXPECT_GT(cuts, 1000);
}

TEST(Tokenizer, EveryByteStringComesBack) {
  Tokenizer t = Tokenizer::from_merges(some_merges());
  EXPECT_EQ(t.decode(t.encode(kText)), kText);
  EXPECT_LT(t.encode(kText).size(), kText.size() / 2);
  std::mt19937 random(3);
  for (int i = 0; i < 3000; ++i) {
    const std::string text = random_bytes(random, 200);
    ASSERT_EQ(t.decode(t.encode(text)), text);
  }
  EXPECT_TRUE(t.encode("").empty());
}

TEST(Tokenizer, MergesInLearnedOrderAlsoInLongPieces) {
  const auto merges = some_merges();
  Tokenizer t = Tokenizer::from_merges(merges);
  std::mt19937 random(4);
  for (int i = 0; i < 60; ++i) {
    std::string piece;  // letters only: one piece
    const std::size_t n = 1 + random() % 300;
    while (piece.size() < n) piece += "aegintjumpfox"[random() % 13];
    ASSERT_EQ(t.encode(piece), naive(merges, piece)) << piece;
  }
}

TEST(Tokenizer, ALongRunWithoutSpacesTakesNoQuadraticTime) {
  Tokenizer t = Tokenizer::from_merges(some_merges());
  const std::string text(1 << 20, 'a');
  EXPECT_EQ(t.decode(t.encode(text)), text);
}

TEST(Tokenizer, TextNeverGivesTheEndToken) {
  Tokenizer t = Tokenizer::from_merges(some_merges());
  for (std::int32_t id : t.encode(std::string(kEndOfText))) EXPECT_NE(id, t.end_token());
  EXPECT_EQ(t.end_token(), t.vocab() - 1);
  EXPECT_THROW(t.bytes_of(t.vocab()), BugError);
}

TEST(Tokenizer, JsonAndGpt2FilesGiveTheSameTokens) {
  Tokenizer t = Tokenizer::from_merges(some_merges());
  Tokenizer again = Tokenizer::from_json(t.json(), "test");
  EXPECT_EQ(again.encode(kText), t.encode(kText));
  EXPECT_EQ(again.vocab(), t.vocab());
  EXPECT_EQ(again.end_token(), t.end_token());
  EXPECT_EQ(again.json(), t.json());
  // The same as encoder.json and vocab.bpe, with bytes written as characters: "\xC4\xA0" is a space there.
  const std::string json = t.json();
  const std::size_t vocab = json.find("\"vocab\":{"), merges = json.find(",\"merges\":[");
  ASSERT_NE(vocab, std::string::npos);
  std::string bpe = "#version: 0.2\n", list = json.substr(merges + 11, json.find(']', merges) - merges - 11);
  ASSERT_NE(list.find("\xC4\xA0"), std::string::npos);
  for (std::size_t at = 0; (at = list.find('"', at)) != std::string::npos;) {
    std::string entry;
    for (++at; list[at] != '"'; ++at) {
      if (list[at] == '\\') ++at;
      entry += list[at];
    }
    ++at;
    bpe += entry + "\n";
  }
  Tokenizer gpt2 = Tokenizer::from_gpt2(json.substr(vocab + 8, merges - vocab - 8), bpe, "test");
  EXPECT_EQ(gpt2.encode(kText), t.encode(kText));
  EXPECT_EQ(gpt2.end_token(), t.end_token());
  EXPECT_EQ(Tokenizer::from_json(gpt2.json(), "test").encode(kText), t.encode(kText));
}

TEST(Tokenizer, StreamingGivesTheTokensOfTheWholeText) {
  Tokenizer t = Tokenizer::from_merges(some_merges());
  std::mt19937 random(5);
  for (int i = 0; i < 500; ++i) {
    const std::string text = random_bytes(random, 400);
    StreamEncoder encoder(t);
    std::vector<std::int32_t> ids;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t n = std::min<std::size_t>(1 + random() % 17, text.size() - at);
      encoder.feed(std::string_view(text).substr(at, n), ids);
      at += n;
    }
    encoder.finish(ids);
    ASSERT_EQ(ids, t.encode(text));
  }
}

std::string refusal(const std::string& json) {
  try {
    Tokenizer::from_json(json, "t.json");
  } catch (const DataError& e) {
    return e.what();
  }
  return "accepted";
}

TEST(Tokenizer, RefusesWhatItCannotHonour) {
  const std::string good = Tokenizer::from_merges(some_merges(300)).json();
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string s = good;
    const std::size_t at = s.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return s.replace(at, from.size(), to);
  };
  EXPECT_EQ(refusal(good), "accepted");
  EXPECT_NE(refusal("").find("t.json"), std::string::npos);
  EXPECT_NE(refusal("[]").find("no tokenizer.json"), std::string::npos);
  EXPECT_NE(refusal(with("\"type\":\"BPE\"", "\"type\":\"Unigram\"")).find("Unigram"), std::string::npos);
  EXPECT_NE(refusal(with("\"byte_fallback\":false", "\"byte_fallback\":true")).find("byte_fallback"),
            std::string::npos);
  EXPECT_NE(refusal(with("\"normalizer\":null", "\"normalizer\":{\"type\":\"NFC\"}")).find("normalizer"),
            std::string::npos);
  EXPECT_NE(refusal(with("\"add_prefix_space\":false", "\"add_prefix_space\":true")).find("add_prefix_space"),
            std::string::npos);
  EXPECT_NE(refusal(with("\"type\":\"ByteLevel\"", "\"type\":\"Whitespace\"")).find("pre_tokenizer"),
            std::string::npos);
  EXPECT_NE(refusal(with("\"!\":33", "\"!\":99999999999")).find("id"), std::string::npos);
  EXPECT_NE(refusal(with("\"!\":33", "\"!\":-1")).find("id"), std::string::npos);
  EXPECT_NE(refusal(with("\"!\":33", "\"!\":34")).find("two tokens"), std::string::npos);
  EXPECT_NE(refusal(with("\"!\":33,", "")).find("byte 33"), std::string::npos);
}

TEST(Tokenizer, DamagedJsonNeverCrashes) {
  const std::string good = Tokenizer::from_merges(some_merges(300)).json();
  std::mt19937 random(6);
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    std::string bad = good;
    if (i % 3 == 0)
      bad.resize(random() % bad.size());
    else
      for (int k = 0; k < 3; ++k) bad[random() % bad.size()] = static_cast<char>(random() % 256);
    try {
      Tokenizer t = Tokenizer::from_json(bad, "bad");
      EXPECT_EQ(t.decode(t.encode(kText)), kText);  // whatever is accepted must still be lossless
    } catch (const DataError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 150);
}

TEST(BpeTrainer, LearnsTheMostFrequentPairFirstAndIsRepeatable) {
  BpeTrainer trainer;
  for (int i = 0; i < 5; ++i) trainer.add("abab abab cd");
  const auto merges = trainer.train(300);
  ASSERT_FALSE(merges.empty());
  EXPECT_EQ(merges[0], (std::pair<std::int32_t, std::int32_t>{'a', 'b'}));
  EXPECT_EQ(merges[1], (std::pair<std::int32_t, std::int32_t>{256, 256}));
  EXPECT_EQ(some_merges(), some_merges());
  EXPECT_EQ(trainer.train(257).size(), 0u);
  EXPECT_THROW(trainer.train(256), UsageError);
}

TEST(BpeTrainer, ForgetsTheRarestPiecesWhenItKnowsTooMany) {
  BpeTrainer trainer;
  std::string text;
  for (int i = 0; i < 50; ++i) text += " frequent";
  trainer.add(text);
  // More different pieces than the table holds, each of them twice.
  const std::size_t many = BpeTrainer::kLargestTable + 1000;
  for (std::size_t begin = 0; begin < many; begin += 50000) {
    text.clear();
    for (std::size_t i = begin; i < std::min(begin + 50000, many); ++i) {
      std::string word = " ";
      for (std::size_t n = i, k = 0; k < 5; ++k, n /= 26) word += static_cast<char>('a' + n % 26);
      text += word + word;
    }
    trainer.add(text);
  }
  EXPECT_LE(trainer.known(), BpeTrainer::kLargestTable);
  EXPECT_GE(trainer.known(), 1u);
}

TEST(BpeTrainer, CountsLikeARecount) {
  // Each step must take a pair that is most frequent when everything is counted anew.
  const auto merges = some_merges(330);
  std::map<std::string, int> counts;
  const TextPieces pieces{std::string(kGpt2Pieces)};
  for (int i = 0; i < 20; ++i) pieces.for_each(kText, [&](std::string_view p) { ++counts[std::string(p)]; });
  std::vector<std::pair<std::vector<std::int32_t>, int>> words;
  for (const auto& [piece, n] : counts) {
    words.push_back({{}, n});
    for (char c : piece) words.back().first.push_back(static_cast<unsigned char>(c));
  }
  for (std::size_t m = 0; m < merges.size(); ++m) {
    std::map<std::pair<std::int32_t, std::int32_t>, int> pairs;
    for (const auto& [ids, n] : words)
      for (std::size_t i = 0; i + 1 < ids.size(); ++i) pairs[{ids[i], ids[i + 1]}] += n;
    int most = 0;
    for (const auto& [pair, n] : pairs) most = std::max(most, n);
    ASSERT_EQ(pairs[merges[m]], most) << "merge " << m;
    for (auto& [ids, n] : words)
      for (std::size_t i = 0; i + 1 < ids.size(); ++i)
        if (ids[i] == merges[m].first && ids[i + 1] == merges[m].second) {
          ids[i] = 256 + static_cast<std::int32_t>(m);
          ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(i) + 1);
        }
  }
}

}  // namespace
}  // namespace banyan::io
