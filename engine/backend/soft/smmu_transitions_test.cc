// Every ordered pair of places, guests' among them, with PASIDs in use and without: after each
// store of a change the hardware sees the old place, the new one or nothing, and never anything but
// the first two where that was promised.

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/backend/soft/smmu_unit.h"
#include "engine/backend/soft/smmu_world.h"
#include "engine/entries/smmu_ste.h"
#include "engine/pagetable/store.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint32_t kPasid = 0x401;

class SmmuTransitionsTest : public SmmuWorld {
 protected:
  struct Place {
    const char* name;
    UnitTranslation translation;
    std::string reads;
  };

  std::vector<Place> Places() {
    std::vector<Place> places;
    const auto add = [&](const char* name, const UnitTranslation& translation, const char* reads) {
      places.push_back({name, translation, reads});
    };
    add("blocked", {}, "blocked");
    UnitTranslation identity;
    identity.kind = TranslationKind::kIdentity;
    add("identity", identity, "0x1d");
    add("first stage", first_.translation, "0xf1");
    add("another first stage", other_first_.translation, "0xf2");
    add("second stage", second_.translation, "0x51");
    add("another second stage", other_second_.translation, "0x52");
    return places;
  }

  // Two guests on one second stage and another on the other, and what asks for no stage.
  std::vector<Place> GuestPlaces() {
    std::vector<Place> places;
    const auto add = [&](const char* name, const Domain& parent, const ArmSmmuV3Stage1& entry,
                         const char* reads) {
      places.push_back({name, OnParent(parent, entry), reads});
    };
    MapTableMemory(&second_);
    MapTableMemory(&other_second_);
    for (Domain* const guest : {&guest_, &other_guest_, &far_guest_}) {
      entries_.push_back(GuestEntry(guest->table, NewWord(0)));
    }
    add("a guest", second_, entries_[0], "0xa1");
    add("another guest", second_, entries_[1], "0xa2");
    add("a guest elsewhere", other_second_, entries_[2], "0xa3");
    const uint64_t bypass = smmu::kSteConfig.Put(static_cast<uint64_t>(smmu::SteConfig::kBypass));
    add("a guest's bypass", second_, {{smmu::kSteValid | bypass, 0}}, "0x51");
    add("a guest's abort", second_, {{smmu::kSteValid, 0}}, "blocked");
    return places;
  }

  // Goes from one place to another and looks, warm and cold, after every store.
  void Go(uint32_t stream, uint32_t pasid, const Place& from, const Place& to) {
    SCOPED_TRACE(std::string(from.name) + " to " + to.name);
    const std::optional<uint32_t> requests =
        pasid == kRidPasid ? kRid : std::optional<uint32_t>(pasid);
    const std::optional<uint32_t> others =
        pasid == kRidPasid ? std::optional<uint32_t>(kPasid) : kRid;
    ASSERT_TRUE(Set(stream, pasid, from.translation).ok());
    ASSERT_EQ(Read(stream, requests), from.reads);
    const std::string other_reads = Read(stream, others);
    const Transition planned = unit_->PlanChange(stream, pasid, to.translation);
    EXPECT_EQ(planned.reason.empty(), planned.hitless);
    std::set<std::string> seen;
    int stores = 0;
    const StoreObserver look = [&](const uint64_t*, size_t) {
      ++stores;
      seen.insert(ReadCold(stream, requests));
      seen.insert(Read(stream, requests));
      EXPECT_EQ(ReadCold(stream, others), other_reads);
      EXPECT_EQ(Read(stream, others), other_reads);
    };
    ASSERT_TRUE(unit_->SetEntry(ObservedStore(&look), stream, pasid, to.translation).ok());
    EXPECT_EQ(Read(stream, requests), to.reads);
    EXPECT_EQ(Read(stream, others), other_reads);
    if (from.reads != to.reads) {
      EXPECT_GT(stores, 0);
    }
    const bool between =
        seen.count("blocked") > 0 && from.reads != "blocked" && to.reads != "blocked";
    EXPECT_EQ(planned.hitless, !between);
    seen.erase("blocked");
    seen.erase(from.reads);
    seen.erase(to.reads);
    EXPECT_TRUE(seen.empty()) << *seen.begin();
  }

  Domain first_ = FirstStage(0xf1);
  Domain other_first_ = FirstStage(0xf2);
  Domain second_ = SecondStage(0x51);
  Domain other_second_ = SecondStage(0x52);
  Domain of_pasid_ = FirstStage(0xfa);
  // Their tables are their guests'.
  Domain guest_ = FirstStage(0xa1);
  Domain other_guest_ = FirstStage(0xa2);
  Domain far_guest_ = FirstStage(0xa3);
  std::vector<ArmSmmuV3Stage1> entries_;
};

bool HasSecondStage(const UnitTranslation& translation) {
  return translation.kind == TranslationKind::kSecondStage;
}

TEST_F(SmmuTransitionsTest, RequestsWithoutPasid) {
  for (const uint32_t stream : {kPlain, kNarrow, kCaching, kBare}) {
    SCOPED_TRACE(stream);
    for (const Place& from : Places()) {
      for (const Place& to : Places()) Go(stream, kRidPasid, from, to);
    }
  }
}

TEST_F(SmmuTransitionsTest, RequestsOfGuests) {
  std::vector<Place> places = GuestPlaces();
  const size_t guests = places.size();
  for (const Place& place : Places()) places.push_back(place);
  for (const uint32_t stream : {kPlain, kCaching, kBare}) {
    SCOPED_TRACE(stream);
    for (size_t from = 0; from < places.size(); ++from) {
      for (size_t to = 0; to < places.size(); ++to) {
        if (from < guests || to < guests) Go(stream, kRidPasid, places[from], places[to]);
      }
    }
  }
}

// A guest that starts, stops and changes how it translates is never blocked on the way while its
// second stage stays (iommufd-semantics.md 17.6).
TEST_F(SmmuTransitionsTest, AGuestTurnsItsStageOnAndOffWithoutAGap) {
  const std::vector<Place> places = GuestPlaces();
  const Place& guest = places[0];
  const Place& elsewhere = places[2];
  const Place& bypass = places[3];
  const Place& abort = places[4];
  const auto is_hitless = [&](const Place& from, const Place& to) {
    EXPECT_TRUE(Set(kPlain, kRidPasid, from.translation).ok());
    return unit_->PlanChange(kPlain, kRidPasid, to.translation).hitless;
  };
  EXPECT_TRUE(is_hitless(guest, bypass));
  EXPECT_TRUE(is_hitless(bypass, guest));
  EXPECT_TRUE(is_hitless(guest, abort));
  EXPECT_TRUE(is_hitless(abort, guest));
  EXPECT_FALSE(is_hitless(guest, elsewhere));
}

TEST_F(SmmuTransitionsTest, RequestsWithoutPasidBesideOthers) {
  for (const uint32_t stream : {kPlain, kCaching}) {
    SCOPED_TRACE(stream);
    ASSERT_TRUE(Set(stream, kPasid, of_pasid_.translation).ok());
    for (const Place& from : Places()) {
      for (const Place& to : Places()) {
        if (HasSecondStage(from.translation) || HasSecondStage(to.translation)) continue;
        Go(stream, kRidPasid, from, to);
      }
    }
  }
}

TEST_F(SmmuTransitionsTest, RequestsWithPasid) {
  for (const uint32_t stream : {kPlain, kCaching}) {
    SCOPED_TRACE(stream);
    for (const Place& rid : Places()) {
      if (HasSecondStage(rid.translation)) continue;
      ASSERT_TRUE(Set(stream, kRidPasid, rid.translation).ok());
      for (const Place& from : Places()) {
        for (const Place& to : Places()) {
          const auto fits = [](const Place& place) {
            return place.translation.kind == TranslationKind::kBlocked ||
                   IsFirstStage(place.translation.kind);
          };
          if (fits(from) && fits(to)) Go(stream, kPasid, from, to);
        }
      }
      ASSERT_TRUE(Set(stream, kPasid, {}).ok());
    }
  }
}

// What a replacement of domains costs on this hardware: a descriptor changes in its table and its
// ASID, an entry in its stage and its VMID, which a first stage has too
// (iommufd-semantics.md 17.4).
TEST_F(SmmuTransitionsTest, OnlyFromOneDomainToAnotherIsThereAGap) {
  for (const Place& from : Places()) {
    for (const Place& to : Places()) {
      SCOPED_TRACE(std::string(from.name) + " to " + to.name);
      ASSERT_TRUE(Set(kPlain, kRidPasid, from.translation).ok());
      const bool gap = from.reads != to.reads && from.translation.properties != nullptr &&
                       to.translation.properties != nullptr;
      EXPECT_EQ(unit_->PlanChange(kPlain, kRidPasid, to.translation).hitless, !gap);
    }
  }
}

}  // namespace
}  // namespace viommu
