// What a start finds on the nodes, and how every rank comes by the files it needs: the reading half of local_level.hpp.
#include <algorithm>
#include <charconv>
#include <sstream>

#include "io/checksum.hpp"
#include "src/base/error.hpp"
#include "src/base/log.hpp"
#include "src/job/fetch_plan.hpp"
#include "src/job/file_exchange.hpp"
#include "src/job/local_level.hpp"

namespace banyan::job {
namespace {

namespace fs = std::filesystem;

std::size_t at(int i) { return static_cast<std::size_t>(i); }

std::string text_of(const std::set<int>& files) {
  std::string text;
  for (const int f : files) text += std::to_string(f) + " ";
  return text;
}

std::set<int> files_of(const std::string& text) {
  std::set<int> files;
  std::istringstream in(text);
  for (int f; in >> f;) files.insert(f);
  return files;
}

/// What the leader of a node says of one checkpoint: NAME DIGEST FILES_IN_ALL FILE...
std::string line_of(const io::LocalHolding& h) {
  std::string line = fmt::format("{} {} {}", h.id.name, h.id.digest, h.files_in_all);
  for (const std::int64_t f : h.files) line += fmt::format(" {}", f);
  return line + "\n";
}

/// What stands in the way of a whole file.  Where it stays, receiving says so.
void remove_damaged(const fs::path& path) {
  try {
    io::remove_tree(path);
  } catch (const Error& e) {
    log::warning("{}", e.what());
  }
}

bool has(const fs::path& path, const std::string& text) {
  std::string there;
  try {
    return io::read_if_there(path, io::kManifestLimit, there) && there == text;
  } catch (const DataError&) {
    return false;
  }
}

struct Found {
  int holder = -1;  ///< a rank whose node has the manifest
  std::int64_t files_in_all = 0;
  std::set<std::int64_t> files;
};

}  // namespace

std::vector<Candidate> LocalLevel::candidates() {
  if (!usable_) return {};
  std::string mine;
  run_together(ranks_, "listing node-local checkpoints", io_limit_, [&](const std::atomic<bool>&) {
    if (!leads()) return;
    std::vector<std::string> problems;
    for (const io::LocalHolding& h : store_->holdings(problems)) mine += line_of(h);
    for (const std::string& problem : problems) log::warning("not counted among node-local checkpoints: {}", problem);
  }).raise_if_failed();
  const std::vector<std::string> all = gather_strings(ranks_, mine, "the node-local checkpoints of all nodes");
  std::map<std::pair<std::string, std::string>, Found> found;  // by name and digest
  for (std::size_t r = 0; r < all.size(); ++r) {
    std::istringstream lines(all[r]);
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string name, digest;
      std::int64_t files = 0;
      words >> name >> digest >> files;
      Found& f = found[{name, digest}];
      if (f.holder < 0) f.holder = static_cast<int>(r);
      f.files_in_all = files;
      for (std::int64_t file; words >> file;) f.files.insert(file);
    }
  }
  std::vector<Candidate> complete;
  for (auto f = found.rbegin(); f != found.rend(); ++f) {
    const auto& [name, digest] = f->first;
    if (std::ssize(f->second.files) == f->second.files_in_all)
      complete.push_back({.path = store_->store().path_of(name),
                          .id = {io::local_name(name), digest},
                          .own = false,
                          .holder = f->second.holder});
    else
      log::info("the node-local {} is not used: {} of its {} files are on no node of this job", name,
                f->second.files_in_all - std::ssize(f->second.files), f->second.files_in_all);
  }
  return complete;
}

std::vector<std::set<int>> LocalLevel::gather_files(const std::set<int>& mine, std::string_view what) {
  std::vector<std::set<int>> all(options_.leaf.size());
  const std::vector<std::string> texts = comm::all_gather_strings(ranks_, text_of(mine), what);
  for (std::size_t r = 0; r < texts.size(); ++r) all[at(options_.node[r])].merge(files_of(texts[r]));
  return all;
}

/// Of the wanted files those that are on this node with their digests and that this rank was to look at: the ranks of a
/// node share them.
std::set<int> LocalLevel::whole_files(const std::string& name, const io::Manifest& manifest,
                                      const std::set<int>& wanted) {
  const std::vector<int> members = ranks_of(my_node());
  const std::size_t me =
      at(static_cast<int>(std::find(members.begin(), members.end(), ranks_.rank()) - members.begin()));
  std::set<int> whole;
  std::size_t turn = 0;
  run_together(ranks_, "verifying a node-local checkpoint", io_limit_, [&](const std::atomic<bool>&) {
    for (const int f : wanted) {
      if (turn++ % members.size() != me) continue;
      const io::ManifestFile& file = manifest.files[at(f)];
      const fs::path path = store_->store().path_of(name) / file.name;
      if (!io::path_exists(path)) continue;
      try {
        if (io::File::open_for_reading(path).size() == file.size && io::digest_file(path) == file.digest)
          whole.insert(f);
        else
          log::warning("{} is damaged: its bytes do not match the digest in the manifest", path.string());
      } catch (const Error& e) {
        log::warning("{}", e.what());
      }
    }
  }).raise_if_failed();
  return whole;
}

/// Has every node hold, whole, what its ranks need; "" or why that cannot be had.
std::string LocalLevel::bring(const std::string& name, const io::Manifest& manifest, const std::set<int>& needed) {
  const std::vector<std::set<int>> needs = gather_files(needed, "the files that ranks need");
  FetchNeeds plan{.node = options_.node, .size = {}, .wants = {}, .has = {}};
  for (const io::ManifestFile& f : manifest.files) plan.size.push_back(f.size);
  plan.has = gather_files(whole_files(name, manifest, needs[at(my_node())]), "the files that nodes have");
  plan.wants = needs;
  std::set<int> lacking;
  for (std::size_t n = 0; n < needs.size(); ++n) {
    for (const int f : plan.has[n]) plan.wants[n].erase(f);
    lacking.insert(plan.wants[n].begin(), plan.wants[n].end());
  }
  if (lacking.empty()) return "";
  // Others may have them as copies, which were not looked at yet.
  std::set<int> unseen = lacking;
  for (const int f : needs[at(my_node())]) unseen.erase(f);
  const std::vector<std::set<int>> copies =
      gather_files(whole_files(name, manifest, unseen), "the copies that nodes have");
  for (std::size_t n = 0; n < copies.size(); ++n) plan.has[n].insert(copies[n].begin(), copies[n].end());
  const std::optional<std::vector<Fetch>> fetches = plan_fetches(plan);
  if (!fetches) {
    std::string gone;
    for (const int f : lacking)
      if (std::none_of(plan.has.begin(), plan.has.end(), [&](const auto& has) { return has.contains(f); }))
        gone += (gone.empty() ? "" : ", ") + manifest.files[at(f)].name;
    return fmt::format("of the node-local {} no node has {} whole", name, gone);
  }
  if (ranks_.rank() == 0)
    log::info("{} files of the node-local {} are fetched from other nodes, which have them whole", fetches->size(),
              name);
  const fs::path directory = store_->store().path_of(name);
  std::vector<Outgoing> out;
  std::vector<Incoming> in;
  std::vector<io::ManifestFile> expected;
  for (const Fetch& f : *fetches) {
    const io::ManifestFile& file = manifest.files[at(f.file)];
    if (f.from == ranks_.rank()) out.push_back({f.to, directory / file.name, file});
    if (f.to != ranks_.rank()) continue;
    in.push_back({f.from, directory});
    expected.push_back(file);
  }
  const Verdict arrived =
      run_together(ranks_, "fetching a node-local checkpoint", io_limit_, [&](const std::atomic<bool>&) {
        const comm::PatienceScope patience(io_limit_);
        for (const io::ManifestFile& file : expected) remove_damaged(directory / file.name);
        const Exchanged passed = exchange_files(*options_.copies, out, in, *abandon_);
        if (const std::string problem = passed.problem(); !problem.empty()) throw IoError("{}", problem);
        for (std::size_t i = 0; i < expected.size(); ++i)
          if (passed.received[i].file != expected[i]) throw IoError("{} did not arrive whole", expected[i].name);
        if (!expected.empty()) io::fsync_dir(directory);
      });
  return arrived.ok() ? "" : arrived.first().message;
}

LocalLevel::Fetched LocalLevel::fetch(const Candidate& candidate, const std::function<void(Source&)>& fill) {
  const std::string id = comm::broadcast_string(
      ranks_, candidate.id.name + " " + candidate.id.digest + " " + std::to_string(candidate.holder), 0,
      "the node-local checkpoint");
  std::istringstream words(id);
  std::string name, digest, text;
  int holder = 0;
  words >> name >> digest >> holder;
  name = io::without_level(name);
  Verdict verdict = run_together(ranks_, "reading a manifest", io_limit_, [&](const std::atomic<bool>&) {
    if (ranks_.rank() != holder) return;
    const io::Manifest m = store_->manifest(name);
    if (m.digest != digest) throw DataError("the manifest of the node-local {} has changed", name);
    text = io::write_manifest(m);
  });
  if (!verdict.ok()) return {{}, {}, verdict.first().message};
  text = comm::broadcast_string(ranks_, text, holder, "the manifest of a node-local checkpoint");
  Fetched fetched{store_->store().path_of(name), io::parse_manifest(text, "the manifest of the node-local " + name),
                  ""};

  std::set<int> needed;
  verdict = run_together(ranks_, "looking what is needed", io_limit_, [&](const std::atomic<bool>&) {
    Source source(fetched.manifest, fetched.directory, needed);
    fill(source);
  });
  if (!verdict.ok()) verdict.raise();
  verdict = run_together(ranks_, "fetching a node-local checkpoint", io_limit_, [&](const std::atomic<bool>&) {
    if (leads()) io::make_directory(fetched.directory);
  });
  if (!verdict.ok()) return {{}, {}, verdict.first().message};
  fetched.problem = bring(name, fetched.manifest, needed);
  if (!fetched.problem.empty()) return fetched;
  // Nodes that had no part in it, or a damaged manifest, have one in the next start.
  verdict = run_together(ranks_, "fetching a node-local checkpoint", io_limit_, [&](const std::atomic<bool>&) {
    if (leads() && !has(fetched.directory / io::kManifestName, text))
      io::write_atomic(fetched.directory / io::kManifestName, text);
  });
  if (!verdict.ok()) fetched.problem = verdict.first().message;
  return fetched;
}

}  // namespace banyan::job
