// What libFuzzer calls.  BANYAN_FUZZ_READER names the reader; `fuzzer --seeds DIR` writes its seeds and what was kept
// into DIR, `fuzzer --keep DIR` keeps the files of DIR (readers.hpp), and `fuzzer --list` prints all readers.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "tests/fuzz/readers.hpp"

namespace {

const banyan::fuzz::Reader& chosen() {
  static const banyan::fuzz::Reader& reader = []() -> const banyan::fuzz::Reader& {
    const char* name = std::getenv("BANYAN_FUZZ_READER");
    const banyan::fuzz::Reader* found = name ? banyan::fuzz::find_reader(name) : nullptr;
    if (!found) {
      std::fprintf(stderr, "BANYAN_FUZZ_READER must name a reader; fuzzer --list prints them\n");
      std::exit(64);
    }
    return *found;
  }();
  return reader;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* count, char*** arguments) {
  if (*count < 2) return 0;
  if (std::strcmp((*arguments)[1], "--list") == 0) {
    for (const banyan::fuzz::Reader& reader : banyan::fuzz::readers()) std::puts(reader.name.c_str());
    std::exit(0);
  }
  if (*count > 2 && std::strcmp((*arguments)[1], "--seeds") == 0) {
    int number = 0;
    for (const std::vector<std::string>& inputs : {chosen().seeds(), banyan::fuzz::kept_inputs(chosen().name)})
      for (const std::string& input : inputs)
        banyan::fuzz::put(std::string((*arguments)[2]) + "/seed" + std::to_string(number++), input);
    std::exit(0);
  }
  if (*count > 2 && std::strcmp((*arguments)[1], "--keep") == 0) {
    std::vector<std::string> inputs;
    for (const auto& entry : std::filesystem::directory_iterator((*arguments)[2])) {
      std::ifstream in(entry.path(), std::ios::binary);
      inputs.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    }
    banyan::fuzz::keep_inputs(chosen().name, std::move(inputs));
    std::exit(0);
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  chosen().read({reinterpret_cast<const char*>(data), size});
  return 0;
}
