#include "src/parallel/play.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <numeric>
#include <optional>

#include "src/base/error.hpp"

namespace banyan::parallel {
namespace {

/// Messages of one direction between two neighbours, in order.
struct Channel {
  struct Sent {
    int microbatch;
    double arrival;
  };
  std::vector<Sent> sent;
  std::vector<double> received;  ///< when the receiver came to each receive
};

/// What a stage knows about a microbatch.
struct Progress {
  bool loaded = false, received = false, forward = false, sent = false;
  bool gradient_received = false, gradient_sent = false;
  int parts = 0;
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
        if (a.kind == ActionKind::kBackward) stages_[s].parts = std::max(stages_[s].parts, a.part + 1);
        microbatches_ = std::max(microbatches_, a.microbatch + 1);
      }
    activations_.resize(schedules.size());
    gradients_.resize(schedules.size());
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
    int parts = 0;                                ///< 0: forward passes only
    std::map<int, int> holder;                    ///< slot -> microbatch
    std::map<int, std::vector<Pending>> pending;  ///< slot -> sends out of it
    std::map<int, Progress> progress;             ///< by microbatch
    std::map<int, int> reduced;                   ///< bucket -> times
  };

  bool first(std::size_t s) const { return s == 0; }
  bool last(std::size_t s) const { return s + 1 == stages_.size(); }

  [[noreturn]] void wrong(std::size_t s, const Action& a, const std::string& why) const {
    throw BugError("schedule of stage {}: {}: {}", s, describe(a), why);
  }

  void require(bool condition, std::size_t s, const Action& a, const char* why) const {
    if (!condition) wrong(s, a, why);
  }

  bool finished(std::size_t s, const Progress& p) const {
    const StageState& stage = stages_[s];
    if (!p.forward || (!last(s) && !p.sent)) return false;
    if (stage.parts == 0) return true;
    return p.parts == stage.parts && (first(s) || p.gradient_sent);
  }

  /// Executes the next action of a stage, or returns false when it has to wait for another stage.
  bool step(std::size_t s) {
    StageState& stage = stages_[s];
    const Action& a = schedules_[s][stage.next];
    Progress& p = stage.progress[a.microbatch];
    double begin = stage.now;
    if (a.kind != ActionKind::kLoad && a.kind != ActionKind::kReduceBucket) {
      const auto holder = stage.holder.find(a.slot);
      require(holder != stage.holder.end() && holder->second == a.microbatch, s, a, "the slot holds something else");
    }
    switch (a.kind) {
      case ActionKind::kLoad: {
        require(!p.loaded, s, a, "it was loaded before");
        if (const auto holder = stage.holder.find(a.slot); holder != stage.holder.end())
          require(finished(s, stage.progress[holder->second]), s, a, "the slot is busy");
        for (const Pending& send : stage.pending[a.slot]) {
          if (send.channel->received.size() <= send.index) return false;
          begin = std::max(begin, send.channel->received[send.index]);
        }
        stage.pending[a.slot].clear();
        stage.holder[a.slot] = a.microbatch;
        p.loaded = true;
        break;
      }
      case ActionKind::kReceiveActivation:
        require(!first(s), s, a, "there is no stage before this one");
        require(p.loaded && !p.received, s, a, "it was not loaded, or was received before");
        if (const auto at = receive(s, a, activations_[s - 1]))
          begin = std::max(begin, *at);
        else
          return false;
        p.received = true;
        break;
      case ActionKind::kForward:
        require(p.loaded && !p.forward, s, a, "it was not loaded, or ran before");
        require(first(s) || p.received, s, a, "its input was not received");
        p.forward = true;
        break;
      case ActionKind::kSendActivation:
        require(!last(s), s, a, "there is no stage behind this one");
        require(p.forward && !p.sent, s, a, "it was not computed, or was sent before");
        send(stage, a, activations_[s]);
        p.sent = true;
        break;
      case ActionKind::kReceiveGradient:
        require(!last(s), s, a, "there is no stage behind this one");
        require(p.sent && !p.gradient_received, s, a, "the activation was not sent, or the gradient came before");
        if (const auto at = receive(s, a, gradients_[s + 1]))
          begin = std::max(begin, *at);
        else
          return false;
        p.gradient_received = true;
        break;
      case ActionKind::kBackward:
        require(p.forward, s, a, "the forward pass has not run");
        require(last(s) || p.gradient_received, s, a, "the gradient was not received");
        require(a.part == p.parts, s, a, "the parts of a backward pass run in order");
        ++p.parts;
        break;
      case ActionKind::kSendGradient:
        require(!first(s), s, a, "there is no stage before this one");
        require(p.parts == stage.parts && !p.gradient_sent, s, a, "the backward pass is not complete");
        send(stage, a, gradients_[s]);
        p.gradient_sent = true;
        break;
      case ActionKind::kReduceBucket:
        for (int m = 0; m < microbatches_; ++m)
          require(stage.progress[m].parts > a.part, s, a, "a microbatch has not added to this bucket yet");
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

  void send(StageState& stage, const Action& a, Channel& channel) {
    stage.pending[a.slot].push_back({&channel, channel.sent.size()});
    channel.sent.push_back({a.microbatch, stage.now + message_cost_});
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
      for (int m = 0; m < microbatches_; ++m) {
        const auto p = stage.progress.find(m);
        if (p == stage.progress.end() || !finished(s, p->second))
          throw BugError("schedule of stage {} leaves microbatch {} unfinished", s, m);
      }
      if (static_cast<int>(stage.reduced.size()) != stage.parts)
        throw BugError("schedule of stage {} reduces {} of {} buckets", s, stage.reduced.size(), stage.parts);
    }
  }

  const std::vector<std::vector<Action>>& schedules_;
  const ActionCost& cost_;
  double message_cost_;
  int microbatches_ = 0;
  std::vector<StageState> stages_;
  std::vector<Channel> activations_, gradients_;  ///< by sending stage
  Timeline timeline_;
};

}  // namespace

double Timeline::bubble_share() const {
  if (makespan <= 0 || busy.empty()) return 0;
  return 1 - std::accumulate(busy.begin(), busy.end(), 0.0) / static_cast<double>(busy.size()) / makespan;
}

ActionCost uniform_cost(double forward, double backward, int parts) {
  return [=](int, const Action& a) {
    if (a.kind == ActionKind::kForward) return forward;
    if (a.kind == ActionKind::kBackward) return backward / parts;
    return 0.0;
  };
}

Timeline play(const std::vector<std::vector<Action>>& schedules, const ActionCost& cost, double message_cost) {
  return Player(schedules, cost, message_cost).run();
}

std::string draw(const std::vector<std::vector<Action>>& schedules, std::size_t width) {
  std::vector<int> parts(schedules.size(), 1);
  for (std::size_t s = 0; s < schedules.size(); ++s)
    for (const Action& a : schedules[s]) parts[s] = std::max(parts[s], a.part + 1);
  const ActionCost cost = [&](int stage, const Action& a) {
    return uniform_cost(1, 2, parts[static_cast<std::size_t>(stage)])(stage, a);
  };
  const Timeline timeline = play(schedules, cost, 0);

  std::string text;
  for (std::size_t s = 0; s < schedules.size(); ++s) {
    const std::size_t columns = static_cast<std::size_t>(std::llround(timeline.makespan));
    std::string line(columns, '.');
    for (const Played& played : timeline.played[s]) {
      const bool forward = played.action.kind == ActionKind::kForward;
      if (!forward && played.action.kind != ActionKind::kBackward) continue;
      const int m = played.action.microbatch;
      const char letter = static_cast<char>(forward ? '0' + m % 10 : 'a' + m % 26);
      const auto begin = static_cast<std::size_t>(std::floor(played.begin + 1e-6));
      const auto end = static_cast<std::size_t>(std::ceil(played.end - 1e-6));
      for (std::size_t i = begin; i < std::min(end, columns); ++i) line[i] = letter;
    }
    if (line.size() > width) line = line.substr(0, width) + "…";
    text += fmt::format("stage {:>{}} {}\n", s, std::to_string(schedules.size() - 1).size(), line);
  }
  return text;
}

}  // namespace banyan::parallel
