#include "tests/cuda_host/nccl_wire.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace emu {
namespace {

constexpr std::size_t kChunk = std::size_t{64} << 10;

/// A name outside the file system, so that nothing is left behind.
socklen_t address(sockaddr_un& a, const std::string& name, int rank) {
  a = {};
  a.sun_family = AF_UNIX;
  const std::string text = "cuda-host-nccl-" + name + "-" + std::to_string(rank);
  std::memcpy(a.sun_path + 1, text.data(), std::min(text.size(), sizeof a.sun_path - 1));
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
}

int new_socket() {
  const int s = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (s < 0) {
    std::perror("cuda_host: no socket for NCCL");
    std::abort();
  }
  return s;
}

/// Appends what has come; false when the other end is closed.
bool read_into(std::string& in, int socket) {
  char chunk[kChunk];
  while (true) {
    const ssize_t n = ::recv(socket, chunk, sizeof chunk, 0);
    if (n > 0) {
      in.append(chunk, static_cast<std::size_t>(n));
      continue;
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR);
  }
}

/// Cuts the first frame off, when it is complete.
bool cut(std::string& in, Frame& frame) {
  if (in.size() < sizeof(Frame::Header)) return false;
  std::memcpy(&frame.header, in.data(), sizeof frame.header);
  const std::size_t length = sizeof frame.header + frame.header.bytes;
  if (in.size() < length) return false;
  frame.data.assign(in.begin() + sizeof frame.header, in.begin() + static_cast<std::ptrdiff_t>(length));
  in.erase(0, length);
  return true;
}

}  // namespace

Wire::Wire(const std::string& name, int rank, int size, int device)
    : name_(name),
      rank_(rank),
      size_(size),
      device_(device),
      missing_(size - 1),
      peers_(static_cast<std::size_t>(size)) {
  if (size == 1) return;
  listener_ = new_socket();
  sockaddr_un a;
  const socklen_t length = address(a, name_, rank_);
  if (::bind(listener_, reinterpret_cast<sockaddr*>(&a), length) != 0 || ::listen(listener_, size) != 0)
    failure_ = "rank " + std::to_string(rank) + " is there twice: " + std::strerror(errno);
}

Wire::~Wire() {
  if (listener_ >= 0) ::close(listener_);
  for (const Peer& p : peers_)
    if (p.socket >= 0) ::close(p.socket);
  for (const Peer& p : strangers_) ::close(p.socket);
}

void Wire::progress() {
  if (!connected() && listener_ >= 0) {
    accept_some();
    for (int r = 0; r < rank_; ++r)
      if (peers_[static_cast<std::size_t>(r)].socket < 0) dial(r);
  }
  for (int r = 0; r < size_; ++r) {
    if (peers_[static_cast<std::size_t>(r)].socket < 0) continue;
    write(r);
    read(r);
  }
}

void Wire::dial(int to) {
  const int s = new_socket();
  sockaddr_un a;
  const socklen_t length = address(a, name_, to);
  if (::connect(s, reinterpret_cast<sockaddr*>(&a), length) != 0) {  // is not there yet
    ::close(s);
    return;
  }
  peers_[static_cast<std::size_t>(to)].socket = s;
  send(to, {.rank = rank_, .size = size_, .device = device_, .terms = {}});
}

void Wire::accept_some() {
  for (int s; (s = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;)
    strangers_.emplace_back().socket = s;
  for (auto i = strangers_.begin(); i != strangers_.end();) {
    read_into(i->in, i->socket);
    Frame hello;
    if (!cut(i->in, hello)) {
      ++i;
      continue;
    }
    const int from = hello.header.rank;
    if (from <= rank_ || from >= size_ || peers_[static_cast<std::size_t>(from)].socket >= 0) {
      failure_ = "rank " + std::to_string(from) + " comes into a communicator of " + std::to_string(size_);
      ::close(i->socket);
      i = strangers_.erase(i);
      continue;
    }
    Peer& p = peers_[static_cast<std::size_t>(from)];
    p = std::move(*i);
    i = strangers_.erase(i);
    send(from, {.rank = rank_, .size = size_, .device = device_, .terms = {}});
    greet(from, hello.header);
  }
}

void Wire::greet(int from, const Frame::Header& hello) {
  --missing_;
  if (hello.size != size_)
    failure_ = "rank " + std::to_string(from) + " makes a communicator of " + std::to_string(hello.size) + ", rank " +
               std::to_string(rank_) + " one of " + std::to_string(size_);
  else if (hello.device == device_)
    failure_ = "duplicate GPU: rank " + std::to_string(from) + " and rank " + std::to_string(rank_) +
               " are both on device " + std::to_string(device_);
}

void Wire::send(int to, const Frame::Header& header, const void* data) {
  Peer& p = peers_[static_cast<std::size_t>(to)];
  p.out.append(reinterpret_cast<const char*>(&header), sizeof header);
  if (header.bytes > 0) p.out.append(static_cast<const char*>(data), header.bytes);
  write(to);
}

void Wire::write(int to) {
  Peer& p = peers_[static_cast<std::size_t>(to)];
  while (!p.out.empty() && p.socket >= 0) {
    const ssize_t n = ::send(p.socket, p.out.data(), p.out.size(), MSG_NOSIGNAL);
    if (n <= 0) return;  // for now, or the reading end notices
    p.out.erase(0, static_cast<std::size_t>(n));
  }
}

void Wire::read(int from) {
  Peer& p = peers_[static_cast<std::size_t>(from)];
  const bool open = read_into(p.in, p.socket);
  for (Frame f; cut(p.in, f); f = {}) take(from, std::move(f));
  if (!open) lose(from);
}

void Wire::take(int from, Frame frame) {
  Peer& p = peers_[static_cast<std::size_t>(from)];
  switch (frame.header.kind) {
    case Frame::kHello:
      return greet(from, frame.header);
    case Frame::kOperand:
      return p.operands.push_back(std::move(frame));
    case Frame::kAnnounce:
      return p.announced.push_back(std::move(frame));
    case Frame::kCredit:
      return p.credits.push_back(std::move(frame));
    case Frame::kMessage:
      return p.messages.push_back(std::move(frame));
    case Frame::kBye:
      p.bye = true;
  }
}

void Wire::lose(int peer) {
  Peer& p = peers_[static_cast<std::size_t>(peer)];
  ::close(p.socket);
  p.socket = -1;
  p.left = true;
  if (!p.bye && failure_.empty()) failure_ = "the connection to rank " + std::to_string(peer) + " was closed";
}

bool Wire::flushed() const {
  return std::all_of(peers_.begin(), peers_.end(), [](const Peer& p) { return p.left || p.out.empty(); });
}

bool Wire::all_said_bye() const {
  for (int r = 0; r < size_; ++r)
    if (r != rank_ && !peers_[static_cast<std::size_t>(r)].bye) return false;
  return true;
}

}  // namespace emu
