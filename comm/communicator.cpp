#include "comm/communicator.hpp"

#include <algorithm>
#include <cstring>

#include "src/base/error.hpp"

namespace banyan::comm {
namespace {

// Everybody folds everybody's value in rank order: one answer, and no reduction function needed.
template <class T>
T fold(Communicator& c, T value, ReduceOp op, std::string_view what) {
  std::vector<T> all(static_cast<std::size_t>(c.size()));
  const std::vector<std::int64_t> counts(all.size(), 1);
  c.all_gather({}, View(all.data(), {c.size()}), ConstView(&value, {1}), counts, what).wait();
  T result = all[0];
  for (std::size_t i = 1; i < all.size(); ++i) {
    switch (op) {
      case ReduceOp::kSum:
        result = static_cast<T>(result + all[i]);
        break;
      case ReduceOp::kMax:
        result = std::max(result, all[i]);
        break;
      case ReduceOp::kMin:
        result = std::min(result, all[i]);
        break;
    }
  }
  return result;
}

constexpr std::int64_t kLongestString = std::int64_t{1} << 32;

std::size_t checked_length(std::int64_t length, std::string_view what) {
  if (length < 0 || length > kLongestString) throw CommError("{}: a string of {} bytes was announced", what, length);
  return static_cast<std::size_t>(length);
}

}  // namespace

std::int64_t all_reduce_value(Communicator& c, std::int64_t value, ReduceOp op, std::string_view what) {
  return fold(c, value, op, what);
}

double all_reduce_value(Communicator& c, double value, ReduceOp op, std::string_view what) {
  return fold(c, value, op, what);
}

std::vector<std::string> all_gather_strings(Communicator& c, const std::string& mine, std::string_view what) {
  const auto ranks = static_cast<std::size_t>(c.size());
  std::vector<std::int64_t> lengths(ranks);
  const auto length = static_cast<std::int64_t>(mine.size());
  const std::vector<std::int64_t> ones(ranks, 1);
  c.all_gather({}, View(lengths.data(), {c.size()}), ConstView(&length, {1}), ones, what).wait();

  std::size_t total = 0;
  for (std::int64_t n : lengths) total += checked_length(n, what);
  std::string all(total, '\0');
  c.all_gather({}, View(reinterpret_cast<std::byte*>(all.data()), DType::kU8, {static_cast<std::int64_t>(total)}),
               ConstView(reinterpret_cast<const std::byte*>(mine.data()), DType::kU8, {length}), lengths, what)
      .wait();
  std::vector<std::string> parts;
  std::size_t at = 0;
  for (std::int64_t n : lengths) {
    parts.push_back(all.substr(at, static_cast<std::size_t>(n)));
    at += static_cast<std::size_t>(n);
  }
  return parts;
}

std::string broadcast_string(Communicator& c, const std::string& value, int root, std::string_view what) {
  std::string result = c.rank() == root ? value : std::string();
  auto length = static_cast<std::int64_t>(result.size());
  c.broadcast({}, View(&length, {1}), root, what).wait();
  result.resize(checked_length(length, what));
  c.broadcast({}, View(reinterpret_cast<std::byte*>(result.data()), DType::kU8, {length}), root, what).wait();
  return result;
}

std::vector<std::string> hosts_of(const World& world) {
  std::vector<std::string> hosts;
  for (int r = 0; r < world.size(); ++r) hosts.push_back(world.host(r));
  return hosts;
}

}  // namespace banyan::comm
