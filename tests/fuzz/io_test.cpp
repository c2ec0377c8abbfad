// Damaged token files and tokenizers: a token file whose bytes changed anywhere is never accepted; a tokenizer ends in
// a DataError or still loses no byte.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "io/bpe_trainer.hpp"
#include "io/token_file.hpp"
#include "io/tokenizer.hpp"
#include "src/base/error.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::io {
namespace {

constexpr int kRounds = 400;

std::string slurp(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void spill(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

/// Flips bits, overwrites, cuts, repeats or removes a stretch.
std::string damage(std::string s, std::mt19937& random) {
  for (std::size_t n = 1 + random() % 3; n > 0 && !s.empty(); --n) {
    const std::size_t at = random() % s.size(), length = std::min<std::size_t>(1 + random() % 40, s.size() - at);
    switch (random() % 6) {
      case 0:
        s[at] = static_cast<char>(s[at] ^ (1 << random() % 8));
        break;
      case 1:
        s[at] = static_cast<char>(random() % 256);
        break;
      case 2:
        s.resize(at);
        break;
      case 3:
        s.erase(at, length);
        break;
      case 4:
        s.insert(at, s.substr(at, length));
        break;
      default:
        s.replace(at, length,
                  std::string(length,
                              "\0\xFF"
                              "9"[random() % 3]));
        break;
    }
  }
  return s;
}

Tokenizer small_tokenizer() {
  BpeTrainer trainer;
  for (int i = 0; i < 4; ++i)
    trainer.add("the rings of the old tree, the roots of the new one and the water between them");
  return Tokenizer::from_merges(trainer.train(290));
}

TEST(Fuzz, ADamagedTokenFileIsNeverAccepted) {
  const test::TempDir dir;
  Tokenizer tokenizer = small_tokenizer();
  TokenFileWriter writer(dir / "good.h5", tokenizer.vocab(), tokenizer.end_token(), false);
  std::vector<std::int32_t> ids;
  for (int document = 0; document < 5; ++document) {
    writer.begin_document();
    writer.append(tokenizer.encode("the water of the new tree, and the old rings"));
  }
  writer.finish(tokenizer.json());
  const std::string good = slurp(dir / "good.h5");
  std::mt19937 random(11);
  for (int round = 0; round < kRounds; ++round) {
    const std::string bad = damage(good, random);
    if (bad == good) continue;
    spill(dir / "bad.h5", bad);
    EXPECT_THROW(
        {
          TokenFile file = TokenFile::open(dir / "bad.h5");
          file.verify_all();
        },
        DataError)
        << "round " << round;
  }
}

TEST(Fuzz, ADamagedTokenizerIsRefusedOrLosesNothing) {
  const std::string good = small_tokenizer().json();
  const std::string text = std::string("any\0bytes ", 10) + "\xFF\xC3 come back";
  std::mt19937 random(12);
  for (int round = 0; round < kRounds; ++round) {
    try {
      Tokenizer t = Tokenizer::from_json(damage(good, random), "bad");
      EXPECT_EQ(t.decode(t.encode(text)), text) << "round " << round;
    } catch (const DataError&) {
    }
  }
}

TEST(Fuzz, RandomBytesAreNoTokenFile) {
  const test::TempDir dir;
  std::mt19937 random(13);
  for (int round = 0; round < 100; ++round) {
    std::string bytes = round % 2 ? "banyan-tokens 1\n" : "\x89HDF\r\n\x1a\n";
    while (bytes.size() < 700) bytes += static_cast<char>(random() % 256);
    spill(dir / "bad.h5", bytes);
    EXPECT_THROW(TokenFile::open(dir / "bad.h5"), DataError);
  }
}

}  // namespace
}  // namespace banyan::io
