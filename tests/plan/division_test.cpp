#include "src/plan/division.hpp"

#include <gtest/gtest.h>

#include "src/plan/layout.hpp"
#include "tests/plan/test_config.hpp"

namespace banyan::plan {
namespace {

TEST(Division, NamesSchedulesAsTheirKeyDoes) {
  config::Config c = gpt2_124m();
  c.parallel.pipeline = 2;
  for (const char* name : {"gpipe", "1f1b", "interleaved", "zb-h1", "zb-v"}) {
    c.parallel.schedule = name;
    EXPECT_EQ(name_of(make_layout(c, 2, 0).schedule), name);
  }
}

}  // namespace
}  // namespace banyan::plan
