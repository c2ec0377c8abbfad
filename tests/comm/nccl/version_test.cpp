#include "comm/nccl/version.hpp"

#include <gtest/gtest.h>

namespace banyan::comm {
namespace {

TEST(NcclVersion, TextOfACode) {
  EXPECT_EQ(nccl_version_text(22809), "2.28.9");
  EXPECT_EQ(nccl_version_text(21800), "2.18.0");
  EXPECT_EQ(nccl_version_text(2804), "2.8.4");
  EXPECT_EQ(nccl_version_text(30001), "3.0.1");
}

TEST(NcclVersion, ALibraryMayBeNewerThanTheHeaderNotOlder) {
  EXPECT_EQ(nccl_version_problem(22809, 22809), "");
  EXPECT_EQ(nccl_version_problem(21800, 22809), "");
  EXPECT_EQ(
      nccl_version_problem(22809, 22808),
      "NCCL 2.28.8 was loaded, but this program was compiled for 2.28.9: put that version, or a later one of 2.x, "
      "first in LD_LIBRARY_PATH");
  EXPECT_NE(nccl_version_problem(22809, 30001), "");
}

TEST(NcclVersion, BelowTheLeastIsRefusedWhateverTheHeader) {
  EXPECT_EQ(nccl_version_problem(21700, 21705),
            "NCCL 2.17.5 was loaded, 2.18.0 is the least: put a newer libnccl first in LD_LIBRARY_PATH");
  EXPECT_NE(nccl_version_problem(2804, 2804), "");
}

}  // namespace
}  // namespace banyan::comm
