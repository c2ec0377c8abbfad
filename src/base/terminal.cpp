#include "src/base/terminal.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>

namespace banyan::terminal {
namespace {

/// Opens what `fd` of the launcher is, or of this process without one; -1 when it cannot be told.
int open_output(int fd) {
  const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
  if (!rank) return dup(fd);
  // Only a rank started by mpirun itself (not by a daemon on another host) has a launcher to look at.
  const std::string path = "/proc/" + std::to_string(getppid()) + "/fd/" + std::to_string(fd);
  char target[64] = {};
  if (readlink(path.c_str(), target, sizeof target - 1) <= 0) return -1;
  if (std::strncmp(target, "/dev/pts/", 9) != 0 && std::strncmp(target, "/dev/tty", 8) != 0) return -1;
  return open(path.c_str(), O_WRONLY | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
}

}  // namespace

bool shows(int fd) {
  const char* term = std::getenv("TERM");
  if (term && std::strcmp(term, "dumb") == 0) return false;
  const int output = open_output(fd);
  if (output < 0) return false;
  const bool yes = isatty(output) == 1;
  close(output);
  return yes;
}

int columns() {
  winsize size{};
  const int output = open_output(STDOUT_FILENO);
  if (output < 0) return 80;
  const bool known = ioctl(output, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  close(output);
  return known ? size.ws_col : 80;
}

}  // namespace banyan::terminal
