#include "engine/model/process_pasids.h"

#include "gtest/gtest.h"

namespace viommu {
namespace {

bool Any(uint32_t) { return true; }

TEST(ProcessPasidsTest, GivesEveryProcessOneOfItsOwn) {
  ProcessPasids pasids;
  EXPECT_EQ(pasids.Take(10, 255, Any), 1u);
  EXPECT_EQ(pasids.Take(20, 255, Any), 2u);
  EXPECT_EQ(pasids.Take(10, 255, Any), 1u) << "another domain of the same process";
  EXPECT_EQ(pasids.Of(10), 1u);
  EXPECT_TRUE(pasids.Has(2));
  EXPECT_FALSE(pasids.Has(3));
}

TEST(ProcessPasidsTest, KeepsItUntilTheLastDomainGoes) {
  ProcessPasids pasids;
  pasids.Take(10, 255, Any);
  pasids.Take(10, 255, Any);
  pasids.GiveBack(10);
  EXPECT_EQ(pasids.Of(10), 1u);
  pasids.GiveBack(10);
  EXPECT_EQ(pasids.Of(10), std::nullopt);
  EXPECT_EQ(pasids.Take(20, 255, Any), 1u);
}

TEST(ProcessPasidsTest, PassesOverWhatIsTakenAndKnowsTheEnd) {
  ProcessPasids pasids;
  EXPECT_EQ(pasids.Take(10, 3, [](uint32_t pasid) { return pasid > 2; }), 3u);
  EXPECT_EQ(pasids.Take(20, 2, [](uint32_t pasid) { return pasid != 1; }), 2u);
  EXPECT_EQ(pasids.Take(30, 1, Any), 1u);
  EXPECT_EQ(pasids.Take(40, 3, Any), std::nullopt);
  EXPECT_EQ(pasids.Of(40), std::nullopt) << "what was refused leaves nothing";
}

}  // namespace
}  // namespace viommu
