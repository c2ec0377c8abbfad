#include "comm/nccl/roll_call.hpp"

#include <cstring>

namespace banyan::comm {

RollCall::RollCall(Communicator& host) : host_(host), mail_(host, kChannel, sizeof(RollWord)) {}

void RollCall::tell(int member, const RollWord& word, const std::string& operation) {
  const auto [last, is_new] = last_told_.try_emplace({member, word.link}, word);
  if (!is_new && last->second == word) return;
  last->second = word;
  mail_.post(member, std::as_bytes(std::span(&word, 1)), operation);
}

void RollCall::look(int member, const std::string& operation) {
  const std::string what = "word of " + operation;
  for (auto letter = mail_.next(member, what); !letter.empty(); letter = mail_.next(member, what)) {
    RollWord word;
    std::memcpy(&word, letter.data(), sizeof word);
    heard_[{member, word.link}] = word;
  }
}

std::optional<RollWord> RollCall::heard(int member, std::uint64_t link) const {
  const auto at = heard_.find({member, link});
  return at == heard_.end() ? std::nullopt : std::optional(at->second);
}

}  // namespace banyan::comm
