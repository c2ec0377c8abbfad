// Which of several ways a device computes matrix products in (kernels::DeviceBackend::choices), kept in the run
// directory as algorithms.txt: a job that goes on with a run adds up in the same order as the one before it.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace banyan::job {

class Job;

/// The file's text: what the ranks have chosen and what was kept before, `kept` first where two differ, with a digest.
/// Each text is a line that names library and device and then lines "SHAPE : HOW", several such blocks after each
/// other in `kept`.
std::string merge_choices(std::string_view kept, std::span<const std::string> of_ranks);
/// The block of a file's text that begins with this line; empty: there is none.
std::string choices_of(std::string_view text, std::string_view first_line);
/// The text without its digest.  ConfigError that names `file` when it is not what was written.
std::string checked_choices(std::string_view text, const std::string& file);

/// Takes over what RUN/algorithms.txt says of this rank's library and device, where the job computes on one.
/// ConfigError for a damaged file; a warning where it is about others only.  Called by all ranks before anything is
/// computed.
void recall_choices(Job& job);
/// Writes what this job's ranks have chosen into RUN/algorithms.txt, unless it is there already, with a warning where
/// ranks with the same library and device chose differently.  Called by all ranks once all shapes have been met; rank 0
/// writes.
void keep_choices(Job& job);

}  // namespace banyan::job
