// banyan tokenize: text in, one token file out.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <functional>

#include "io/atomic_file.hpp"
#include "io/bpe_trainer.hpp"
#include "io/token_file.hpp"
#include "io/tokenizer.hpp"
#include "src/app/command.hpp"
#include "src/app/meter.hpp"
#include "src/base/error.hpp"
#include "src/base/json.hpp"
#include "src/base/log.hpp"
#include "src/base/section.hpp"
#include "src/base/units.hpp"

namespace banyan::app {
namespace {

constexpr std::size_t kChunk = std::size_t{1} << 20;
constexpr std::size_t kLongestLine = std::size_t{256} << 20;  // of JSONL

struct Input {
  std::string path;
  bool jsonl = false;
  std::int64_t bytes = 0;
};

/// What is told about the documents of the inputs, in order.
struct Sink {
  std::function<void()> begin;
  std::function<void(std::string_view)> text;
  std::function<void()> end;
  std::function<void(std::size_t)> progress;  ///< bytes read since the last call
};

void read_plain(const io::File& file, const Sink& sink) {
  std::string chunk;
  sink.begin();
  for (std::int64_t at = 0, size = file.size(); at < size; at += static_cast<std::int64_t>(chunk.size())) {
    chunk.resize(static_cast<std::size_t>(std::min<std::int64_t>(kChunk, size - at)));
    file.read_at(at, chunk.data(), chunk.size());
    sink.text(chunk);
    sink.progress(chunk.size());
  }
  sink.end();
}

void read_jsonl(const io::File& file, const std::string& field, const Sink& sink) {
  std::string chunk, line;
  std::int64_t number = 0;
  const auto take_line = [&] {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) return;
    const std::string where = fmt::format("{}:{}", file.path().string(), number);
    const Json document = parse_json(line, where, {.bytes = kLongestLine, .depth = 64});
    sink.begin();
    sink.text(get<std::string>(document, field.c_str(), where));
    sink.end();
  };
  for (std::int64_t at = 0, size = file.size(); at < size; at += static_cast<std::int64_t>(chunk.size())) {
    chunk.resize(static_cast<std::size_t>(std::min<std::int64_t>(kChunk, size - at)));
    file.read_at(at, chunk.data(), chunk.size());
    std::string_view rest = chunk;
    for (std::size_t end; (end = rest.find('\n')) != std::string_view::npos; rest.remove_prefix(end + 1)) {
      line += rest.substr(0, end);
      take_line();
      line.clear();
    }
    line += rest;
    if (line.size() > kLongestLine)
      throw DataError("{}:{}: a line is longer than {}; is this JSONL?", file.path().string(), number + 1,
                      format_bytes(kLongestLine));
    sink.progress(chunk.size());
  }
  if (!line.empty()) take_line();
}

void read_all(const std::vector<Input>& inputs, const std::string& field, const Sink& sink) {
  for (const Input& input : inputs) {
    const io::File file = io::File::open_for_reading(input.path);
    if (input.jsonl)
      read_jsonl(file, field, sink);
    else
      read_plain(file, sink);
  }
}

std::vector<Input> list_inputs(const std::vector<std::string>& paths, const std::string& format) {
  std::vector<Input> inputs;
  for (const std::string& path : paths) {
    if (!io::path_exists(path)) throw DataError("{}: there is no such file", path);
    const bool json_name = path.ends_with(".jsonl") || path.ends_with(".ndjson");
    const std::string real = io::followed(path);
    if (std::filesystem::is_directory(real))
      throw DataError("{} is a directory; name the files in it, for example {}/*.txt", path, path);
    inputs.push_back(
        {real, format == "jsonl" || (format == "auto" && json_name), io::File::open_for_reading(real).size()});
  }
  return inputs;
}

io::Tokenizer learn_tokenizer(const std::vector<Input>& inputs, const std::string& field, std::int32_t vocab,
                              std::int64_t limit) {
  std::int64_t total = 0, counted = 0;
  for (const Input& i : inputs) total += i.bytes;
  Meter meter("counting words", total);
  io::BpeTrainer trainer;
  // Parts are cut where pieces end anyway; what is pending at the end of a part waits for the next.
  io::TextPieces pieces{std::string(io::kGpt2Pieces)};
  std::string pending;
  const auto count = [&](std::string_view text) {
    if (counted >= limit) return;
    pending += text;
    std::size_t cut = pieces.last_safe_cut(pending);
    if (cut == 0 && pending.size() >= io::StreamEncoder::kLargestRun) cut = pending.size();
    trainer.add(std::string_view(pending).substr(0, cut));
    pending.erase(0, cut);
    counted += static_cast<std::int64_t>(text.size());
  };
  const auto end = [&] {
    trainer.add(pending);
    pending.clear();
  };
  read_all(inputs, field, {[] {}, count, end, [&](std::size_t n) { meter.add(n); }});
  if (counted >= limit && limit < total)
    log::info("the vocabulary is learned from the first {} of text; raise --train-bytes for more",
              format_bytes(static_cast<double>(limit)));
  Clock::time_point said = Clock::now();
  auto merges = trainer.train(vocab, [&](std::size_t done) {
    meter.stop_if_asked();
    if (!log::on_terminal() || Clock::now() - said < Seconds(0.2)) return;
    said = Clock::now();
    log::live_line(fmt::format("learning merges, {} of {}", done, vocab - 257));
  });
  log::end_live_line();
  if (static_cast<std::int32_t>(merges.size()) < vocab - 257)
    log::warning("the text has only {} pairs that occur twice, so the vocabulary has {} tokens instead of {}",
                 merges.size(), merges.size() + 257, vocab);
  return io::Tokenizer::from_merges(merges);
}

/// A token file also carries a tokenizer.
io::Tokenizer load_tokenizer(const std::string& path) {
  if (!io::path_exists(path)) throw DataError("{}: there is no such tokenizer", path);
  if (!std::filesystem::is_directory(path)) {
    const io::File file = io::File::open_for_reading(io::followed(path));
    std::string start(static_cast<std::size_t>(std::min<std::int64_t>(file.size(), 13)), '\0');
    file.read_at(0, start.data(), start.size());
    if (start == "banyan-tokens")
      return io::Tokenizer::from_json(std::string(io::TokenFile::open(path).tokenizer_json()), path);
  }
  return io::Tokenizer::from_path(path);
}

int check_file(const std::string& path) {
  io::TokenFile file = io::TokenFile::open(path);
  file.verify_all();
  log::info("{}: every checksum holds; {} documents, {} tokens, vocabulary {}", path, file.documents(), file.tokens(),
            file.vocab());
  return 0;
}

ExitCode run(Args& args) {
  const std::string usage = "banyan tokenize INPUT... --out FILE (--vocab-size N | --tokenizer PATH)";
  const auto check = args.value("check");
  const auto out = args.value("out");
  const auto tokenizer_path = args.value("tokenizer");
  const auto vocab = static_cast<std::int32_t>(args.integer("vocab-size", 0, 257, 1 << 20));
  const std::int64_t train_bytes = [&] {
    const auto text = args.value("train-bytes");
    const auto n = parse_bytes(text.value_or("512MiB"));
    if (!n || *n < 1) throw UsageError("--train-bytes={} is refused; write a size like 512MiB", *text);
    return *n;
  }();
  const std::string format = args.value("format").value_or("auto");
  const std::string field = args.value("field").value_or("text");
  const bool force = args.flag("force");
  if (check) {
    args.finish(0, 0, "banyan tokenize --check FILE");
    check_file(*check);
    return ExitCode::kFinished;
  }
  args.finish(1, 1 << 20, usage);
  if (format != "auto" && format != "text" && format != "jsonl")
    throw UsageError("--format={} is refused; it is auto, text or jsonl", format);
  if (!out) throw UsageError("--out is missing; write {}", usage);
  if ((vocab == 0) == !tokenizer_path)
    throw UsageError("give one of --vocab-size N (learn a tokenizer) and --tokenizer PATH (use one)");
  if (std::filesystem::is_directory(*out)) throw UsageError("{} is a directory; name the file to make in it", *out);
  if (io::path_exists(*out) && !force) throw UsageError("{} exists already; give --force to replace it", *out);

  const std::vector<Input> inputs = list_inputs(args.positional(), format);
  std::int64_t total = 0;
  for (const Input& i : inputs) total += i.bytes;
  io::Tokenizer tokenizer =
      tokenizer_path ? load_tokenizer(*tokenizer_path) : learn_tokenizer(inputs, field, vocab, train_bytes);
  if (tokenizer.end_token() < 0)
    throw DataError("{}: the tokenizer has no {} token to put between documents", *tokenizer_path, io::kEndOfText);

  io::TokenFileWriter writer(*out, tokenizer.vocab(), tokenizer.end_token(), force);
  io::StreamEncoder encoder(tokenizer);
  Meter meter("tokenizing", total);
  std::vector<std::int32_t> ids;
  std::int64_t bytes = 0;
  const Sink sink{[&] { writer.begin_document(); },
                  [&](std::string_view text) {
                    bytes += static_cast<std::int64_t>(text.size());
                    encoder.feed(text, ids);
                    writer.append(ids);
                    ids.clear();
                  },
                  [&] {
                    encoder.finish(ids);
                    ids.push_back(tokenizer.end_token());
                    writer.append(ids);
                    ids.clear();
                  },
                  [&](std::size_t n) { meter.add(n); }};
  read_all(inputs, field, sink);
  if (bytes == 0) throw DataError("the input has no text, so {} was not written", *out);
  const std::int64_t size = writer.finish(tokenizer.json());
  log::end_live_line();
  log::info("{}: {} documents, {} tokens ({:.2f} bytes each), vocabulary {}, {}", *out, writer.documents(),
            writer.tokens(), static_cast<double>(bytes) / static_cast<double>(writer.tokens()), tokenizer.vocab(),
            format_bytes(static_cast<double>(size)));
  return ExitCode::kFinished;
}

}  // namespace

Command tokenize_command() {
  return {.name = "tokenize",
          .summary = "Turn text into the token file that training reads.",
          .usage = R"(banyan tokenize INPUT... --out FILE (--vocab-size N | --tokenizer PATH) [options]
banyan tokenize --check FILE

Every plain text file is one document; every line of a JSONL file is one, from its field "text".  Documents are ended by
the end token.  Any bytes are accepted and come back exactly; memory does not grow with the input.

  --out FILE          the token file (HDF5) to make
  --vocab-size N      learn a byte-level BPE of N tokens from the input
  --train-bytes SIZE  learn it from this much text (default 512MiB)
  --tokenizer PATH    use this one: tokenizer.json, a directory with it or with GPT-2's encoder.json and vocab.bpe, or
                      another token file
  --format KIND       auto (by name: .jsonl, .ndjson), text or jsonl
  --field NAME        field of a JSONL line that holds the text (default text)
  --force             replace FILE if it exists
  --check FILE        verify every checksum of a token file
)",
          .options_with_value = {"out", "vocab-size", "train-bytes", "tokenizer", "format", "field", "check"},
          .run = run};
}

}  // namespace banyan::app
