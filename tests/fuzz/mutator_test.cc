#include "tests/fuzz/mutator.h"

#include <set>
#include <string>

#include "gtest/gtest.h"

namespace viommu::fuzz {
namespace {

TEST(MutatorTest, MakesTheSameInputsForTheSameSeed) {
  Mutator one({"abc", ""}, 7);
  Mutator other({"abc", ""}, 7);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(one.Next(), other.Next()) << i;
}

TEST(MutatorTest, MakesManyInputsEvenOfAnEmptyOne) {
  for (const std::string& seed : {std::string(), std::string("ioas/vm0")}) {
    Mutator mutator({seed}, 1);
    std::set<std::string> seen;
    for (int i = 0; i < 1000; ++i) seen.insert(mutator.Next());
    EXPECT_GT(seen.size(), 500u) << seed;
  }
}

TEST(MutatorTest, KeepsInputsWithinTheLimit) {
  Mutator mutator({std::string(kMaxInputBytes, 'x')}, 1);
  for (int i = 0; i < 1000; ++i) ASSERT_LE(mutator.Next().size(), kMaxInputBytes);
}

}  // namespace
}  // namespace viommu::fuzz
