// What attachments do beside themselves: reserved regions and siblings, foreseen and then told.
#include <string>

#include "engine/engine_attachments_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

std::string Text(const AttachmentEffects& effects) {
  std::string text;
  for (const auto& view : effects.regions_gained) {
    text += "+" + view.source + ToString(view.region.range) + " ";
  }
  for (const auto& view : effects.regions_lost) {
    text += "-" + view.source + ToString(view.region.range) + " ";
  }
  for (const auto& sibling : effects.siblings_moved) text += "moves " + sibling + " ";
  return text;
}

constexpr char kGained0[] = "+devices/dev0[0xfee00000, 0xfeefffff] ";
constexpr char kLost0[] = "-devices/dev0[0xfee00000, 0xfeefffff] ";
constexpr char kGained1[] = "+devices/dev1[0xfee00000, 0xfeefffff] ";
constexpr char kLost1[] = "-devices/dev1[0xfee00000, 0xfeefffff] ";
constexpr char kGained2[] = "+devices/dev2[0xfee00000, 0xfeefffff] ";
constexpr char kLost2[] = "-devices/dev2[0xfee00000, 0xfeefffff] ";

class AttachmentEffectsTest : public AttachmentsTest {
 protected:
  // Of a call, which is to foresee in a dry run just what it tells then.
  template <typename F>
  std::string Effects(F call) {
    CallContext dry = alice_;
    dry.validate_only = true;
    const std::string before = Everything();
    const auto foreseen = call(dry);
    EXPECT_EQ(Everything(), before);
    const auto told = call(alice_);
    if (!foreseen.ok() || !told.ok()) return Described(told.status());
    EXPECT_EQ(Text(foreseen->effects), Text(told->effects));
    return Text(told->effects);
  }
  std::string AttachEffects(const std::string& device, const AttachTarget& target,
                            Pasid pasid = {}) {
    return Effects(
        [&](const CallContext& as) { return engine_->AttachDevice(as, device, target, pasid); });
  }
  std::string ReplaceEffects(const std::string& device, const AttachTarget& target) {
    return Effects(
        [&](const CallContext& as) { return engine_->ReplaceAttachment(as, device, target); });
  }
  std::string DetachEffects(const std::string& device, Pasid pasid = {}) {
    return Effects([&](const CallContext& as) { return engine_->DetachDevice(as, device, pasid); });
  }
};

TEST_F(AttachmentEffectsTest, TellsOfReservedRegionsGainedAndLost) {
  EXPECT_EQ(AttachEffects("dev0", Ref("p")), kGained0);
  EXPECT_EQ(ReplaceEffects("dev0", Ref("p")), "") << "nothing moves";
  EXPECT_EQ(ReplaceEffects("dev0", AttachTarget::OfIoas(Ref("other"))),
            std::string(kGained0) + kLost0);
  EXPECT_EQ(ReplaceEffects("dev0", Ref("q")), "") << "within the Ioas";
  EXPECT_EQ(ReplaceEffects("dev0", Ref("blocked")), kLost0);
  EXPECT_EQ(DetachEffects("dev0"), "");
  EXPECT_EQ(DetachEffects("dev0"), "") << "it is not attached";
}

TEST_F(AttachmentEffectsTest, APasidTakesNoRegions) {
  EXPECT_EQ(AttachEffects("dev0", Ref("p"), 5), "");
  EXPECT_EQ(DetachEffects("dev0", 5), "");
  EXPECT_EQ(AttachEffects("dev1", Ref("p"), 5), "moves devices/dev2 ");
  EXPECT_EQ(DetachEffects("dev1", 5), "moves devices/dev2 ");
}

TEST_F(AttachmentEffectsTest, TellsOfSiblingsWhereTheHardwareMovesThem) {
  EXPECT_EQ(AttachEffects("dev1", Ref("p")), std::string(kGained1) + "moves devices/dev2 ");
  EXPECT_EQ(AttachEffects("dev2", Ref("p")), kGained2) << "it is there already";
  EXPECT_EQ(ReplaceEffects("dev2", Ref("q")),
            std::string(kGained1) + kGained2 + kLost1 + kLost2 + "moves devices/dev1 ");
  EXPECT_EQ(DetachEffects("dev1"), kLost1) << "the other one stays";
  EXPECT_EQ(DetachEffects("dev2"), std::string(kLost2) + "moves devices/dev1 ");
}

TEST_F(AttachmentEffectsTest, ASiblingThatIsHeldBackDoesNotMove) {
  ASSERT_EQ(Attach("dev1", "p"), "OK");
  backend_.SetHook(RefuseNth("Unblock", 1));
  ASSERT_FALSE(engine_->ResetDevice(alice_, "dev2").ok());
  EXPECT_EQ(DetachEffects("dev1"), kLost1);
}

}  // namespace
}  // namespace viommu
