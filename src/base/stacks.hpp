// The stacks of all threads of this process as text, for a rank that hangs.  The threads go on.
#pragma once

#include <string>

#include "src/base/section.hpp"

namespace banyan {

/// One thread of this process.
struct ThreadStack {
  int tid = 0;
  std::string name;    ///< as the kernel knows it
  char state = '?';    ///< R runs, S sleeps, D waits for a device or a file system, ... (proc(5))
  std::string kernel;  ///< where it sleeps in the kernel, if that is told
  bool answered = false;
  std::string sections;  ///< Section::trail(): what it waits for
  std::string frames;    ///< a line each, innermost first: "#3 0x55d0c1 banyan::train::train(banyan::job::Job&)+0x51
                         ///< (banyan+0x4d0c1)"
};

/// The stack of one thread; waits so long for its answer.
ThreadStack stack_of(int tid, Seconds limit);
/// A paragraph.
std::string text_of(const ThreadStack& stack);
/// All threads, the main one first, each given so long to answer; once several in a row did not, the rest get no time.
std::string stacks_of_all_threads(Seconds limit);

}  // namespace banyan
