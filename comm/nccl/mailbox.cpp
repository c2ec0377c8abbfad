#include "comm/nccl/mailbox.hpp"

#include <utility>

#include "src/base/error.hpp"

namespace banyan::comm {

Mailbox::Mailbox(Communicator& host, int channel, std::size_t bytes) : host_(host), channel_(channel), bytes_(bytes) {}

View Mailbox::view(Letter& letter) const {
  return View(letter.data.data(), DType::kU8, {static_cast<std::int64_t>(bytes_)});
}

void Mailbox::post(int to, std::span<const std::byte> letter, std::string_view what) {
  if (letter.size() != bytes_) throw BugError("a letter of {} bytes, not {}", letter.size(), bytes_);
  sent_.push_back({{letter.begin(), letter.end()}, {}});
  sent_.back().moved = host_.send({}, view(sent_.back()), to, channel_, what);
}

std::span<const std::byte> Mailbox::next(int from, std::string_view what) {
  Letter& letter = awaited_[from];
  if (letter.data.empty()) {
    letter.data.resize(bytes_);
    letter.moved = host_.receive({}, view(letter), from, channel_, what);
  }
  if (!letter.moved.test()) return {};
  read_ = std::exchange(letter.data, {});
  return read_;
}

}  // namespace banyan::comm
