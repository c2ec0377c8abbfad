#include "tests/comm/transport_ranks.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "comm/checked_transport.hpp"
#include "src/base/process_memory.hpp"
#include "tests/comm/transport_conformance.hpp"

/// LeakSanitizer's, which looks once, and at the end of the process where nobody calls this.
extern "C" __attribute__((weak)) void __lsan_do_leak_check();

namespace banyan::comm {
namespace {

constexpr std::int64_t kMemoryForTheLargest = std::int64_t{2} << 30;

/// Transports that nobody can close any more stay until the process ends, where a leak checker finds them.
std::vector<Transport*>& kept() {
  static auto* const all = new std::vector<Transport*>();
  return *all;
}

[[noreturn]] void die_of(const std::string& name, const std::exception& e) {
  std::fprintf(stderr, "%s: %s\n", name.c_str(), e.what());
  std::fflush(stderr);
  _exit(1);
}

/// Why a case is not run over this transport, "" for nothing to be said of; null where it is.
const char* left_out(const TransportCase& c, const Transport& transport, bool checked) {
  if (c.name == "LargestMessage" && transport.size() != 2) return "";
  if (c.name == "LargestMessage" && machine_memory() != 0 && machine_memory() < kMemoryForTheLargest)
    return ": SKIPPED, this machine has too little memory for 256 MiB twice";
  if (c.needs_numbers && !checked && !transport.carries_sequence())
    return ": not for a transport without sequence numbers";
  if (checked && c.name == "CancelledWhileItComes") return ": not promised, see checked_transport.hpp";
  return nullptr;
}

}  // namespace

int run_transport_cases(const TransportMaker& maker, int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  const bool checked = !arguments.empty() && arguments[0] == "--checked";
  if (checked) arguments.erase(arguments.begin());
  if (arguments.size() == 2 && arguments[0] == "--death") {
    const std::unique_ptr<Transport> transport = maker.make();
    try {
      Caller caller(*transport, maker.stops_long_messages);
      peer_death(caller, [] { raise(SIGKILL); });
    } catch (const std::exception& e) {
      die_of("the death of a rank", e);
    }
    std::ofstream(arguments[1] + "/rank." + std::to_string(transport->rank())) << "ok\n";
    _exit(69);  // nobody can leave in good order without the dead
  }

  std::vector<TransportCase> cases = transport_cases();
  cases.push_back({"LargestMessage", largest_message});
  // What a case leaves posted may still come after it: the cases that give up are the last.
  std::stable_sort(cases.begin(), cases.end(),
                   [](const TransportCase& a, const TransportCase& b) { return a.gives_up < b.gives_up; });
  for (const TransportCase& c : cases) {
    if (!arguments.empty() && std::find(arguments.begin(), arguments.end(), c.name) == arguments.end()) continue;
    std::unique_ptr<Transport> transport = maker.make();
    const auto say = [&](const char* how) {
      if (transport->rank() == 0) std::fprintf(stderr, "%s%s\n", c.name.c_str(), how);
    };
    CheckedTransport over(*transport);
    if (const char* const why = left_out(c, *transport, checked)) {
      if (*why) say(why);
      maker.close(*transport);
      continue;
    }
    say("");
    try {
      Caller caller(checked ? over : *transport, maker.stops_long_messages);
      c.body(caller);
      if (c.gives_up && !maker.closes_what_gave_up) {
        kept().push_back(transport.release());
      } else {
        if (!c.gives_up) caller.barrier("the end of a case");
        maker.close(*transport);
      }
    } catch (const std::exception& e) {
      die_of(c.name, e);
    }
  }
  // Before MPI_Finalize, which forgets communicators that messages are still posted on.
  if (!kept().empty() && __lsan_do_leak_check) __lsan_do_leak_check();
  return 0;
}

}  // namespace banyan::comm
