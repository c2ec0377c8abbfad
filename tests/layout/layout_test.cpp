// The repository's own rules, enforced: who may include whom, which folder owns which library, one noun per file.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;
const fs::path kRoot = BANYAN_SOURCE_DIR;

struct SourceFile {
  std::string path;    ///< from the root, as an include spells it
  std::string folder;  ///< key of kMayInclude
  std::vector<std::string> lines;
};

// The direction of includes: main > app > train | infer > job > plan > model | parallel > config | kernels | comm | io
// > base.
const std::map<std::string, std::set<std::string>> kMayInclude = [] {
  std::map<std::string, std::set<std::string>> m;
  m["src/base"] = {};
  m["src/config"] = m["kernels"] = m["comm"] = m["io"] = {"src/base"};
  m["src/model"] = {"src/base", "kernels", "comm"};  // comm in *_parallel.* only, see below
  m["src/parallel"] = {"src/base", "comm"};
  m["src/plan"] = {"src/base", "src/config", "src/model", "src/parallel", "comm", "kernels"};
  m["src/job"] = m["src/plan"];
  m["src/job"].insert({"src/plan", "io"});
  m["src/train"] = m["src/infer"] = m["src/job"];
  m["src/train"].insert("src/job");
  m["src/infer"].insert("src/job");
  m["src/app"] = m["src/train"];
  m["src/app"].insert({"src/train", "src/infer"});
  m["perf"] = m["src/app"];
  m["perf"].insert("tests");  // the list of operation cases only, see below
  m["sim"] = m["src/app"];
  m["sim"].insert("src/app");
  m["src"] = {"src/base", "src/config", "src/app"};  // main.cpp
  return m;
}();

/// Libraries that only one place may know.  Tests may know them too.
const std::vector<std::pair<std::regex, std::vector<std::string>>> kOnlyPlace = {
    {std::regex(R"(<mpi\.h>)"), {"comm/mpi/", "perf/peer_mpi.cpp"}},
    {std::regex(R"(<(simgrid|smpi)/)"), {"sim/"}},
    {std::regex(R"(<(ucp|ucs|uct)/)"), {"comm/ucx/"}},
    {std::regex(R"(<nccl\.h>)"), {"comm/nccl/"}},
    {std::regex(R"(<hwloc\.h>)"), {"comm/topology/"}},
    {std::regex(R"(<yaml-cpp/)"), {"comm/topology/"}},
    {std::regex(R"(<(hdf5|H5\w*)\.h>)"), {"io/"}},
    {std::regex(R"(<(omp\.h|dnnl|oneapi/))"), {"kernels/", "perf/"}},
    {std::regex(R"(<cu(da|blas|dnn)\w*\.h>)"), {"kernels/cuda/", "comm/nccl/"}},
    {std::regex(R"(<boost/)"), {"src/config/"}},
    {std::regex(R"(<spdlog/)"), {"src/base/"}},
    {std::regex(R"(<pcre2\.h>)"), {"io/"}},
    {std::regex(R"(<xxhash\.h>)"), {"io/"}},
};

std::string folder_of(const std::string& path) {
  if (path.rfind("src/", 0) != 0) return path.substr(0, path.find('/'));
  const std::size_t slash = path.find('/', 4);
  return slash == std::string::npos ? "src" : path.substr(0, slash);
}

const std::vector<SourceFile>& sources() {
  static const std::vector<SourceFile> files = [] {
    std::vector<SourceFile> list;
    for (const char* top : {"src", "kernels", "comm", "io", "perf", "sim", "tests"}) {
      for (const auto& entry : fs::recursive_directory_iterator(kRoot / top)) {
        static const std::set<std::string> kSuffixes{".cpp", ".hpp", ".h", ".cu", ".cuh", ".def"};
        if (!entry.is_regular_file() || !kSuffixes.count(entry.path().extension().string())) continue;
        SourceFile f{fs::relative(entry.path(), kRoot).string(), "", {}};
        f.folder = folder_of(f.path);
        std::ifstream in(entry.path());
        for (std::string line; std::getline(in, line);) f.lines.push_back(line);
        list.push_back(std::move(f));
      }
    }
    return list;
  }();
  return files;
}

struct Include {
  const SourceFile* file;
  std::size_t line;
  std::string spelled;  ///< with its quotes or brackets
};

std::vector<Include> includes() {
  static const std::regex pattern(R"re(^\s*#\s*include\s*(["<][^">]*[">]))re");
  std::vector<Include> list;
  for (const SourceFile& f : sources())
    for (std::size_t i = 0; i < f.lines.size(); ++i)
      if (std::smatch m; std::regex_search(f.lines[i], m, pattern)) list.push_back({&f, i + 1, m[1]});
  return list;
}

TEST(Layout, SourcesAreFound) { EXPECT_GT(sources().size(), 50u); }

TEST(Layout, AnIncludeIsSpelledAsItsPathFromTheRoot) {
  for (const Include& i : includes()) {
    const std::string path = i.spelled.substr(1, i.spelled.size() - 2);
    if (i.spelled[0] == '"') {
      EXPECT_TRUE(fs::is_regular_file(kRoot / path) && path.find("..") == std::string::npos)
          << i.file->path << ":" << i.line << ": " << i.spelled;
    } else {
      EXPECT_FALSE(fs::is_regular_file(kRoot / path))
          << i.file->path << ":" << i.line << ": ours take quotes: " << path;
    }
  }
}

TEST(Layout, IncludesPointDownwardsOnly) {
  for (const Include& i : includes()) {
    if (i.spelled[0] != '"' || i.file->folder == "tests") continue;
    const std::string path = i.spelled.substr(1, i.spelled.size() - 2), to = folder_of(path);
    if (to == i.file->folder) continue;
    ASSERT_EQ(kMayInclude.count(i.file->folder), 1u) << i.file->folder << " is no folder of this test's table";
    EXPECT_EQ(kMayInclude.at(i.file->folder).count(to), 1u) << i.file->path << ":" << i.line << " includes " << path;
    if (i.file->folder == "perf" && to == "tests") {
      EXPECT_EQ(path, "tests/kernels/op_cases.hpp") << i.file->path << ":" << i.line;
    }
    if (i.file->folder == "src/model" && to == "comm") {
      EXPECT_NE(i.file->path.find("_parallel."), std::string::npos)
          << i.file->path << ":" << i.line << " includes " << path;
    }
  }
}

TEST(Layout, EachLibraryIsKnownToOnePlace) {
  for (const Include& i : includes()) {
    if (i.file->folder == "tests") continue;
    for (const auto& [library, places] : kOnlyPlace) {
      if (!std::regex_search(i.spelled, library)) continue;
      EXPECT_TRUE(std::any_of(places.begin(), places.end(),
                              [&](const std::string& p) { return i.file->path.rfind(p, 0) == 0; }))
          << i.file->path << ":" << i.line << " includes " << i.spelled << ", which belongs to " << places[0];
    }
  }
}

TEST(Layout, AHeaderIsIncludedOnce) {
  for (const SourceFile& f : sources())
    if (f.path.ends_with(".hpp")) {
      EXPECT_TRUE(std::count(f.lines.begin(), f.lines.end(), "#pragma once")) << f.path << " lacks #pragma once";
    }
}

TEST(Layout, AFileHoldsOneNoun) {
  for (const SourceFile& f : sources())
    EXPECT_LE(f.lines.size(), 400u) << f.path << " is long; is there a second noun inside?";
}

TEST(Layout, MainStaysShort) {
  for (const SourceFile& f : sources())
    if (f.path == "src/main.cpp") {
      EXPECT_LE(f.lines.size(), 120u);
    }
}

TEST(Layout, NothingIsLeftForLater) {
  // Spelled apart, so that this file does not find itself.
  const std::regex marker(
      "\\b(TO"
      "DO|FIX"
      "ME|XX"
      "X|HA"
      "CK|not imple"
      "mented|unimple"
      "mented)\\b");
  for (const SourceFile& f : sources())
    for (std::size_t i = 0; i < f.lines.size(); ++i)
      EXPECT_FALSE(std::regex_search(f.lines[i], marker)) << f.path << ":" << i + 1 << ": " << f.lines[i];
}

TEST(Layout, OpenMpBelongsToTheKernels) {
  for (const SourceFile& f : sources())
    for (std::size_t i = 0; i < f.lines.size(); ++i)
      if (f.folder != "kernels" && f.folder != "tests" && f.folder != "perf") {
        EXPECT_EQ(f.lines[i].find("#pragma omp"), std::string::npos) << f.path << ":" << i + 1;
      }
}

TEST(Layout, ATestStandsWhereItsFileDoes) {
  // Tests of these folders are about the whole, not about a file.
  const std::set<std::string> whole{"layout", "e2e", "fault", "cluster", "scripts", "fuzz", "cuda_host"};
  // Tests of a seam, run against whatever stands behind it.
  const std::set<std::string> seams{"kernels/op_value", "kernels/op_grad", "kernels/cpu_backend",
                                    "comm/random_programs", "comm/faults"};
  for (const SourceFile& f : sources()) {
    if (f.folder != "tests" || !f.path.ends_with("_test.cpp")) continue;
    const std::string path = f.path.substr(6, f.path.size() - 6 - 9), top = path.substr(0, path.find('/'));
    if (whole.count(top) || seams.count(path)) continue;
    const bool found = std::any_of(sources().begin(), sources().end(), [&](const SourceFile& s) {
      return s.path.rfind(path + ".", 0) == 0 || s.path.rfind("src/" + path + ".", 0) == 0;
    });
    EXPECT_TRUE(found) << f.path << " tests no file " << path << ".*";
  }
}

TEST(Layout, EveryFolderExplainsItself) {
  for (const char* folder : {"src/base", "src/config", "src/model", "src/parallel", "src/plan", "src/job", "src/train",
                             "src/infer", "src/app", "kernels", "comm", "io", "perf", "tests", "scripts", "configs"}) {
    const fs::path page = kRoot / folder / "README.md";
    EXPECT_TRUE(fs::exists(page)) << folder << " has no README.md";
  }
}

}  // namespace
