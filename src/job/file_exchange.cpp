#include "src/job/file_exchange.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "io/atomic_file.hpp"
#include "io/block_writer.hpp"
#include "io/checksum.hpp"
#include "src/base/error.hpp"

namespace banyan::job {
namespace {

constexpr std::int64_t kPiece = std::int64_t{1} << 20;
constexpr std::size_t kUnderWay = 2;  // pieces, each way
constexpr int kChannel = 0;
constexpr std::chrono::microseconds kPause{200};
constexpr const char* kWhat = "a file of a node-local checkpoint";

/// What goes before the pieces of a file.
struct Header {
  std::int64_t size = -1;  ///< -1: there is no file
  std::array<char, 32> digest{};
  std::array<char, 256> name{};
};

/// Memory that messages refer to.
struct Slots {
  Header header;
  std::array<io::DirectMemory, kUnderWay> memory;
  std::array<Event, kUnderWay> events;
  std::array<std::int64_t, kUnderWay> bytes{};
  Event header_event;
  Slots() {
    for (io::DirectMemory& m : memory) m = io::direct_memory(kPiece);
  }
  ConstView header_view() const {
    return {reinterpret_cast<const std::byte*>(&header), DType::kU8, Shape{sizeof header}};
  }
  View header_room() { return {reinterpret_cast<std::byte*>(&header), DType::kU8, Shape{sizeof header}}; }
};

class Sender {
 public:
  Sender(comm::Communicator& ranks, std::span<const Outgoing> list, Slots& slots)
      : ranks_(ranks), list_(list), slots_(slots), passed_(list.size()) {}

  bool done() const { return at_ == list_.size(); }
  std::vector<Passed>& passed() { return passed_; }

  /// True when something moved.
  bool advance() {
    if (done()) return false;
    if (!begun_) {
      begin();
      return true;
    }
    bool moved = false;
    if (sent_ < size_) {
      const std::size_t slot = static_cast<std::size_t>(pieces_) % kUnderWay;
      if (slots_.events[slot].test()) {
        send_piece(slot);
        moved = true;
      }
    } else if (slots_.header_event.test() &&
               std::all_of(slots_.events.begin(), slots_.events.end(), [](Event& e) { return e.test(); })) {
      end();
      moved = true;
    }
    return moved;
  }

 private:
  const Outgoing& current() const { return list_[at_]; }
  Passed& result() { return passed_[at_]; }

  void begin() {
    begun_ = true;
    sent_ = size_ = pieces_ = 0;
    sum_.emplace();
    slots_.header = {};
    if (!current().path.empty()) try {
        result().file = current().file;
        file_ = io::File::open_for_reading(current().path);
        if (file_.size() != current().file.size)
          throw DataError("{} has {} bytes instead of {}", current().path.string(), file_.size(), current().file.size);
        // What the storage holds is what counts.
        file_.forget_cached();
        file_.bypass_cache(true);
        size_ = slots_.header.size = current().file.size;
        std::memcpy(slots_.header.digest.data(), current().file.digest.data(),
                    std::min(slots_.header.digest.size(), current().file.digest.size()));
        std::memcpy(slots_.header.name.data(), current().file.name.data(),
                    std::min(slots_.header.name.size() - 1, current().file.name.size()));
      } catch (const Error& e) {
        result().problem = e.what();
      }
    slots_.header_event = ranks_.send({}, slots_.header_view(), current().to, kChannel, kWhat);
  }

  void send_piece(std::size_t slot) {
    const std::int64_t n = std::min(kPiece, size_ - sent_);
    std::byte* const piece = slots_.memory[slot].get();
    if (result().problem.empty()) try {
        file_.read_at(sent_, piece, static_cast<std::size_t>(n));
        sum_->update(piece, static_cast<std::size_t>(n));
      } catch (const Error& e) {
        result().problem = e.what();  // the receiver sees a wrong digest
        std::memset(piece, 0, static_cast<std::size_t>(n));
      }
    slots_.events[slot] = ranks_.send({}, ConstView(piece, DType::kU8, Shape{n}), current().to, kChannel, kWhat);
    sent_ += n;
    ++pieces_;
  }

  void end() {
    if (slots_.header.size >= 0 && result().problem.empty() && sum_->hex() != current().file.digest)
      result().problem =
          fmt::format("{} does not hold what was written to it; the storage, or memory on its way there, is damaged",
                      current().path.string());
    file_ = {};
    begun_ = false;
    ++at_;
  }

  comm::Communicator& ranks_;
  std::span<const Outgoing> list_;
  Slots& slots_;
  std::vector<Passed> passed_;
  std::size_t at_ = 0;
  bool begun_ = false;
  io::File file_;
  std::optional<io::Checksum128> sum_;
  std::int64_t size_ = 0, sent_ = 0, pieces_ = 0;  ///< of the file under way
};

class Receiver {
 public:
  Receiver(comm::Communicator& ranks, std::span<const Incoming> list, Slots& slots)
      : ranks_(ranks), list_(list), slots_(slots), passed_(list.size()) {}

  bool done() const { return at_ == list_.size(); }
  std::vector<Passed>& passed() { return passed_; }

  bool advance() {
    if (done()) return false;
    if (!begun_) {
      slots_.header_event = ranks_.receive({}, slots_.header_room(), current().from, kChannel, kWhat);
      begun_ = true;
      return true;
    }
    if (!told_) {
      if (!slots_.header_event.test()) return false;
      begin();
      return true;
    }
    if (asked_ < size_ && posted_ < taken_ + static_cast<std::int64_t>(kUnderWay)) {
      ask();
      return true;
    }
    if (got_ < size_) {
      const std::size_t slot = static_cast<std::size_t>(taken_) % kUnderWay;
      if (!slots_.events[slot].test()) return false;
      take(slot);
      return true;
    }
    end();
    return true;
  }

 private:
  const Incoming& current() const { return list_[at_]; }
  Passed& result() { return passed_[at_]; }

  /// What goes wrong with the file ends the writing, not the receiving.
  template <class Step>
  void or_note(const Step& step) {
    if (!result().problem.empty()) return;
    try {
      step();
    } catch (const Error& e) {
      result().problem = e.what();
      out_.reset();
    }
  }

  void begin() {
    told_ = true;
    asked_ = got_ = posted_ = taken_ = 0;
    size_ = std::max<std::int64_t>(0, slots_.header.size);
    sum_.emplace();
    if (slots_.header.size < 0) return;
    io::ManifestFile& file = result().file;
    file.name = slots_.header.name.data();  // ends with a zero
    file.size = size_;
    file.digest.assign(slots_.header.digest.data(), slots_.header.digest.size());
    or_note([&] {
      if (!io::plain_name(file.name)) throw DataError("'{}' is not the name of a file", file.name);
      file_ = io::File::create(current().directory / file.name);
      file_.resize(size_);
      file_.reserve(size_);
      out_ = std::make_unique<io::BlockWriter>(file_);
    });
  }

  void ask() {
    const std::size_t slot = static_cast<std::size_t>(posted_) % kUnderWay;
    slots_.bytes[slot] = std::min(kPiece, size_ - asked_);
    slots_.events[slot] = ranks_.receive({}, View(slots_.memory[slot].get(), DType::kU8, Shape{slots_.bytes[slot]}),
                                         current().from, kChannel, kWhat);
    asked_ += slots_.bytes[slot];
    ++posted_;
  }

  void take(std::size_t slot) {
    const auto n = static_cast<std::size_t>(slots_.bytes[slot]);
    sum_->update(slots_.memory[slot].get(), n);
    or_note([&] { out_->append(slots_.memory[slot].get(), n); });
    got_ += slots_.bytes[slot];
    ++taken_;
  }

  void end() {
    if (slots_.header.size >= 0)
      or_note([&] {
        out_->finish();
        if (sum_->hex() != result().file.digest)
          throw IoError("{} was damaged before or on its way from {}", file_.path().string(),
                        ranks_.peer_name(current().from));
        file_.sync();
        file_.close();
      });
    out_.reset();
    file_ = {};
    begun_ = told_ = false;
    ++at_;
  }

  comm::Communicator& ranks_;
  std::span<const Incoming> list_;
  Slots& slots_;
  std::vector<Passed> passed_;
  std::size_t at_ = 0;
  bool begun_ = false, told_ = false;  ///< the header is asked for; it is there
  io::File file_;
  std::unique_ptr<io::BlockWriter> out_;
  std::optional<io::Checksum128> sum_;
  std::int64_t size_ = 0, asked_ = 0, got_ = 0;  ///< bytes
  std::int64_t posted_ = 0, taken_ = 0;          ///< pieces
};

/// For as long as messages under way may refer to it; a rank leaves once.
void keep(std::unique_ptr<Slots> slots) {
  static std::mutex mutex;
  static auto& kept = *new std::vector<std::unique_ptr<Slots>>;  // never freed: messages may outlive everything
  const std::lock_guard lock(mutex);
  kept.push_back(std::move(slots));
}

}  // namespace

std::string Exchanged::problem() const {
  for (const std::vector<Passed>* list : {&sent, &received})
    for (const Passed& p : *list)
      if (!p.problem.empty()) return p.problem;
  return "";
}

Exchanged exchange_files(comm::Communicator& ranks, std::span<const Outgoing> out, std::span<const Incoming> in,
                         const std::atomic<bool>& abandon) {
  auto outgoing = std::make_unique<Slots>(), incoming = std::make_unique<Slots>();
  Sender sender(ranks, out, *outgoing);
  Receiver receiver(ranks, in, *incoming);
  while (!sender.done() || !receiver.done()) {
    if (abandon) {
      keep(std::move(outgoing));
      keep(std::move(incoming));
      throw IoError("copying a checkpoint to other nodes was given up because this rank leaves");
    }
    const bool sent = sender.advance(), received = receiver.advance();
    if (!sent && !received) std::this_thread::sleep_for(kPause);
  }
  return {std::move(sender.passed()), std::move(receiver.passed())};
}

}  // namespace banyan::job
