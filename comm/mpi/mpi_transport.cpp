#include "comm/mpi/mpi_transport.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "src/base/error.hpp"
#include "src/base/section.hpp"

namespace banyan::comm {

class MpiTransport::Pending final : public Request {
 public:
  Pending(std::size_t n, bool is_receive) : bytes(n), receives(is_receive) {}
  void done() { finish(); }
  void broken(std::string why) { fail(std::move(why)); }

  const std::size_t bytes;
  const bool receives;
  bool abandoned = false;  // released before it was complete: freed when it is
};

namespace {

constexpr std::uint32_t kLargestTag = (1u << 23) - 1;
constexpr Seconds kFarewell{1.0};  // how long releasing may take

std::string error_text(int code) {
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  return std::string(text.data(), static_cast<std::size_t>(length));
}

}  // namespace

void check_mpi(int code, const char* call) {
  if (code != MPI_SUCCESS) throw CommError("{}: {}", call, error_text(code));
}

MpiTransport::MpiTransport(MPI_Comm base, MpiWaiting waiting) : waiting_(waiting) {
  check_mpi(MPI_Comm_dup(base, &messages_), "MPI_Comm_dup");
  // Errors of calls that are about no communicator go to one of the two others, which one depends on the library.
  for (MPI_Comm c : {messages_, MPI_COMM_WORLD, MPI_COMM_SELF})
    check_mpi(MPI_Comm_set_errhandler(c, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check_mpi(MPI_Comm_rank(messages_, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(messages_, &size_), "MPI_Comm_size");
  void* largest = nullptr;
  int found = 0;
  check_mpi(MPI_Comm_get_attr(messages_, MPI_TAG_UB, &largest, &found), "MPI_Comm_get_attr");
  if (!found || static_cast<std::uint32_t>(*static_cast<int*>(largest)) < kLargestTag)
    throw CommError("this MPI library's tags end below {}; use Open MPI or another one with tags of 23 bits",
                    kLargestTag);
}

MpiTransport::~MpiTransport() = default;

void MpiTransport::close() { check_mpi(MPI_Comm_free(&messages_), "MPI_Comm_free"); }

MpiTransport::Pending* MpiTransport::post(Pending* message, MPI_Request handle) {
  handles_.push_back(handle);
  pending_.push_back(message);
  return message;
}

Request* MpiTransport::send(const Message& m) {
  MPI_Request handle = MPI_REQUEST_NULL;
  check_mpi(
      MPI_Isend(m.data, static_cast<int>(m.bytes), MPI_BYTE, m.peer, static_cast<int>(m.tag.bits), messages_, &handle),
      "MPI_Isend");
  return post(new Pending(m.bytes, false), handle);
}

Request* MpiTransport::receive(const Message& m) {
  MPI_Request handle = MPI_REQUEST_NULL;
  check_mpi(
      MPI_Irecv(m.data, static_cast<int>(m.bytes), MPI_BYTE, m.peer, static_cast<int>(m.tag.bits), messages_, &handle),
      "MPI_Irecv");
  return post(new Pending(m.bytes, true), handle);
}

void MpiTransport::complete(std::size_t index, const MPI_Status& status, bool error_in_status) {
  Pending* message = pending_[index];
  if (error_in_status && status.MPI_ERROR != MPI_SUCCESS) {
    message->broken(status.MPI_ERROR == MPI_ERR_TRUNCATE
                        ? fmt::format("more bytes came than the {} expected", message->bytes)
                        : error_text(status.MPI_ERROR));
    return;
  }
  if (message->receives) {
    int came = 0;
    MPI_Get_count(&status, MPI_BYTE, &came);
    if (static_cast<std::size_t>(came) != message->bytes) {
      message->broken(fmt::format("{} bytes came where {} were expected", came, message->bytes));
      return;
    }
  }
  message->done();
}

void MpiTransport::progress() {
  if (handles_.empty()) return;
  indices_.resize(handles_.size());
  statuses_.resize(handles_.size());
  int count = 0;
  const int code =
      MPI_Testsome(static_cast<int>(handles_.size()), handles_.data(), &count, indices_.data(), statuses_.data());
  complete(code, "MPI_Testsome", count);
}

bool MpiTransport::doze(Seconds) {
  if (waiting_ == MpiWaiting::kLooks || handles_.empty()) return false;
  indices_.resize(handles_.size());
  statuses_.resize(handles_.size());
  // One is enough to go on with; others that are there are found by the next look.
  const int code = MPI_Waitany(static_cast<int>(handles_.size()), handles_.data(), indices_.data(), statuses_.data());
  statuses_[0].MPI_ERROR = code;
  complete(code == MPI_SUCCESS ? code : MPI_ERR_IN_STATUS, "MPI_Waitany", 1);
  return true;
}

void MpiTransport::complete(int code, const char* call, int count) {
  if (code != MPI_SUCCESS && code != MPI_ERR_IN_STATUS) check_mpi(code, call);
  if (count == MPI_UNDEFINED || count == 0) return;
  for (int i = 0; i < count; ++i) {
    const auto index = static_cast<std::size_t>(indices_[static_cast<std::size_t>(i)]);
    complete(index, statuses_[static_cast<std::size_t>(i)], code == MPI_ERR_IN_STATUS);
    if (pending_[index]->abandoned) delete pending_[index];
    pending_[index] = nullptr;
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < handles_.size(); ++i) {
    if (!pending_[i]) continue;
    handles_[kept] = handles_[i];
    pending_[kept++] = pending_[i];
  }
  handles_.resize(kept);
  pending_.resize(kept);
}

void MpiTransport::release(Request* request) {
  auto* message = static_cast<Pending*>(request);
  const auto still_pending = [&] { return message->state() == Request::State::kPending; };
  if (still_pending() && message->receives) {
    const auto at = std::find(pending_.begin(), pending_.end(), message) - pending_.begin();
    MPI_Cancel(&handles_[static_cast<std::size_t>(at)]);
    const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(kFarewell);
    while (still_pending() && Clock::now() < end) progress();
  }
  forget(message);
}

void MpiTransport::forget(Request* request) {
  auto* message = static_cast<Pending*>(request);
  if (message->state() == Request::State::kPending)
    message->abandoned = true;
  else
    delete message;
}

}  // namespace banyan::comm
