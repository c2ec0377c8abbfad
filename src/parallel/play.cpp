#include "src/parallel/play.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include "src/base/error.hpp"

namespace banyan::parallel {
namespace {

/// Messages of one direction between two neighbouring places, in order.
struct Channel {
  struct Sent {
    int microbatch;
    double arrival;
  };
  std::vector<Sent> sent;
  std::vector<double> received;  ///< when the receiver came to each receive
};

/// What a stage knows about a microbatch in one of its chunks.
struct Progress {
  bool loaded = false, received = false, forward = false, sent = false;
  bool gradient_received = false, gradient_sent = false;
  bool input = false;  ///< the gradient of the input is there, in schedules that split the backward pass
  int parts = 0;
};

/// A model chunk of a stage.
struct Chunk {
  int place = 0;
  int first_part = 0, end_part = 0;    ///< of the backward pass; none in schedules of forward passes only
  bool split = false;                  ///< those parts are of the weights
  std::map<int, Progress> progress{};  ///< by microbatch
  int parts() const { return end_part - first_part; }
};

/// A send that may still be under way out of a slot.
struct Pending {
  const Channel* channel;
  std::size_t index;
};

class Player {
 public:
  Player(const std::vector<std::vector<Action>>& schedules, const ActionCost& cost, double message_cost)
      : schedules_(schedules), cost_(cost), message_cost_(message_cost), stages_(schedules.size()) {
    for (std::size_t s = 0; s < schedules.size(); ++s)
      for (const Action& a : schedules[s]) {
        std::map<int, Chunk>& chunks = stages_[s].chunks;
        Chunk& chunk = chunks.try_emplace(a.chunk, Chunk{.place = a.place}).first->second;
        require(chunk.place == a.place, s, a, "its chunk is at another place, too");
        microbatches_ = std::max(microbatches_, a.microbatch + 1);
        if (const auto [owner, is_new] = owner_.try_emplace(a.place, s); !is_new)
          require(owner->second == s, s, a, "another stage has its place, too");
        if (a.kind == ActionKind::kBackwardWeights) chunk.split = true;
        if (a.kind != ActionKind::kBackward && a.kind != ActionKind::kBackwardWeights) continue;
        if (chunk.parts() == 0) chunk.first_part = a.part;
        chunk.first_part = std::min(chunk.first_part, a.part);
        chunk.end_part = std::max(chunk.end_part, a.part + 1);
      }
    places_ = static_cast<int>(owner_.size());
    activations_.resize(owner_.size());
    gradients_.resize(owner_.size());
    timeline_.busy.assign(schedules.size(), 0.0);
    timeline_.played.resize(schedules.size());
  }

  Timeline run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (std::size_t s = 0; s < stages_.size(); ++s)
        while (stages_[s].next < schedules_[s].size() && step(s)) moved = true;
    }
    check_finished();
    for (const StageState& stage : stages_) timeline_.makespan = std::max(timeline_.makespan, stage.now);
    return std::move(timeline_);
  }

 private:
  struct StageState {
    std::size_t next = 0;
    double now = 0;
    std::map<int, Chunk> chunks;                          ///< by number
    std::map<int, std::pair<int, int>> holder;            ///< slot -> chunk, microbatch
    std::map<int, Pending> activation_out, gradient_out;  ///< slot -> send out of it
    std::map<int, int> reduced;                           ///< bucket -> times
  };

  bool first(int place) const { return place == 0; }
  bool last(int place) const { return place + 1 == places_; }

  [[noreturn]] void wrong(std::size_t s, const Action& a, const std::string& why) const {
    throw BugError("schedule of stage {}: {}: {}", s, describe(a), why);
  }

  void require(bool condition, std::size_t s, const Action& a, const char* why) const {
    if (!condition) wrong(s, a, why);
  }

  void require_peer(std::size_t s, const Action& a, int place, const char* why) const {
    const auto owner = owner_.find(place);
    require(owner != owner_.end(), s, a, why);
    require(a.peer == static_cast<int>(owner->second), s, a, "its message is with another stage than it says");
  }

  bool finished(const Chunk& chunk, int microbatch) const {
    const auto found = chunk.progress.find(microbatch);
    if (found == chunk.progress.end()) return false;
    const Progress& p = found->second;
    if (!p.forward || (!last(chunk.place) && !p.sent)) return false;
    if (chunk.parts() == 0) return true;
    return p.parts == chunk.parts() && (first(chunk.place) || p.gradient_sent);
  }

  /// Executes the next action of a stage, or returns false when it has to wait for another stage.
  bool step(std::size_t s) {
    StageState& stage = stages_[s];
    const Action& a = schedules_[s][stage.next];
    Chunk& chunk = stage.chunks.at(a.chunk);
    Progress& p = chunk.progress[a.microbatch];
    double begin = stage.now;
    if (a.kind != ActionKind::kLoad && a.kind != ActionKind::kReduceBucket) {
      const auto holder = stage.holder.find(a.slot);
      require(holder != stage.holder.end() && holder->second == std::pair(a.chunk, a.microbatch), s, a,
              "the slot holds something else");
    }
    switch (a.kind) {
      case ActionKind::kLoad: {
        require(!p.loaded, s, a, "it was loaded before");
        if (const auto holder = stage.holder.find(a.slot); holder != stage.holder.end()) {
          const auto [held, microbatch] = holder->second;
          require(finished(stage.chunks.at(held), microbatch), s, a, "the slot is busy");
        }
        if (!sent(stage.activation_out, a.slot, begin)) return false;
        stage.holder[a.slot] = {a.chunk, a.microbatch};
        p.loaded = true;
        break;
      }
      case ActionKind::kReceiveActivation:
        require_peer(s, a, a.place - 1, "there is no place before this one");
        require(p.loaded && !p.received, s, a, "it was not loaded, or was received before");
        if (const auto at = receive(s, a, activations_[static_cast<std::size_t>(a.place - 1)]))
          begin = std::max(begin, *at);
        else
          return false;
        p.received = true;
        break;
      case ActionKind::kForward:
        require(p.loaded && !p.forward, s, a, "it was not loaded, or ran before");
        require(first(a.place) || p.received, s, a, "its input was not received");
        p.forward = true;
        break;
      case ActionKind::kSendActivation:
        require_peer(s, a, a.place + 1, "there is no place behind this one");
        require(p.forward && !p.sent, s, a, "it was not computed, or was sent before");
        send(stage, stage.activation_out, a, activations_[static_cast<std::size_t>(a.place)]);
        p.sent = true;
        break;
      case ActionKind::kReceiveGradient:
        require_peer(s, a, a.place + 1, "there is no place behind this one");
        require(p.sent && !p.gradient_received, s, a, "the activation was not sent, or the gradient came before");
        if (!sent(stage.gradient_out, a.slot, begin)) return false;
        if (const auto at = receive(s, a, gradients_[static_cast<std::size_t>(a.place + 1)]))
          begin = std::max(begin, *at);
        else
          return false;
        p.gradient_received = true;
        break;
      case ActionKind::kBackward:
        require(p.forward && !chunk.split, s, a, "the forward pass has not run, or the backward pass is split");
        require(last(a.place) || p.gradient_received, s, a, "the gradient was not received");
        require(a.part == chunk.first_part + p.parts, s, a, "the parts of a backward pass run in order");
        if (!sent(stage.gradient_out, a.slot, begin)) return false;
        ++p.parts;
        break;
      case ActionKind::kBackwardInput:
        require(p.forward && !p.input, s, a, "the forward pass has not run, or this one has");
        require(last(a.place) || p.gradient_received, s, a, "the gradient was not received");
        if (!sent(stage.gradient_out, a.slot, begin)) return false;
        p.input = true;
        break;
      case ActionKind::kBackwardWeights:
        require(p.input, s, a, "the gradient of the input is not there");
        require(a.part == chunk.first_part + p.parts, s, a, "the parts of a backward pass run in order");
        ++p.parts;
        break;
      case ActionKind::kSendGradient:
        require_peer(s, a, a.place - 1, "there is no place before this one");
        require(chunk.split ? p.input : p.parts == chunk.parts(), s, a, "the backward pass is not complete");
        require(!p.gradient_sent, s, a, "it was sent before");
        send(stage, stage.gradient_out, a, gradients_[static_cast<std::size_t>(a.place)]);
        p.gradient_sent = true;
        break;
      case ActionKind::kReduceBucket:
        for (int m = 0; m < microbatches_; ++m)
          require(chunk.progress[m].parts > a.part - chunk.first_part, s, a,
                  "a microbatch has not added to this bucket yet");
        require(++stage.reduced[a.part] == 1, s, a, "the bucket was reduced before");
        break;
    }
    const double seconds = cost_(static_cast<int>(s), a);
    stage.now = begin + seconds;
    timeline_.busy[s] += seconds;
    timeline_.played[s].push_back({a, begin, stage.now});
    ++stage.next;
    return true;
  }

  /// True when the last send out of the slot is over; `begin` then is no earlier.
  static bool sent(const std::map<int, Pending>& out, int slot, double& begin) {
    const auto found = out.find(slot);
    if (found == out.end()) return true;
    const auto& [channel, index] = found->second;
    if (channel->received.size() <= index) return false;
    begin = std::max(begin, channel->received[index]);
    return true;
  }

  void send(const StageState& stage, std::map<int, Pending>& out, const Action& a, Channel& channel) {
    out.insert_or_assign(a.slot, Pending{&channel, channel.sent.size()});
    const bool stays = &stages_[static_cast<std::size_t>(a.peer)] == &stage;
    channel.sent.push_back({a.microbatch, stage.now + (stays ? 0 : message_cost_)});
  }

  /// Arrival of the next message of the channel, or nothing when it has not been sent.
  std::optional<double> receive(std::size_t s, const Action& a, Channel& channel) {
    const std::size_t index = channel.received.size();
    if (channel.sent.size() <= index) return std::nullopt;
    const Channel::Sent& message = channel.sent[index];
    if (message.microbatch != a.microbatch)
      wrong(s, a, fmt::format("the next message carries microbatch {}", message.microbatch));
    channel.received.push_back(std::max(stages_[s].now, message.arrival));
    return message.arrival;
  }

  void check_finished() const {
    std::string stuck;
    for (std::size_t s = 0; s < stages_.size(); ++s)
      if (stages_[s].next < schedules_[s].size())
        stuck += fmt::format("; stage {} waits in {}", s, describe(schedules_[s][stages_[s].next]));
    if (!stuck.empty()) throw BugError("the schedules deadlock{}", stuck);
    for (std::size_t s = 0; s < stages_.size(); ++s) {
      const StageState& stage = stages_[s];
      int parts = 0;
      for (const auto& [number, chunk] : stage.chunks) {
        for (int m = 0; m < microbatches_; ++m)
          if (!finished(chunk, m))
            throw BugError("schedule of stage {} leaves microbatch {} of chunk {} unfinished", s, m, number);
        parts += chunk.parts();
      }
      if (static_cast<int>(stage.reduced.size()) != parts)
        throw BugError("schedule of stage {} reduces {} of {} buckets", s, stage.reduced.size(), parts);
    }
  }

  const std::vector<std::vector<Action>>& schedules_;
  const ActionCost& cost_;
  double message_cost_;
  int microbatches_ = 0, places_ = 0;
  std::map<int, std::size_t> owner_;  ///< stage of every place
  std::vector<StageState> stages_;
  std::vector<Channel> activations_, gradients_;  ///< by sending place
  Timeline timeline_;
};

/// What draw() shows of an action; 0 when nothing.
char letter_of(const Action& a) {
  switch (a.kind) {
    case ActionKind::kForward:
      return static_cast<char>('0' + a.microbatch % 10);
    case ActionKind::kBackward:
    case ActionKind::kBackwardInput:
      return static_cast<char>('a' + a.microbatch % 26);
    case ActionKind::kBackwardWeights:
      return static_cast<char>('A' + a.microbatch % 26);
    default:
      return '\0';
  }
}

}  // namespace

double Timeline::bubble_share() const {
  if (makespan <= 0 || busy.empty()) return 0;
  return 1 - std::accumulate(busy.begin(), busy.end(), 0.0) / static_cast<double>(busy.size()) / makespan;
}

ActionCost uniform_cost(double forward, double backward, int parts) {
  return [=](int, const Action& a) {
    if (a.kind == ActionKind::kForward) return forward;
    if (a.kind == ActionKind::kBackward) return backward / parts;
    if (a.kind == ActionKind::kBackwardInput) return backward / 2;
    if (a.kind == ActionKind::kBackwardWeights) return backward / 2 / parts;
    return 0.0;
  };
}

Timeline play(const std::vector<std::vector<Action>>& schedules, const ActionCost& cost, double message_cost) {
  return Player(schedules, cost, message_cost).run();
}

std::string draw(const std::vector<std::vector<Action>>& schedules, std::size_t width) {
  std::map<std::pair<int, int>, std::set<int>> parts;  // stage and chunk -> of its backward pass
  int chunks = 1;
  for (std::size_t s = 0; s < schedules.size(); ++s)
    for (const Action& a : schedules[s]) {
      chunks = std::max(chunks, a.chunk + 1);
      if (a.kind == ActionKind::kBackward || a.kind == ActionKind::kBackwardWeights)
        parts[{static_cast<int>(s), a.chunk}].insert(a.part);
    }
  const ActionCost cost = [&](int stage, const Action& a) {
    const auto found = parts.find({stage, a.chunk});
    return uniform_cost(1, 2, found == parts.end() ? 1 : static_cast<int>(found->second.size()))(stage, a);
  };
  const Timeline timeline = play(schedules, cost, 0);

  const auto columns = static_cast<std::size_t>(std::llround(timeline.makespan));
  const std::size_t digits = std::to_string(schedules.size() - 1).size();
  std::string text;
  for (std::size_t s = 0; s < schedules.size(); ++s)
    for (int chunk = 0; chunk < chunks; ++chunk) {
      std::string line(columns, '.');
      for (const Played& played : timeline.played[s]) {
        const char letter = letter_of(played.action);
        if (letter == '\0' || played.action.chunk != chunk) continue;
        const auto begin = static_cast<std::size_t>(std::floor(played.begin + 1e-6));
        const auto end = static_cast<std::size_t>(std::ceil(played.end - 1e-6));
        for (std::size_t i = begin; i < std::min(end, columns); ++i) line[i] = letter;
      }
      if (line.size() > width) line = line.substr(0, width) + "…";
      const std::string of = chunks > 1 ? fmt::format(" chunk {}", chunk) : "";
      text += fmt::format("stage {:>{}}{} {}\n", s, digits, of, line);
    }
  return text;
}

}  // namespace banyan::parallel
