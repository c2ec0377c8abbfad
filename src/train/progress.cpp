#include "src/train/progress.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "src/base/log.hpp"
#include "src/base/units.hpp"

namespace banyan::train {

std::string bar(std::int64_t done, std::int64_t total, int width) {
  const std::int64_t share = total > 0 ? std::clamp<std::int64_t>(done, 0, total) : 0;
  const auto full = static_cast<std::size_t>(total > 0 ? share * width / total : 0);
  std::string line(full, '=');
  if (full < static_cast<std::size_t>(width)) line += '>';
  line.resize(static_cast<std::size_t>(width), ' ');
  return fmt::format("[{}] {:3} %", line, total > 0 ? share * 100 / total : 0);
}

Progress::Progress(std::int64_t first_step, std::int64_t steps, std::int64_t every)
    : first_(first_step), steps_(steps), every_(every), start_(Clock::now()) {}

Progress::~Progress() { log::end_live_line(); }

void Progress::step(std::int64_t step, const job::Metrics& metrics, bool always) {
  const std::string line = job::console_line(metrics);
  if (always || step % every_ == 0 || step == steps_) log::step_line(line);
  if (!log::on_terminal()) return;
  const double per_step = Seconds(Clock::now() - start_).count() / static_cast<double>(step - first_);
  std::string shown;
  for (const job::Metric& m : metrics)
    if (m.key == "loss" || m.key == "tokens_per_s") shown += "  " + job::console_line({m});
  log::live_line(fmt::format("{}  step {}/{}{}  {} left", bar(step, steps_, 20), step, steps_, shown,
                             format_seconds(per_step * static_cast<double>(steps_ - step))));
}

}  // namespace banyan::train
