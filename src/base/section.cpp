#include "src/base/section.hpp"

#include <algorithm>
#include <thread>

#include "src/base/error.hpp"

namespace banyan {
namespace {
thread_local Section* innermost = nullptr;
}

Section::Section(std::string what, Seconds limit) : what_(std::move(what)), opened_(Clock::now()), outer_(innermost) {
  deadline_ = outer_ ? outer_->deadline_ : Clock::time_point::max();
  if (limit > Seconds::zero())
    deadline_ = std::min(deadline_, opened_ + std::chrono::duration_cast<Clock::duration>(limit));
  innermost = this;
}

Section::~Section() { innermost = outer_; }

bool Section::expired() const { return deadline_ != Clock::time_point::max() && Clock::now() > deadline_; }

void Section::check() const {
  if (expired()) throw CommError("waited {:.1f} s for {}", Seconds(Clock::now() - opened_).count(), trail());
}

std::string Section::trail() {
  std::string s;
  for (const Section* i = innermost; i; i = i->outer_) s += s.empty() ? i->what_ : " (in " + i->what_ + ")";
  return s;
}

void Backoff::pause() {
  ++count_;
  if (count_ < 64) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  } else if (count_ < 4096) {
    std::this_thread::yield();
  } else {
    std::this_thread::sleep_for(std::chrono::microseconds(std::min(1000, 50 + (count_ - 4096))));
  }
}

}  // namespace banyan
