#include "io/dataset.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "io/checksum.hpp"
#include "io/sample_order.hpp"
#include "src/base/error.hpp"
#include "src/base/rng.hpp"
#include "src/base/units.hpp"

namespace banyan::io {
namespace {

struct ListedFile {
  std::string path;
  double weight = 0;  // 0: not given
};

std::vector<ListedFile> parse_list(const std::string& text, const char* key) {
  std::vector<ListedFile> files;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    std::string item = text.substr(at, end - at);
    item.erase(0, item.find_first_not_of(' '));
    item.erase(item.find_last_not_of(' ') + 1);
    if (item.empty())
      throw ConfigError("{} = {} has an empty entry; write PATH or PATH:WEIGHT, separated by commas", key, text);
    ListedFile f{item, 0};
    if (const std::size_t colon = item.rfind(':'); colon != std::string::npos) {
      if (const auto weight = parse_real(item.substr(colon + 1))) {
        if (*weight <= 0)
          throw ConfigError("{} = {}: the weight of {} must be above 0; leave the file out instead", key, text, item);
        f = {item.substr(0, colon), *weight};
      }
    }
    files.push_back(f);
    at = end + 1;
  }
  return files;
}

std::uint64_t order_key(std::uint64_t seed, std::size_t range, std::int64_t epoch) {
  return rng::mix(rng::named_key(seed, "sample order"), rng::mix(range, static_cast<std::uint64_t>(epoch)));
}

}  // namespace

Dataset Dataset::open(const DatasetOptions& options) {
  Dataset d;
  d.options_ = options;
  const std::int64_t length = options.length;
  if (length < 1) throw BugError("a sample of {} tokens", length);
  if (options.train.empty()) throw ConfigError("data.train is empty; name a token file made by banyan tokenize");
  const std::vector<ListedFile> listed = parse_list(options.train, "data.train");
  const bool weighted = std::any_of(listed.begin(), listed.end(), [](const auto& f) { return f.weight > 0; });
  std::vector<double> weights;
  const auto add_file = [&](const std::string& path) {
    d.files_.push_back(TokenFile::open(path));
    if (d.files_.back().tokenizer_json() != d.files_.front().tokenizer_json())
      throw DataError("{} and {} were made with different tokenizers; tokenize both with the same one",
                      d.files_.front().path(), d.files_.back().path());
    if (d.files_.back().tokens() <= kVerifiedAtOpen) d.files_.back().verify_all();
  };
  for (const ListedFile& f : listed) {
    if (weighted && f.weight == 0)
      throw ConfigError("data.train: {} has no weight but others have; give every file one", f.path);
    add_file(f.path);
    const TokenFile& file = d.files_.back();
    const auto held_out =
        options.validation.empty()
            ? static_cast<std::int64_t>(static_cast<double>(file.tokens()) * options.validation_fraction)
            : 0;
    const std::int64_t kept = file.tokens() - held_out, samples = (kept - 1) / length;
    if (samples < 1)
      throw DataError("{} has {} tokens for training, one sample needs {}; use more text or a smaller model.context",
                      file.path(), kept, length + 1);
    d.train_.push_back({d.files_.size() - 1, 0, samples, 0});
    weights.push_back(weighted ? f.weight : static_cast<double>(samples));
    if (held_out > length) d.validation_.push_back({d.files_.size() - 1, kept, (held_out - 1) / length, 0});
  }
  if (!options.validation.empty()) {
    for (const ListedFile& f : parse_list(options.validation, "data.validation")) {
      if (f.weight > 0) throw ConfigError("data.validation: weights have no meaning there; write {}", f.path);
      add_file(f.path);
      const std::int64_t samples = (d.files_.back().tokens() - 1) / length;
      if (samples < 1)
        throw DataError("{} has {} tokens, one sample needs {}; use more text or a smaller model.context", f.path,
                        d.files_.back().tokens(), length + 1);
      d.validation_.push_back({d.files_.size() - 1, 0, samples, 0});
    }
  }
  d.interleave(weights);
  return d;
}

void Dataset::interleave(const std::vector<double>& weights) {
  if (train_.size() == 1) {
    train_[0].slots = 1;
    slots_ = {{0, 0}};
    return;
  }
  // Largest remainders share out the slots; then each place goes to the file that is furthest behind its share.
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<std::pair<double, std::size_t>> remainders;
  std::int64_t given = 0;
  for (std::size_t r = 0; r < train_.size(); ++r) {
    const double share = weights[r] / total * static_cast<double>(kPeriod);
    train_[r].slots = static_cast<std::int64_t>(share);
    given += train_[r].slots;
    remainders.emplace_back(-(share - std::floor(share)), r);
  }
  std::sort(remainders.begin(), remainders.end());
  for (std::size_t i = 0; given < kPeriod; ++i, ++given) ++train_[remainders[i % remainders.size()].second].slots;
  for (const Range& r : train_)
    if (r.slots == 0)
      throw ConfigError("data.train: {} would get less than 1/{} of the samples; raise its weight or leave it out",
                        files_[r.file].path(), kPeriod);
  std::vector<std::uint32_t> taken(train_.size(), 0);
  for (std::int64_t place = 0; place < kPeriod; ++place) {
    std::size_t best = 0;
    std::int64_t best_lag = -kPeriod * kPeriod;
    for (std::size_t r = 0; r < train_.size(); ++r) {
      if (taken[r] == train_[r].slots) continue;
      const std::int64_t lag = train_[r].slots * (place + 1) - std::int64_t{taken[r]} * kPeriod;
      if (lag > best_lag) {
        best_lag = lag;
        best = r;
      }
    }
    slots_.push_back({static_cast<std::uint32_t>(best), taken[best]++});
  }
}

void Dataset::read(Split split, std::int64_t index, std::span<std::int32_t> out) {
  const std::int64_t length = options_.length;
  if (index < 0 || static_cast<std::int64_t>(out.size()) > length + 1)
    throw BugError("{} tokens of sample {} were asked for", out.size(), index);
  if (split == Split::kTrain) {
    const auto period = static_cast<std::int64_t>(slots_.size());
    const Slot slot = slots_[static_cast<std::size_t>(index % period)];
    const Range& r = train_[slot.range];
    const std::int64_t n = index / period * r.slots + slot.before;
    const SampleOrder order(static_cast<std::uint64_t>(r.samples), order_key(options_.seed, slot.range, n / r.samples));
    const auto sample = static_cast<std::int64_t>(order(static_cast<std::uint64_t>(n % r.samples)));
    files_[r.file].read(r.begin + sample * length, out);
    return;
  }
  const std::int64_t all = samples(Split::kValidation);
  if (all == 0)
    throw DataError(
        "there is nothing to evaluate on: raise data.validation_fraction or set data.validation (one sample needs {} "
        "tokens)",
        length + 1);
  index %= all;
  for (const Range& r : validation_) {
    if (index < r.samples) {
      files_[r.file].read(r.begin + index * length, out);
      return;
    }
    index -= r.samples;
  }
}

std::int64_t Dataset::samples(Split split) const {
  std::int64_t n = 0;
  for (const Range& r : split == Split::kTrain ? train_ : validation_) n += r.samples;
  return n;
}

std::int64_t Dataset::tokens(Split split) const { return samples(split) * options_.length; }

std::int32_t Dataset::vocab() const { return files_.front().vocab(); }

std::string Dataset::fingerprint() const {
  std::string text = fmt::format("length {}\n", options_.length);
  for (const Range& r : train_) text += fmt::format("{} {} {}\n", files_[r.file].digest(), r.samples, r.slots);
  return digest_bytes(text);
}

std::string Dataset::describe() const {
  return fmt::format("{} token file{}, vocabulary {}, {} training and {} validation samples of {} tokens",
                     files_.size(), files_.size() == 1 ? "" : "s", vocab(),
                     format_count(static_cast<double>(samples(Split::kTrain))),
                     format_count(static_cast<double>(samples(Split::kValidation))), options_.length);
}

}  // namespace banyan::io
