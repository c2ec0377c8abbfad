#include "src/app/meter.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "src/base/error.hpp"
#include "src/base/log.hpp"
#include "src/base/signals.hpp"
#include "src/base/units.hpp"

namespace banyan::app {

Meter::Meter(std::string what, std::int64_t total)
    : what_(std::move(what)), total_(total), begun_(Clock::now()), said_(begun_) {}

void Meter::stop_if_asked() const {
  if (signals::stop_requests() > 0)
    throw Error(ExitCode::kStopped, fmt::format("stopped by {} while {}; start the same command again to redo it",
                                                signals::name_of(signals::last_signal()), what_));
}

void Meter::add(std::size_t bytes) {
  stop_if_asked();
  done_ += static_cast<std::int64_t>(bytes);
  const auto now = Clock::now();
  const Seconds since = now - said_;
  if (since < Seconds(log::on_terminal() ? 0.2 : 10.0)) return;
  said_ = now;
  const double rate = static_cast<double>(done_) / Seconds(now - begun_).count();
  const std::string line = fmt::format(
      "{} {} of {} ({:.0f} %), {}/s", what_, format_bytes(static_cast<double>(done_)),
      format_bytes(static_cast<double>(total_)),
      100.0 * static_cast<double>(done_) / static_cast<double>(std::max<std::int64_t>(total_, 1)), format_bytes(rate));
  if (log::on_terminal())
    log::live_line(line);
  else
    log::info("{}", line);
}

}  // namespace banyan::app
