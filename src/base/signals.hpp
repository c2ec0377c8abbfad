// Every signal handler of the program.
//   USR1, TERM, INT   first: stop at the next agreed step boundary, after a commit; second: the same, leaving out
//                     whatever is optional (evaluation, view.h5); third: die of the signal at once, the last commit
//                     stands
//   SEGV ABRT BUS FPE ILL   write the crash record (async-signal-safe), then die of the signal as usual
//   RTMIN+5           the thread that gets it writes down where it is (where_is); its system calls start again
//   ALRM              ends the process (exit_by)
//   PIPE, XFSZ        ignored, so that write() reports EPIPE and EFBIG and the caller says so
// They run on a stack of their own, since generated code may use what lies below the stack pointer.
// Handlers only count; the step loop asks stop_requests() and the ranks agree on the boundary.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/section.hpp"

namespace banyan::signals {

/// Installs all handlers.  Once per process, before threads start and before MPI_Init (MPI leaves them alone).
void install();

/// How many stop signals have arrived so far.
int stop_requests();
/// So many, and what is optional is left out.
inline constexpr int kHurry = 2;
/// Number of the last stop signal; 0 when none came.
int last_signal();
/// "SIGTERM" for 15; "a signal" for those the program has no dealings with.
const char* name_of(int signal);
/// Counts as if the signal had arrived; for tests and for time limits.
void request_stop(int signal);
/// Forgets the requests; for tests and for commands that ask whether to go on.
void reset();

/// What a crash writes: `before` + signal name + `after` to a new file `path` (created with O_EXCL, mode 0640; if it
/// exists already nothing is written).  The texts are copied now, so that nothing is allocated in the handler; an empty
/// path removes the hook.  At most 4096 bytes each.
void set_crash_record(std::string_view path, std::string_view before, std::string_view after);

/// Where a thread of this process is just now.
struct Whereabouts {
  std::vector<void*> frames;  ///< return addresses, innermost first, those of the handler left out
  std::string sections;       ///< Section::trail() of that thread
};
/// Asks thread `tid`, which goes on afterwards.  False when it does not answer within `limit`: it is gone, or stuck in
/// the kernel.  One call at a time.
bool where_is(int tid, Seconds limit, Whereabouts& out);

/// The process ends with `exit_code` when it has not ended by itself within so many whole seconds; 0 takes it back.
void exit_by(unsigned seconds, int exit_code);

}  // namespace banyan::signals
