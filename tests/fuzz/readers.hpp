// Everything that reads bytes from outside, as functions of those bytes: what libFuzzer calls, and what the ctest form
// replays the corpus with.  A reader returns when the input was read as it should be or refused with the error that
// belongs to it; whatever else leaves it, a Broken for one, is a finding.
#pragma once

#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace banyan::fuzz {

/// An input was accepted of which something does not hold.
struct Broken : std::logic_error {
  using std::logic_error::logic_error;
};
inline void must(bool holds, const char* what) {
  if (!holds) throw Broken(what);
}

struct Reader {
  std::string name;                                 ///< also of its folder in tests/fuzz/corpus
  std::function<void(std::string_view)> read;       ///< deterministic
  std::function<std::vector<std::string>()> seeds;  ///< inputs to begin with: good ones, most of them
};

std::vector<Reader> fabric_readers();      ///< descriptions of switches and hosts
std::vector<Reader> checkpoint_readers();  ///< manifests, shards, leases and the history they make
std::vector<Reader> data_readers();        ///< token files, tokenizers, safetensors
std::vector<Reader> run_readers();         ///< the other files of a run directory, configs
std::vector<Reader> import_readers();      ///< other programs' descriptions of models

/// All of them.
const std::vector<Reader>& readers();
/// nullptr when there is none of that name.
const Reader* find_reader(std::string_view name);

/// tests/fuzz/corpus, which has for each reader a folder with what was found, and NAME.inputs with what fuzz.sh --keep
/// kept: small inputs that together reach what the fuzzer reached.
std::filesystem::path corpus_folder();
/// Those of NAME.inputs: each is a line with its length, its bytes, and a line break.  None where there is no such
/// file; Broken when it is not of that form.
std::vector<std::string> kept_inputs(const std::string& name);
/// Replaces the file, by 32 KiB of them at most, the smallest ones.
void keep_inputs(const std::string& name, std::vector<std::string> inputs);

/// What comes before and after the first line "--" of an input; the second is empty when there is no such line.
std::pair<std::string_view, std::string_view> two_parts(std::string_view input);
/// Writes a file, with the folders above it.
void put(const std::filesystem::path& path, std::string_view bytes);

}  // namespace banyan::fuzz
