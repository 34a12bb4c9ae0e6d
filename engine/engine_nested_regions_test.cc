// Reserved regions while a guest's first stage lies between a device and an Ioas.
#include <string>

#include "engine/engine_attachments_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

class EngineNestedRegionsTest : public AttachmentsTest {
 protected:
  // A nest parent over ioas/as, and two NESTED domains on it; the second is for PASIDs.
  void SetUp() override {
    AttachmentsTest::SetUp();
    PagingDomainRequest parent{Ref("as"), "dev0"};
    parent.nest_parent = true;
    ASSERT_EQ(Described(engine_->CreateDomain(alice_, "parent", parent).status()), "OK");
    NestedDomainRequest nested{Ref("parent"), "dev0"};
    ASSERT_EQ(Described(engine_->CreateDomain(alice_, "guest", nested).status()), "OK");
    nested.pasid = true;
    ASSERT_EQ(Described(engine_->CreateDomain(alice_, "guest-p", nested).status()), "OK");
  }
};

TEST_F(EngineNestedRegionsTest, TheIoasIsTheGuestsWhileItsStageIsThere) {
  ASSERT_EQ(Attach("dev0", "parent"), "OK");
  EXPECT_TRUE(MsiReserved("as")) << "a nest parent by itself is a paging domain";
  ASSERT_EQ(Replace("dev0", "guest"), "OK");
  EXPECT_FALSE(MsiReserved("as"));
  ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0xfee00000, 0x1000)).ok());
  ExpectRefused("FAILED_PRECONDITION IOVA_CONFLICT", [&] { return Replace("dev0", "parent"); });
  EXPECT_EQ(On("dev0"), "domains/guest");
  ASSERT_TRUE(engine_->Unmap(alice_, Ref("as"), OneUnmap(0xfee00000, 0x1000)).ok());
  ASSERT_EQ(Replace("dev0", "parent"), "OK");
  EXPECT_TRUE(MsiReserved("as"));
  ASSERT_EQ(Replace("dev0", "guest"), "OK");
  ASSERT_EQ(Detach("dev0"), "OK");
  EXPECT_FALSE(MsiReserved("as"));
}

TEST_F(EngineNestedRegionsTest, ANestedDomainAttachedDirectlyTakesNone) {
  ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0xfee00000, 0x1000)).ok());
  EXPECT_EQ(Attach("dev0", "guest"), "OK");
  EXPECT_EQ(Described(engine_->DeleteDomain(alice_, Ref("parent"), "")),
            "FAILED_PRECONDITION IN_USE");
}

TEST_F(EngineNestedRegionsTest, ANestedDomainServesPasidsWhenItWasMadeForThem) {
  ExpectRefused("FAILED_PRECONDITION PASID_INCOMPATIBLE",
                [&] { return Attach("dev0", "guest", 5); });
  ASSERT_EQ(Attach("dev0", "guest-p", 5), "OK");
  ExpectRefused("FAILED_PRECONDITION PASID_INCOMPATIBLE", [&] { return Attach("dev0", "guest"); });
  ASSERT_EQ(Attach("dev0", "guest-p"), "OK");
  ASSERT_EQ(Detach("dev0", 5), "OK");
}

TEST_F(EngineNestedRegionsTest, AutoDomainsAreNoNestParents) {
  ASSERT_EQ(AttachToIoas("dev0", "as"), "OK");
  const std::string id = On("dev0").substr(8);
  EXPECT_EQ(
      Described(engine_->CreateDomain(alice_, "n", NestedDomainRequest{Ref(id), "dev0"}).status()),
      "FAILED_PRECONDITION NOT_NEST_PARENT");
}

}  // namespace
}  // namespace viommu
