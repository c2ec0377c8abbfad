// Whether a person watches.  mpirun gives its ranks a pseudo-terminal whatever its own output is, so under a launcher
// the launcher's descriptor is what counts.
#pragma once

namespace banyan::terminal {

/// True when what this process writes to `fd` (1 or 2) ends on a terminal that understands control sequences.
bool shows(int fd);
/// Columns of the terminal behind standard output; 80 when unknown.
int columns();

}  // namespace banyan::terminal
