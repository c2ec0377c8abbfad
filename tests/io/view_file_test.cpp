#include "io/view_file.hpp"

#include <gtest/gtest.h>
#include <hdf5.h>

#include <fstream>

#include "src/base/error.hpp"
#include "tests/io/checkpoint_fixture.hpp"
#include "tests/temp_dir.hpp"

namespace banyan::io {
namespace {

using test::TempDir;

std::vector<float> read_hdf5(const std::filesystem::path& path, const std::string& name, std::size_t count) {
  std::vector<float> values(count, -1.0f);
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t dataset = H5Dopen2(file, name.c_str(), H5P_DEFAULT);
  EXPECT_GE(dataset, 0) << name;
  EXPECT_GE(H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
  H5Dclose(dataset);
  H5Fclose(file);
  return values;
}

TEST(ViewFile, ShowsWholeTensorsAlsoAfterAMove) {
  TempDir dir;
  const auto model = test::small_model();
  write_view(dir / "c", [&] { return test::write_small_checkpoint(dir / "c", model); }());
  std::filesystem::rename(dir / "c", dir / "moved");
  for (const auto& t : model) {
    const std::string path = view_path({t.name, t.kind, DType::kF32, t.shape, {}});
    EXPECT_EQ(read_hdf5(dir / "moved" / kViewName, path, t.values.size()), t.values) << path;
  }
  EXPECT_EQ(view_path({"a.b", TensorKind::kParam, DType::kF32, {}, {}}), "/params/a/b");
  EXPECT_EQ(view_path({"a.b", TensorKind::kM, DType::kF32, {}, {}}), "/optimizer/m/a/b");
}

TEST(ViewFile, MergeWritesOneFileWithEverything) {
  TempDir dir;
  const auto model = test::small_model();
  test::write_small_checkpoint(dir / "c", model);
  CheckpointReader reader(dir / "c");
  std::int64_t last = 0, all = 0;
  write_merged(reader, dir / "out.h5", [&](std::int64_t done, std::int64_t total) { last = done, all = total; });
  EXPECT_EQ(last, all);
  EXPECT_GT(all, 0);
  std::filesystem::remove_all(dir / "c");
  for (const auto& t : model)
    EXPECT_EQ(read_hdf5(dir / "out.h5", view_path({t.name, t.kind, DType::kF32, t.shape, {}}), t.values.size()),
              t.values);
}

TEST(ViewFile, MergeOfADamagedCheckpointLeavesNothing) {
  TempDir dir;
  const Manifest m = test::write_small_checkpoint(dir / "c", test::small_model());
  std::fstream file(dir / "c" / "shard-00001.h5", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(m.find(TensorKind::kV, "norm.weight")->shards[0].byte_offset);
  file.put('x');
  file.close();
  CheckpointReader reader(dir / "c");
  EXPECT_THROW(write_merged(reader, dir / "out.h5"), DataError);
  EXPECT_FALSE(path_exists(dir / "out.h5"));
  EXPECT_FALSE(path_exists(dir / "out.h5.tmp"));
}

}  // namespace
}  // namespace banyan::io
