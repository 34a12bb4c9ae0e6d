// ATS: what devices are told, what they keep, and which invalidations reach it.
#include "engine/backend/soft/hardware/smmu_device_tlb.h"

#include <cstdint>
#include <optional>
#include <string>

#include "absl/types/span.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/hardware/smmu_test_world.h"
#include "gtest/gtest.h"

namespace viommu::hardware {
namespace {

using smmu::AddressType;
using smmu::Request;
using smmu::Translation;
using World = SmmuTestWorld;

constexpr uint64_t kSid = uint64_t{World::kStream} << 32;
constexpr uint64_t kVa = World::kIova4K;

// A world whose device has its ATS on, as the stream table says.
struct AtsWorld : World {
  explicit AtsWorld(Stages stages = Stages::kFirst) : World(stages) {
    Flip(stream_entry + 8, 1 << 28);
    model->SetDeviceTlb(kStream, true);
  }
  static Request Ask(uint64_t address, bool write = false,
                     std::optional<uint32_t> substream = std::nullopt) {
    Request request = Read(address, substream);
    request.write = write;
    request.type = AddressType::kTranslationRequest;
    return request;
  }
  // Reads 8 bytes; 0 if that is refused.
  uint64_t Fetch(uint64_t address, std::optional<uint32_t> substream = std::nullopt) {
    uint64_t word = 0;
    model->Access(Read(address, substream),
                  absl::MakeSpan(reinterpret_cast<char*>(&word), sizeof(word)));
    return word;
  }
  // Stops everything that the unit itself remembers of the page, and moves it elsewhere.
  void Move(uint64_t to) {
    Store(leaf_4k, to | kFirstLeaf | 3);
    Submit(0x30);
  }
};

TEST(SmmuDeviceTlbTest, AnswersTranslationRequestsWithWhatIsPermitted) {
  AtsWorld world;
  const Translation writable = world.Translate(AtsWorld::Ask(kVa + 0x10, true));
  ASSERT_TRUE(writable.ok());
  EXPECT_EQ(writable.physical.value, world.data + 0x10);
  EXPECT_TRUE(writable.read);
  EXPECT_TRUE(writable.write);
  EXPECT_EQ(world.Translate(AtsWorld::Ask(World::kIova2M)).page_shift, 21);
  world.Flip(world.leaf_4k, 1 << 7);
  world.Submit(0x30);
  const Translation readable = world.Translate(AtsWorld::Ask(kVa, true));
  EXPECT_TRUE(readable.ok());
  EXPECT_TRUE(readable.read);
  EXPECT_FALSE(readable.write);
  world.Flip(world.leaf_4k, 1 << 6);
  world.Submit(0x30);
  const Translation nothing = world.Translate(AtsWorld::Ask(kVa, true));
  EXPECT_TRUE(nothing.ok());
  EXPECT_FALSE(nothing.read || nothing.write);
  EXPECT_EQ(world.EventCount(), 0u);
}

TEST(SmmuDeviceTlbTest, AnswersFaultsWithNoPermissionAndNoEvent) {
  AtsWorld world;
  for (const uint64_t bits : {1 << 10, 1}) {
    world.Flip(world.leaf_4k, bits);
    const Translation answer = world.Translate(AtsWorld::Ask(kVa));
    EXPECT_TRUE(answer.ok());
    EXPECT_FALSE(answer.read || answer.write);
  }
  EXPECT_EQ(world.EventCount(), 0u);
}

TEST(SmmuDeviceTlbTest, RefusesRequestsOfStreamsWithoutAts) {
  World world;
  EXPECT_EQ(world.Translate(AtsWorld::Ask(kVa)).fault.id, smmu::kBadAtsTranslationRequest);
  EXPECT_EQ(world.NextEvent()[0], 0x05 | kSid);
  world.Store(world.stream_entry, 1 | 4 << 1);
  world.Submit(0x03 | kSid, 1);
  EXPECT_EQ(world.Translate(AtsWorld::Ask(kVa)).fault.id, smmu::kBadAtsTranslationRequest);
  world.NextEvent();
  // Configuration errors are no event for them.
  for (const uint64_t word : {0, 1}) {
    world.Store(world.stream_entry, word);
    world.Submit(0x03 | kSid, 1);
    EXPECT_TRUE(world.Translate(AtsWorld::Ask(kVa)).fault.terminated);
  }
  EXPECT_EQ(world.EventCount(), 0u);
  world.model->Write32(0x20, 0xe);
  EXPECT_EQ(world.Translate(AtsWorld::Ask(kVa)).fault.id, smmu::kBadAtsTranslationRequest);
}

TEST(SmmuDeviceTlbTest, PassesTranslatedRequestsUnlessItChecksThem) {
  World world;
  Request request = World::Read(0x123456);
  request.type = AddressType::kTranslated;
  EXPECT_EQ(world.Translate(request).physical.value, 0x123456u);
  world.model->Write32(0x20, 0x1f);  // ATSCHK
  EXPECT_EQ(world.Translate(request).fault.id, smmu::kTranslatedForbidden);
  EXPECT_EQ(world.NextEvent()[0], 0x07 | kSid);
  world.Flip(world.stream_entry + 8, 1 << 28);
  world.Submit(0x03 | kSid, 1);
  EXPECT_EQ(world.Translate(request).physical.value, 0x123456u);
  request.address = 1ull << 48;
  EXPECT_TRUE(world.Translate(request).fault.terminated);
  request.stream_id = 64;
  EXPECT_TRUE(world.Translate(request).fault.terminated);
  EXPECT_EQ(world.EventCount(), 0u);
  world.model->Write32(0x20, 0x1e);
  EXPECT_EQ(world.Translate(request).fault.id, smmu::kTranslatedForbidden);
}

TEST(SmmuDeviceTlbTest, SkipsStage1WhereS1dssSaysSo) {
  AtsWorld first;
  first.Flip(first.stream_entry + 8, 3);  // 2 to 1
  EXPECT_EQ(first.Translate(AtsWorld::Ask(0x5000, true)).physical.value, 0x5000u);
  AtsWorld nested(Stages::kNested);
  nested.Flip(nested.stream_entry + 8, 3);
  EXPECT_EQ(nested.Translate(AtsWorld::Ask(nested.IpaOf(nested.data))).physical.value, nested.data);
}

TEST(SmmuDeviceTlbTest, UsesWhatTheDeviceKeptUntilItIsInvalidated) {
  for (const Stages stages : {Stages::kFirst, Stages::kNested}) {
    AtsWorld world(stages);
    const uint64_t other = world.Page();
    world.Store(world.data, 111);
    world.Store(other, 222);
    EXPECT_EQ(world.Fetch(kVa), 111u);
    world.Move(world.Inner(other));
    EXPECT_EQ(world.Fetch(kVa), 111u);
    EXPECT_EQ(world.Where(kVa), other);
    world.Submit(0x40 | kSid, kVa);
    EXPECT_EQ(world.Fetch(kVa), 222u);
    EXPECT_EQ(world.model->counters().device_tlb_hits, 1u);
    EXPECT_EQ(world.model->counters().device_tlb_misses, 2u);
  }
}

TEST(SmmuDeviceTlbTest, InvalidatesByPageSizeSubstreamAndStream) {
  constexpr uint64_t kSubstreamValid = 1 << 11, kGlobal = 1 << 9;
  const struct {
    const char* name;
    uint64_t word0, word1;
    bool without, with;  // Substream 3.
  } kCases[] = {
      {"page", 0x40 | kSid, kVa, true, true},
      {"other page", 0x40 | kSid, kVa + 0x1000, false, false},
      {"two pages", 0x40 | kSid, (kVa + 0x1000) | 1, true, true},
      {"all", 0x40 | kSid, 52, true, true},
      {"more than all", 0x40 | kSid, 63, true, true},
      {"other stream", 0x40 | 6ull << 32, 52, false, false},
      {"substream", 0x40 | kSid | kSubstreamValid | 3 << 12, kVa, false, true},
      {"other substream", 0x40 | kSid | kSubstreamValid | 2 << 12, 52, false, false},
      {"global", 0x40 | kSid | kSubstreamValid | kGlobal | 2 << 12, kVa, false, true},
      {"global without substream", 0x40 | kSid | kGlobal, kVa, true, true},
      {"substream without its flag", 0x40 | kSid | 2 << 12, kVa, true, true},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    AtsWorld world;
    const uint64_t other = world.Page();
    world.Store(world.data, 111);
    world.Store(other, 222);
    EXPECT_EQ(world.Fetch(kVa), 111u);
    EXPECT_EQ(world.Fetch(kVa, 3), 111u);
    world.Move(other);
    world.Submit(c.word0, c.word1);
    EXPECT_FALSE(world.CommandError());
    EXPECT_EQ(world.Fetch(kVa), c.without ? 222u : 111u);
    EXPECT_EQ(world.Fetch(kVa, 3), c.with ? 222u : 111u);
  }
}

TEST(SmmuDeviceTlbTest, KeepsWhatADeviceThatDoesNotAnswerHas) {
  AtsWorld world;
  const uint64_t other = world.Page();
  world.Store(world.data, 111);
  world.Store(other, 222);
  EXPECT_EQ(world.Fetch(kVa), 111u);
  world.model->SetDeviceTlbAnswers(World::kStream, false);
  world.Move(other);
  world.Submit(0x40 | kSid, 52);
  EXPECT_EQ(world.Fetch(kVa), 111u);
  world.model->SetDeviceTlb(World::kStream, false);
  world.model->SetDeviceTlb(World::kStream, true);
  EXPECT_EQ(world.Fetch(kVa), 222u);
}

TEST(SmmuDeviceTlbTest, IgnoresInvalidationsWhileTranslationIsOff) {
  AtsWorld world;
  world.Store(world.data, 111);
  EXPECT_EQ(world.Fetch(kVa), 111u);
  world.Move(world.Page());
  world.model->Write32(0x20, 0xe);
  world.Submit(0x40 | kSid, 52);
  world.model->Write32(0x20, 0xf);
  EXPECT_EQ(world.Fetch(kVa), 111u);
}

TEST(SmmuDeviceTlbTest, MakesAnUntranslatedRequestOfWhatItMayNotDo) {
  AtsWorld world;
  world.Flip(world.leaf_4k, 1 << 7);
  std::string bytes = "12345678";
  const auto outcome = world.model->Access(World::Write(kVa), absl::MakeSpan(bytes));
  EXPECT_EQ(outcome.fault.id, smmu::kPermissionFault);
  EXPECT_EQ(world.EventCount(), 1u);
}

// A device asks again for what it may only read, and then may write.
TEST(SmmuDeviceTlbTest, AsksAgainForPermissionsThatItDoesNotHave) {
  AtsWorld world;
  world.Flip(world.context0, 3ull << 42);
  world.Flip(world.leaf_4k, 1 << 7 | 1ull << 51);
  EXPECT_FALSE(world.Translate(AtsWorld::Ask(kVa)).write);
  EXPECT_NE(world.Load(world.leaf_4k) & 1 << 7, 0u);
  world.Fetch(kVa);
  std::string bytes = "12345678";
  EXPECT_EQ(world.model->Access(World::Write(kVa), absl::MakeSpan(bytes)).bytes_done, 8u);
  EXPECT_EQ(world.Load(world.leaf_4k) & 1 << 7, 0u);
}

}  // namespace
}  // namespace viommu::hardware
