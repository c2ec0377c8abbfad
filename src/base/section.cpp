#include "src/base/section.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <thread>
#include <utility>

#include "src/base/error.hpp"

namespace banyan {
namespace {
thread_local Section* innermost = nullptr;
thread_local std::string failed_trail;
}  // namespace

Section::Section(std::string what, Seconds limit)
    : what_(std::move(what)), opened_(Clock::now()), outer_(innermost), exceptions_(std::uncaught_exceptions()) {
  deadline_ = outer_ ? outer_->deadline_ : Clock::time_point::max();
  if (limit > Seconds::zero())
    deadline_ = std::min(deadline_, opened_ + std::chrono::duration_cast<Clock::duration>(limit));
  std::atomic_signal_fence(std::memory_order_release);  // a handler on this thread may follow the chain
  innermost = this;
}

Section::~Section() {
  if (std::uncaught_exceptions() > exceptions_) {
    if (!noted_) failed_trail = trail();
    if (outer_) outer_->noted_ = true;
  }
  innermost = outer_;
  std::atomic_signal_fence(std::memory_order_release);
}

std::string Section::take_failed_trail() { return std::exchange(failed_trail, {}); }

bool Section::expired() const { return deadline_ != Clock::time_point::max() && Clock::now() > deadline_; }

void Section::check() const {
  if (expired()) throw CommError("waited {:.1f} s for {}", Seconds(Clock::now() - opened_).count(), trail());
}

std::string Section::trail() {
  std::string s;
  for (const Section* i = innermost; i; i = i->outer_) s += s.empty() ? i->what_ : " (in " + i->what_ + ")";
  return s;
}

void Section::copy_trail(char* out, std::size_t bytes) noexcept {
  if (bytes == 0) return;
  std::size_t used = 0;
  const auto put = [&](const char* text, std::size_t length) {
    length = std::min(length, bytes - 1 - used);
    std::memcpy(out + used, text, length);
    used += length;
  };
  for (const Section* i = innermost; i; i = i->outer_) {
    if (i != innermost) put(" (in ", 5);
    put(i->what_.data(), i->what_.size());
    if (i != innermost) put(")", 1);
  }
  out[used] = '\0';
}

void Backoff::pause() {
  ++count_;
  if (count_ < kSpins) {
    spin_once();
  } else if (count_ < kYields) {
    std::this_thread::yield();
  } else {
    std::this_thread::sleep_for(std::chrono::microseconds(std::min(1000, 50 + (count_ - kYields))));
  }
}

}  // namespace banyan
