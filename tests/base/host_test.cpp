#include "src/base/host.hpp"

#include <gtest/gtest.h>

namespace banyan {
namespace {

TEST(Host, HasANameWithoutDots) {
  EXPECT_FALSE(host_name().empty());
  EXPECT_EQ(host_name().find('.'), std::string::npos);
}

TEST(Host, TheProcessorIsTheSameWhenAskedAgain) {
  EXPECT_FALSE(processor_name().empty());
  EXPECT_EQ(processor_name(), processor_name());
}

}  // namespace
}  // namespace banyan
