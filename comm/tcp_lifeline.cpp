#include "comm/tcp_lifeline.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "src/base/error.hpp"
#include "src/base/exit_code.hpp"

namespace banyan::comm {
namespace {

constexpr int kBranches = 8;                       // as in upper_rank
constexpr std::chrono::milliseconds kAnswer{700};  // who waits looks at its connections every few milliseconds
constexpr std::chrono::milliseconds kBeatEvery{500};
constexpr std::size_t kLongestText = 8192;
constexpr std::int32_t kHangs = 1 << 16;  // beyond all exit codes
constexpr Seconds kFarewell{1.0};

Clock::time_point after(Seconds s) { return Clock::now() + std::chrono::duration_cast<Clock::duration>(s); }

int milliseconds_until(Clock::time_point end) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
  return static_cast<int>(std::clamp<long long>(left, 0, 60000));
}

// Waits until one thing can be done with one descriptor.
bool ready(int fd, short what, Clock::time_point end) {
  pollfd p{.fd = fd, .events = what, .revents = 0};
  while (true) {
    const int n = ::poll(&p, 1, milliseconds_until(end));
    if (n > 0) return true;
    if (n == 0 || errno != EINTR) return false;
  }
}

// A dead host sends no farewell: probe it.
void configure(int fd) {
  const int on = 1, idle = 10, interval = 5, count = 3;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

constexpr const char* kLoopback = "127.0.0.1";

// IPv4 addresses of this host, ready for use by others, then the loopback for ranks of the same host.
std::vector<std::string> own_addresses() {
  std::vector<std::string> result;
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) == 0) {
    for (const ifaddrs* i = all; i; i = i->ifa_next) {
      if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || !(i->ifa_flags & IFF_UP) ||
          (i->ifa_flags & IFF_LOOPBACK))
        continue;
      std::array<char, INET_ADDRSTRLEN> text{};
      const auto* in = reinterpret_cast<const sockaddr_in*>(i->ifa_addr);
      if (inet_ntop(AF_INET, &in->sin_addr, text.data(), text.size())) result.emplace_back(text.data());
      if (result.size() == 10) break;
    }
    freeifaddrs(all);
  }
  result.emplace_back(kLoopback);
  return result;
}

}  // namespace

TcpLifeline::TcpLifeline(int rank, int size, std::string key, bool one_host)
    : rank_(rank), size_(size), upper_(upper_rank(rank)), first_lower_(rank * kBranches + 1), key_(std::move(key)) {
  lowers_ = std::clamp(size_ - first_lower_, 0, kBranches);
  links_.resize(static_cast<std::size_t>(lowers_ + (rank_ > 0)));
  for (std::size_t i = 0; i < links_.size(); ++i)
    links_[i].rank = rank_ > 0 && i == 0 ? upper_ : first_lower_ + static_cast<int>(i) - (rank_ > 0);
  if (lowers_ == 0) return;
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_addr.s_addr = htonl(one_host ? INADDR_LOOPBACK : INADDR_ANY);
  socklen_t length = sizeof any;
  if (listener_ < 0 || bind(listener_, reinterpret_cast<sockaddr*>(&any), sizeof any) != 0 ||
      listen(listener_, 64) != 0 || getsockname(listener_, reinterpret_cast<sockaddr*>(&any), &length) != 0)
    return;  // no address: connect() will say so
  fcntl(listener_, F_SETFL, fcntl(listener_, F_GETFL) | O_NONBLOCK);
  address_ = std::to_string(ntohs(any.sin_port));
  for (const std::string& a : one_host ? std::vector<std::string>{kLoopback} : own_addresses())
    if (address_.size() + a.size() + 1 < kAddressBytes) address_ += " " + a;
}

TcpLifeline::~TcpLifeline() {
  for (const Link& link : links_)
    if (link.fd >= 0) close(link.fd);
  if (listener_ >= 0) close(listener_);
}

bool TcpLifeline::connect(const std::vector<std::string>& addresses, Seconds deadline) {
  const auto end = after(deadline);
  const bool up = rank_ == 0 || connect_upper(addresses.at(static_cast<std::size_t>(upper_)), end);
  accept_lower(end);
  return up && std::all_of(links_.begin(), links_.end(), [](const Link& l) { return l.fd >= 0; });
}

// "PORT ADDRESS ADDRESS ...": the first address that answers to the key is the one.
bool TcpLifeline::connect_upper(const std::string& address, Clock::time_point end) {
  std::vector<std::string> words(1);
  for (char c : address)
    if (c == ' ')
      words.emplace_back();
    else
      words.back() += c;
  Link& link = links_[0];
  for (std::size_t i = 1; i < words.size(); ++i) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(std::atoi(words[0].c_str())));
    if (inet_pton(AF_INET, words[i].c_str(), &to.sin_addr) != 1) continue;
    link.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (link.fd < 0) return false;
    configure(link.fd);
    const auto patience = std::min(end, after(Seconds{3}));
    int error = 0;
    socklen_t length = sizeof error;
    bool connected = ::connect(link.fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
    if (!connected && errno == EINPROGRESS && ready(link.fd, POLLOUT, patience))
      connected = getsockopt(link.fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0;
    if (connected) {
      queue(link, Kind::kHello, rank_, 0, key_);
      // The answer proves that this is the right process, not one behind the same private address on another host.
      if (take_hello(link, patience) && link.rank == upper_) return true;
    }
    if (link.fd >= 0) close(link.fd);
    link = Link{.fd = -1, .rank = upper_};
  }
  return false;
}

void TcpLifeline::accept_lower(Clock::time_point end) {
  const auto missing = [&] {
    return std::any_of(links_.begin(), links_.end(), [](const Link& l) { return l.fd < 0; });
  };
  while (listener_ >= 0 && missing() && ready(listener_, POLLIN, end)) {
    Link caller;
    caller.fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (caller.fd < 0) continue;
    configure(caller.fd);
    const bool welcome = take_hello(caller, std::min(end, after(Seconds{3}))) && caller.rank >= first_lower_ &&
                         caller.rank < first_lower_ + lowers_ && link_to(caller.rank).fd < 0;
    if (!welcome) {
      if (caller.fd >= 0) close(caller.fd);
      continue;
    }
    queue(caller, Kind::kHello, rank_, 0, key_);
    link_to(caller.rank) = std::move(caller);
  }
  if (listener_ >= 0) close(std::exchange(listener_, -1));
}

bool TcpLifeline::take_hello(Link& link, Clock::time_point end) {
  const std::size_t bytes = sizeof(Header) + key_.size();
  std::string got;
  while (got.size() < bytes) {
    if (!ready(link.fd, POLLIN, end)) return false;
    std::array<char, 256> buffer;
    const auto n = recv(link.fd, buffer.data(), std::min(buffer.size(), bytes - got.size()), 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return false;
    if (n > 0) got.append(buffer.data(), static_cast<std::size_t>(n));
  }
  Header header;
  std::memcpy(&header, got.data(), sizeof header);
  if (header.kind != Kind::kHello || header.length != key_.size() || got.substr(sizeof header) != key_) return false;
  link.rank = header.rank;
  return true;
}

void TcpLifeline::queue(Link& link, Kind kind, int rank, int code, std::string_view text) {
  if (link.fd < 0) return;
  text = text.substr(0, kLongestText);
  const Header header{kind, rank, code, static_cast<std::uint32_t>(text.size())};
  link.out.append(reinterpret_cast<const char*>(&header), sizeof header).append(text);
  flush(link);
}

void TcpLifeline::flush(Link& link) {
  while (link.fd >= 0 && !link.out.empty()) {
    const auto n = ::send(link.fd, link.out.data(), link.out.size(), MSG_NOSIGNAL);
    if (n > 0) {
      link.out.erase(0, static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      return;
    } else if (errno != EINTR) {
      link.out.clear();  // what it still had to say is read before the loss is noticed
      return;
    }
  }
}

void TcpLifeline::read(Link& link) {
  std::array<char, 4096> buffer;
  while (link.fd >= 0) {
    const auto n = recv(link.fd, buffer.data(), buffer.size(), 0);
    if (n > 0) {
      link.in.append(buffer.data(), static_cast<std::size_t>(n));
      understand(link);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
      lose(link);
    } else if (errno == EAGAIN) {
      return;
    }
  }
}

void TcpLifeline::understand(Link& link) {
  Header header;
  while (link.in.size() >= sizeof header) {
    std::memcpy(&header, link.in.data(), sizeof header);
    if (header.length > kLongestText || header.rank < 0 || header.rank >= size_) return lose(link);
    if (link.in.size() < sizeof header + header.length) return;
    const std::string text = link.in.substr(sizeof header, header.length);
    link.in.erase(0, sizeof header + header.length);
    switch (header.kind) {
      case Kind::kFailure:
        hear({header.rank, header.code & ~kHangs, text, (header.code & kHangs) != 0}, link.rank);
        break;
      case Kind::kHere:
        link.here = header.code != 0;
        break;
      case Kind::kGo:
        go_ = header.code != 0;
        break;
      case Kind::kBye:
        link.bye = true;
        break;
      case Kind::kWaits:
        queue(link, Kind::kHeard, rank_, 0, {});
        note_wait(header.rank, header.code, link.rank);
        break;
      case Kind::kHeard:
        link.asked.reset();
        if (std::exchange(link.silent, false)) note_silence(link.rank, false, rank_);
        break;
      case Kind::kBeat:
        note_beat(header.rank, Beats::unpack(text), link.rank);
        break;
      case Kind::kSilent:
        if (!text.empty()) beats_.note(header.rank, Beats::unpack(text));
        note_silence(header.rank, header.code != 0, link.rank);
        break;
      case Kind::kHello:
        break;
    }
  }
}

void TcpLifeline::lose(Link& link) {
  close(std::exchange(link.fd, -1));
  if (link.bye || (leaving_ && (link.here || go_))) return;  // left as agreed
  hear({link.rank, static_cast<int>(ExitCode::kPeerLost), "it ended without a word"}, link.rank);
}

void TcpLifeline::hear(const PeerFailure& failure, int from_rank) {
  // Word of this rank itself comes from others who gave it up.
  if (!announced_ && from_rank >= 0) announced_ = failure;
  if (std::exchange(told_, true)) return;
  for (Link& link : links_)
    if (link.rank != from_rank)
      queue(link, Kind::kFailure, failure.rank, failure.code | (failure.hang ? kHangs : 0), failure.message);
}

void TcpLifeline::note_wait(int rank, int for_rank, int from_rank) {
  if (for_rank < 0)
    graph_.waits_for.erase(rank);
  else
    graph_.waits_for[rank] = for_rank;
  for (Link& link : links_) {
    if (link.rank == from_rank || link.fd < 0) continue;
    queue(link, Kind::kWaits, rank, for_rank, {});
    if (!link.asked) link.asked = Clock::now();
  }
}

void TcpLifeline::note_silence(int rank, bool silent, int from_rank) {
  if (silent)
    graph_.silent.insert(rank);
  else
    graph_.silent.erase(rank);
  const Beat* beat = last_beat(rank);
  for (Link& link : links_)
    if (link.rank != from_rank && link.rank != rank)
      queue(link, Kind::kSilent, rank, silent, beat ? Beats::pack(*beat) : "");
}

void TcpLifeline::note_beat(int rank, const Beat& beat, int from_rank) {
  if (!beats_.note(rank, beat) || !waited_for(rank)) return;
  for (Link& link : links_)
    if (link.rank != from_rank) queue(link, Kind::kBeat, rank, 0, Beats::pack(beat));
}

void TcpLifeline::beat(std::string_view where) {
  const Beat& beat = beats_.add(rank_, where);
  if (beat.when < next_beat_ && !is_waited_for()) return;
  next_beat_ = beat.when + kBeatEvery;
  const std::string text = Beats::pack(beat);
  for (Link& link : links_) queue(link, Kind::kBeat, rank_, 0, text);
}

void TcpLifeline::watch_answers() {
  for (Link& link : links_) {
    if (!link.asked || link.silent || link.fd < 0 || Clock::now() < *link.asked + kAnswer) continue;
    link.silent = true;
    note_silence(link.rank, true, rank_);
  }
}

void TcpLifeline::waits(int for_rank) { note_wait(rank_, for_rank, rank_); }

bool TcpLifeline::waited_for(int rank) const {
  return std::any_of(graph_.waits_for.begin(), graph_.waits_for.end(), [&](auto& w) { return w.second == rank; });
}

void TcpLifeline::poll() {
  watch_answers();
  std::array<pollfd, kBranches + 1> fds;
  std::size_t n = 0;
  for (const Link& link : links_)
    fds[n++] = {.fd = link.fd, .events = static_cast<short>(POLLIN | (link.out.empty() ? 0 : POLLOUT)), .revents = 0};
  if (n == 0 || ::poll(fds.data(), n, 0) <= 0) return;
  for (std::size_t i = 0; i < n; ++i) {
    if (fds[i].fd < 0 || fds[i].revents == 0) continue;
    if (fds[i].revents & POLLOUT) flush(links_[i]);
    if (fds[i].revents & (POLLIN | POLLHUP | POLLERR)) read(links_[i]);
  }
}

void TcpLifeline::flush_all(Clock::time_point end) {
  for (Link& link : links_)
    while (link.fd >= 0 && !link.out.empty() && ready(link.fd, POLLOUT, end)) flush(link);
}

void TcpLifeline::announce(const PeerFailure& failure) {
  hear(failure, -1);
  flush_all(after(kFarewell));
}

bool TcpLifeline::meet(Seconds deadline) {
  const auto end = after(deadline);
  leaving_ = true;
  bool complete = true, reported = false;
  Backoff backoff;
  while (true) {
    poll();
    bool all_here = true;
    complete = true;
    for (const Link& link : links_) {
      if (link.rank == upper_) continue;
      if (!link.here && link.fd >= 0) all_here = false;
      complete = complete && link.here.value_or(false);
    }
    Link* upper = rank_ > 0 ? &links_[0] : nullptr;
    if (all_here && upper && upper->fd >= 0 && !reported) {
      queue(*upper, Kind::kHere, rank_, complete, {});
      reported = true;
    }
    // Without an upper rank this one is the root of what is left.
    if (all_here && !go_ && (!upper || upper->fd < 0)) go_ = complete && !upper;
    if (go_) break;
    if (Clock::now() > end) return false;
    backoff.pause();
  }
  for (Link& link : links_)
    if (link.rank != upper_) queue(link, Kind::kGo, rank_, *go_, {});
  flush_all(after(kFarewell));
  return *go_;
}

void TcpLifeline::leave() {
  for (Link& link : links_) queue(link, Kind::kBye, rank_, 0, {});
  flush_all(after(kFarewell));
}

}  // namespace banyan::comm
