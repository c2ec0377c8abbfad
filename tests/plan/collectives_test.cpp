#include "src/plan/collectives.hpp"

#include <gtest/gtest.h>

#include <set>

#include "src/base/error.hpp"
#include "src/config/describe.hpp"
#include "src/config/load.hpp"

namespace banyan::plan {
namespace {

BookRequest request(parallel::MeshShape shape, int ranks_per_node, const std::vector<std::string>& overrides = {}) {
  std::vector<int> processes;
  for (int i = 0; i < shape.size(); ++i) processes.push_back(i);
  return {.axes = axes(parallel::Mesh(shape, processes), shape.size(), false),
          .fabric = parallel::uniform_fabric(shape.size(), ranks_per_node),
          .shared_memory = true,
          .wishes = wishes(config::load("", overrides).config),
          .links = {}};
}

const parallel::MeshShape kMesh{.tensor = 2, .data = 2, .pipeline = 2};

// The configuration cannot see the algorithms; its lists must be those of the catalog.
TEST(Collectives, TheConfigurationTakesWhatTheCatalogHas) {
  for (int k = 0; k < comm::kCollectiveKinds; ++k) {
    const auto kind = static_cast<comm::CollectiveKind>(k);
    std::string key = "comm." + std::string(comm::name_of(kind));
    std::replace(key.begin(), key.end(), '-', '_');
    std::set<std::string> allowed;
    for (const config::KeyInfo& info : config::all_keys()) {
      if (info.full() != key) continue;
      std::string word;
      for (const char c : info.allowed + " ") {
        if (c != ' ' && c != ',') {
          word += c;
        } else {
          if (!word.empty() && word != "or") allowed.insert(word);
          word.clear();
        }
      }
    }
    const auto wanted = comm::wishes_for(kind);
    EXPECT_EQ(allowed, std::set<std::string>(wanted.begin(), wanted.end())) << key << " of src/config/schema.def";
  }
}

TEST(Collectives, EveryAxisOfAMeshIsThereOnce) {
  std::vector<int> processes{0, 1, 2, 3, 4, 5, 6, 7};
  const auto list = axes(parallel::Mesh(kMesh, processes), 9, true);
  std::vector<std::string> names;
  for (const Axis& axis : list) {
    names.push_back(axis.name);
    const std::size_t groups = axis.name == kWorldGroup || axis.name == kMeshGroup ? 1 : 4;
    EXPECT_EQ(axis.groups.size(), groups) << axis.name;
  }
  EXPECT_EQ(names,
            (std::vector<std::string>{kWorldGroup, kMeshGroup, kTensorGroup, kDataGroup, kPipelineGroup, kTiedGroup}));
  EXPECT_EQ(list[0].groups[0].size(), 9u);
  EXPECT_TRUE(axes(parallel::Mesh({}, {0}), 1, false).empty());
}

TEST(Collectives, GroupsOfOneAxisShareATree) {
  // Tensor groups of three on nodes of four: one sits on one node, the other on two.
  const auto book = make_book(request({.tensor = 3, .data = 2}, 4)).book;
  const comm::GroupPlans* tensor = book.find(kTensorGroup, 3);
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(tensor->tree.levels.at(0), (std::vector<int>{0, 1, 1}));
}

// Four data groups meet on the way up of a leaf, two on the adapter of a node: what would do for one alone does not.
TEST(Collectives, GroupsThatShareALinkAreChosenForTheirShare) {
  BookRequest all = request({.tensor = 2, .data = 4, .pipeline = 2}, 2);
  for (parallel::Fabric::Place& p : all.fabric.places) p.leaf = p.node % 2;
  all.links.leaf.rate = 12.5e9;
  all.links.across.rate = 20e9;
  BookRequest one = all;
  std::erase_if(one.axes, [](const Axis& a) { return a.name != kDataGroup; });
  one.axes[0].groups.resize(1);
  const comm::PlanBook crowded = make_book(all).book, alone = make_book(one).book;
  EXPECT_EQ(crowded.links, all.links) << "the links are what they are";
  const auto last = [](const comm::PlanBook& book) {
    return book.find(kDataGroup, 4)->ranges[static_cast<std::size_t>(comm::CollectiveKind::kAllReduce)].back();
  };
  EXPECT_EQ(last(crowded).recipe.algorithm, "hierarchical");
  EXPECT_GT(last(crowded).seconds, 1.5 * last(alone).seconds);
}

TEST(Collectives, RecordedPlansAreKeptWhereverTheRanksSit) {
  const auto first = make_book(request(kMesh, 8)).book;
  BookRequest later = request(kMesh, 1);
  later.recorded = &first;
  const BookAnswer answer = make_book(later);
  EXPECT_TRUE(answer.chosen_anew.empty());
  EXPECT_TRUE(answer.overruled.empty());
  EXPECT_EQ(comm::write_book(answer.book), comm::write_book(first));
}

TEST(Collectives, OtherGroupsAreChosenAnewAndNamed) {
  const auto first = make_book(request(kMesh, 8)).book;
  BookRequest later = request({.tensor = 2, .data = 4}, 8);
  later.recorded = &first;
  const BookAnswer answer = make_book(later);
  EXPECT_EQ(answer.chosen_anew, std::vector<std::string>{kDataGroup});
  EXPECT_NE(answer.book.find(kDataGroup, 4), nullptr);
}

TEST(Collectives, AKeyOverrulesTheRecord) {
  const auto first = make_book(request(kMesh, 8)).book;
  BookRequest later = request(kMesh, 8, {"comm.all_reduce=ring"});
  later.recorded = &first;
  const BookAnswer answer = make_book(later);
  ASSERT_EQ(answer.overruled.size(), answer.book.groups.size());
  EXPECT_EQ(answer.overruled[0], "all-reduce of the world");
  for (const comm::GroupPlans& g : answer.book.groups) {
    EXPECT_EQ(g.recipe(comm::CollectiveKind::kAllReduce, 1000).algorithm, "ring");
    EXPECT_EQ(g.recipe(comm::CollectiveKind::kAllGather, 1000).algorithm, "direct");
  }
}

TEST(Collectives, SharedNeedsAGroupThatSharesANode) {
  const std::vector<std::string> shared{"comm.all_reduce=shared"};
  EXPECT_NO_THROW(make_book(request(kMesh, 8, shared)));
  EXPECT_NO_THROW(make_book(request(kMesh, 2, shared))) << "the tensor groups do";
  EXPECT_THROW(make_book(request(kMesh, 1, shared)), ConfigError);
  BookRequest off = request(kMesh, 8, shared);
  off.shared_memory = false;
  EXPECT_THROW(make_book(off), ConfigError);
}

}  // namespace
}  // namespace banyan::plan
