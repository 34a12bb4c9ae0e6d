// Owners: to everybody else, what somebody owns is not there; operators may address it.
#include <functional>
#include <string>
#include <vector>

#include "engine/engine_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

struct Call {
  const char* name;
  std::function<absl::Status(Engine&, const CallContext&, const std::optional<std::string>& owner)>
      make;
};

// Every method that names an object, naming alice's. Those that change something come last, in an
// order in which all can succeed.
std::vector<Call> EveryCall() {
  using O = std::optional<std::string>;
  using E = Engine;
  using C = CallContext;
  const auto copy = [](const O& owner) {
    return CopyRequest{{"as", owner}, 0x1000, 0x1000, std::nullopt, Permission::kRead};
  };
  const auto map = [](const O& owner) {
    MapBatch batch;
    batch.regions = {{"ram", owner}};
    batch.entries = {{0x9000, 0, 0x1000, 0, Permission::kRead}};
    return batch;
  };
  UnmapBatch all;
  all.all = true;
  return {
      {"GetMemoryRegion",
       [](E& e, const C& c, const O& o) {
         return e.GetMemoryRegion(c, {"ram", o}).status();
       }},
      {"GetIoas",
       [](E& e, const C& c, const O& o) {
         return e.GetIoas(c, {"as", o}).status();
       }},
      {"GetDomain",
       [](E& e, const C& c, const O& o) {
         return e.GetDomain(c, {"d", o}).status();
       }},
      {"ListMappings",
       [](E& e, const C& c, const O& o) {
         return e.ListMappings(c, {"as", o}, {0, kMaxAddress}, {}).status();
       }},
      {"Translate",
       [](E& e, const C& c, const O& o) {
         return e.Translate(c, {"as", o}, 0x1000).status();
       }},
      {"ListIovaRanges",
       [](E& e, const C& c, const O& o) {
         return e.ListIovaRanges(c, {"as", o}).status();
       }},
      {"OpenMappingStream",
       [](E& e, const C& c, const O& o) {
         return e.OpenMappingStream(c, {{"as", o}, OnError::kStop}).status();
       }},
      {"Map",
       [=](E& e, const C& c, const O& o) {
         return e.Map(c, {"as", o}, map(o)).status();
       }},
      {"CopyMappings",
       [=](E& e, const C& c, const O& o) {
         return e.CopyMappings(c, {"as", o}, copy(o)).status();
       }},
      {"SetAllowedIovaRanges",
       [](E& e, const C& c, const O& o) {
         return e.SetAllowedIovaRanges(c, {"as", o}, {{0, 0xffff}}, "").status();
       }},
      {"CreateDomain",
       [](E& e, const C& c, const O& o) {
         return e.CreateDomain(c, "x", PagingDomainRequest{{"as", o}, "dev0"}).status();
       }},
      {"DeleteDomain",
       [](E& e, const C& c, const O& o) {
         return e.DeleteDomain(c, {"d", o}, "");
       }},
      {"Unmap",
       [=](E& e, const C& c, const O& o) {
         return e.Unmap(c, {"as", o}, all).status();
       }},
      {"DeleteMemoryRegion",
       [](E& e, const C& c, const O& o) {
         return e.DeleteMemoryRegion(c, {"ram", o}, "");
       }},
      {"DeleteIoas",
       [](E& e, const C& c, const O& o) {
         return e.DeleteIoas(c, {"spare", o}, "");
       }},
  };
}

class EngineOwnersTest : public EngineTest {
 protected:
  void SetUpAlicesWorld() {
    SetUpAlice();
    ASSERT_TRUE(engine_->CreateIoas(alice_, "spare").ok());
    ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0x1000, 0x1000)).ok());
  }
};

TEST_F(EngineOwnersTest, WhatSomebodyElseOwnsIsExactlyAsMissing) {
  std::vector<absl::Status> missing;
  for (const Call& call : EveryCall()) {
    missing.push_back(call.make(*engine_, bob_, std::nullopt));
    EXPECT_EQ(missing.back().code(), absl::StatusCode::kNotFound) << call.name;
  }
  SetUpAlicesWorld();
  const std::string before = Everything();
  size_t i = 0;
  for (const Call& call : EveryCall()) {
    EXPECT_EQ(call.make(*engine_, bob_, std::nullopt), missing[i++]) << call.name;
  }
  EXPECT_EQ(Everything(), before);
}

// The parts of a request that are not its main object.
TEST_F(EngineOwnersTest, WhatSomebodyElseOwnsCanNotBeUsedEither) {
  SetUpAlicesWorld();
  ASSERT_TRUE(engine_->CreateIoas(bob_, "bobs").ok());
  ASSERT_TRUE(engine_->ClaimDevice(bob_, "dev1", "").ok());
  const CopyRequest copy{Ref("as"), 0x1000, 0x1000, std::nullopt, Permission::kRead};
  EXPECT_EQ(Described(engine_->Map(bob_, Ref("bobs"), OneMap(0x1000, 0x1000)).status()),
            "NOT_FOUND MEMORY_REGION_NOT_FOUND");
  EXPECT_EQ(Described(engine_->CopyMappings(bob_, Ref("bobs"), copy).status()),
            "NOT_FOUND IOAS_NOT_FOUND");
  EXPECT_EQ(Described(engine_->AttachDevice(bob_, "dev1", Ref("d")).status()),
            "NOT_FOUND DOMAIN_NOT_FOUND");
  EXPECT_EQ(
      Described(
          engine_->CreateDomain(bob_, "x", PagingDomainRequest{Ref("bobs"), "dev0"}).status()),
      "FAILED_PRECONDITION DEVICE_NOT_CLAIMED");
}

TEST_F(EngineOwnersTest, OnlyAnOperatorMayAddressAnotherOwner) {
  SetUpAlicesWorld();
  const std::string before = Everything();
  for (const Call& call : EveryCall()) {
    EXPECT_EQ(Described(call.make(*engine_, bob_, "alice")), "PERMISSION_DENIED NOT_OPERATOR")
        << call.name;
    EXPECT_EQ(Described(call.make(*engine_, bob_, "nobody")), "PERMISSION_DENIED NOT_OPERATOR")
        << call.name;
  }
  EXPECT_EQ(Everything(), before);
  for (const Call& call : EveryCall()) {
    EXPECT_EQ(Described(call.make(*engine_, operator_, "alice")), "OK") << call.name;
  }
}

TEST_F(EngineOwnersTest, AnybodyMayAddressThemselvesAsOwner) {
  SetUpAlicesWorld();
  for (const Call& call : EveryCall()) {
    EXPECT_EQ(Described(call.make(*engine_, alice_, "alice")), "OK") << call.name;
  }
}

TEST_F(EngineOwnersTest, NamesAreWrittenAsTheReaderWouldWriteThem) {
  SetUpAlicesWorld();
  EXPECT_EQ(engine_->GetDomain(alice_, Ref("d"))->ioas, "ioas/as");
  EXPECT_EQ(engine_->GetDomain(operator_, {"d", "alice"})->ioas, "owners/alice/ioas/as");
  EXPECT_EQ(engine_->Translate(operator_, {"as", "alice"}, 0x1000)->mapping.memory_region,
            "owners/alice/memoryRegions/ram");
  EXPECT_EQ(engine_->GetIoas(operator_, {"as", "alice"})->domains,
            std::vector<std::string>{"owners/alice/domains/d"});
}

TEST_F(EngineOwnersTest, WhoHoldsADeviceIsToldToTheHolderAndOperatorsOnly) {
  SetUpAlicesWorld();
  ASSERT_TRUE(engine_->AttachDevice(alice_, "dev0", Ref("d")).ok());
  const struct {
    const CallContext& reader;
    const char* claimed_by;
    const char* domain;
    size_t attachments;
  } kCases[] = {{alice_, "alice", "domains/d", 1},
                {bob_, "", "", 0},
                {operator_, "alice", "owners/alice/domains/d", 1}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.reader.principal);
    const auto device = engine_->GetDevice(c.reader, "dev0");
    EXPECT_EQ(device->ownership, DeviceOwnership::kClaimed);
    EXPECT_EQ(device->claimed_by, c.claimed_by);
    EXPECT_EQ(device->domain, c.domain);
    EXPECT_EQ(engine_->ListAttachments(c.reader, "", {})->items.size(), c.attachments);
    EXPECT_EQ(engine_->ListAttachments(c.reader, "dev0", {})->items.size(), c.attachments);
  }
}

}  // namespace
}  // namespace viommu
