// What fails changes nothing: journal and backend are made to refuse at every step (R2, R5).
#include <string>
#include <thread>
#include <vector>

#include "engine/engine_fixture.h"
#include "engine/shown_usage.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

class EngineFailureTest : public EngineTest {
 protected:
  void TearDown() override { EXPECT_EQ(UsageOf(alice_), ShownUsage(*engine_, alice_)); }
};

// Fails the next effect, and only that.
void FailNext(FakeBackend& backend) {
  auto left = std::make_shared<int>(1);
  backend.SetHook([left](const std::string&) {
    if ((*left)-- <= 0) return absl::OkStatus();
    return absl::Status(Error(absl::StatusCode::kResourceExhausted, "TEST", "refused"));
  });
}

struct Verb {
  const char* name;
  std::function<absl::Status(Engine&, const CallContext&)> call;
  bool reaches_backend = true;
};

std::vector<Verb> EveryVerb() {
  const auto ref = [](const char* id) { return ObjectRef{id, std::nullopt}; };
  MapBatch map;
  map.regions = {ref("ram")};
  map.entries = {{0x100000, 0, 0x2000, 0, Permission::kRead},
                 {std::nullopt, 0, 0x1000, 0, Permission::kReadWrite}};
  UnmapBatch unmap;
  unmap.entries = {{0x5000, 0x1000}};
  CopyRequest copy;
  copy.source = ref("as");
  copy.source_iova = 0x5000;
  copy.length_bytes = 0x1000;
  return {
      {"CreateMemoryRegion",
       [](Engine& e, const CallContext& c) {
         return e.CreateMemoryRegion(c, "more", 4096, std::nullopt).status();
       }},
      {"DeleteMemoryRegion",
       [=](Engine& e, const CallContext& c) { return e.DeleteMemoryRegion(c, ref("spare"), ""); }},
      {"CreateIoas",
       [](Engine& e, const CallContext& c) { return e.CreateIoas(c, "more").status(); }},
      {"DeleteIoas",
       [=](Engine& e, const CallContext& c) { return e.DeleteIoas(c, ref("spare"), ""); }},
      {"CreateDomain",
       [=](Engine& e, const CallContext& c) {
         return e.CreateDomain(c, "more", PagingDomainRequest{ref("spare"), "dev0"}).status();
       }},
      {"CreateNestedDomain",
       [=](Engine& e, const CallContext& c) {
         return e.CreateDomain(c, "guest", NestedDomainRequest{ref("parent"), "dev0"}).status();
       }},
      {"DeleteDomain",
       [=](Engine& e, const CallContext& c) { return e.DeleteDomain(c, ref("spare"), ""); }},
      {"Map", [=](Engine& e, const CallContext& c) { return e.Map(c, ref("as"), map).status(); }},
      {"Unmap",
       [=](Engine& e, const CallContext& c) { return e.Unmap(c, ref("as"), unmap).status(); }},
      {"CopyMappings",
       [=](Engine& e, const CallContext& c) {
         return e.CopyMappings(c, ref("spare"), copy).status();
       }},
      {"Claim",
       [](Engine& e, const CallContext& c) { return e.ClaimDevice(c, "dev1", "").status(); }},
      {"Release",
       [](Engine& e, const CallContext& c) { return e.ReleaseDevice(c, "dev4", "").status(); }},
      {"Attach",
       [=](Engine& e, const CallContext& c) {
         return e.AttachDevice(c, "dev4", ref("spare")).status();
       }},
      {"Replace",
       [=](Engine& e, const CallContext& c) {
         return e.ReplaceAttachment(c, "dev0", ref("spare")).status();
       }},
      {"Detach",
       [](Engine& e, const CallContext& c) { return e.DetachDevice(c, "dev0").status(); }},
      {"AttachPasid",
       [=](Engine& e, const CallContext& c) {
         return e.AttachDevice(c, "dev5", ref("blocked"), 9).status();
       }},
      {"ReplacePasid",
       [=](Engine& e, const CallContext& c) {
         return e.ReplaceAttachment(c, "dev5", ref("for-pasids"), 7).status();
       }},
      {"DetachPasid",
       [](Engine& e, const CallContext& c) { return e.DetachDevice(c, "dev5", 7).status(); }},
      {"AttachToIoas",
       [=](Engine& e, const CallContext& c) {
         return e.AttachDevice(c, "dev4", AttachTarget::OfIoas(ref("spare"))).status();
       }},
      {"Reset", [](Engine& e, const CallContext& c) { return e.ResetDevice(c, "dev4").status(); }},
      {"AllocatePasid",
       [](Engine& e, const CallContext& c) { return e.AllocatePasid(c, "dev5", {}).status(); },
       /*reaches_backend=*/false},
      {"ReservePasid",
       [](Engine& e, const CallContext& c) {
         return e.ReservePasid(c, "dev5", 8, "mine").status();
       },
       /*reaches_backend=*/false},
      {"FreePasid", [](Engine& e, const CallContext& c) { return e.FreePasid(c, "dev5", 6); },
       /*reaches_backend=*/false},
  };
}

// A world in which every verb of EveryVerb succeeds.
class EveryVerbTest : public EngineTest {
 protected:
  void SetUp() override {
    SetUpAlice();
    ASSERT_TRUE(engine_->CreateMemoryRegion(alice_, "spare", 4096, std::nullopt).ok());
    ASSERT_TRUE(engine_->CreateIoas(alice_, "spare").ok());
    ASSERT_TRUE(engine_->CreateIoas(alice_, "other").ok());
    ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev4", "").ok());
    ASSERT_TRUE(
        engine_->CreateDomain(alice_, "spare", PagingDomainRequest{Ref("other"), "dev0"}).ok());
    PagingDomainRequest parent{Ref("other"), "dev0"};
    parent.nest_parent = true;
    ASSERT_TRUE(engine_->CreateDomain(alice_, "parent", parent).ok());
    ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0x5000, 0x1000)).ok());
    ASSERT_TRUE(engine_->AttachDevice(alice_, "dev0", Ref("d")).ok());
    ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev5", "").ok());
    PagingDomainRequest for_pasids{Ref("other"), "dev5"};
    for_pasids.pasid = true;
    ASSERT_TRUE(engine_->CreateDomain(alice_, "for-pasids", for_pasids).ok());
    ASSERT_TRUE(engine_->AttachDevice(alice_, "dev5", Ref("blocked"), 7).ok());
    ASSERT_TRUE(engine_->ReservePasid(alice_, "dev5", 6, "").ok());
  }
};

TEST_F(EveryVerbTest, ARefusalOfTheBackendChangesNothing) {
  for (const Verb& verb : EveryVerb()) {
    if (!verb.reaches_backend) continue;
    SCOPED_TRACE(verb.name);
    const std::string before = Everything();
    FailNext(backend_);
    EXPECT_EQ(Described(verb.call(*engine_, alice_)), "RESOURCE_EXHAUSTED TEST");
    EXPECT_EQ(Everything(), before);
    EXPECT_FALSE(journal_.aborted().empty());
    EXPECT_EQ(journal_.aborted().back(), journal_.records().size());
  }
}

TEST_F(EveryVerbTest, AFailedJournalChangesNothing) {
  for (const Verb& verb : EveryVerb()) {
    SCOPED_TRACE(verb.name);
    const std::string before = Everything();
    const size_t effects = backend_.log().size();
    journal_.SetAnswer(absl::DataLossError("disk gone"));
    EXPECT_EQ(Described(verb.call(*engine_, alice_)), "UNAVAILABLE JOURNAL_FAILED");
    journal_.SetAnswer(absl::OkStatus());
    EXPECT_EQ(Everything(), before);
    EXPECT_EQ(backend_.log().size(), effects) << "the backend acted on what was never durable";
  }
}

TEST_F(EveryVerbTest, ADryRunChangesNothingAndJournalsNothing) {
  for (const Verb& verb : EveryVerb()) {
    SCOPED_TRACE(verb.name);
    const std::string before = Everything();
    const size_t records = journal_.records().size();
    const size_t effects = backend_.log().size();
    CallContext dry = alice_;
    dry.validate_only = true;
    EXPECT_TRUE(verb.call(*engine_, dry).ok());
    EXPECT_EQ(Everything(), before);
    EXPECT_EQ(journal_.records().size(), records);
    EXPECT_EQ(backend_.log().size(), effects);
  }
}

// Each verb in a fresh world, because once done they exclude each other.
class OneVerbTest : public EveryVerbTest, public ::testing::WithParamInterface<size_t> {};

TEST_P(OneVerbTest, ARepeatedRequestIdGetsTheFirstAnswerAndActsOnce) {
  const Verb verb = EveryVerb()[GetParam()];
  SCOPED_TRACE(verb.name);
  if (std::string(verb.name) == "Release") {
    ASSERT_TRUE(engine_->DetachDevice(alice_, "dev4").ok());
  }
  CallContext once = alice_;
  once.request_id = verb.name;
  once.request_digest = verb.name;
  EXPECT_TRUE(verb.call(*engine_, once).ok());
  const std::string after = Everything();
  const size_t effects = backend_.log().size();
  EXPECT_TRUE(verb.call(*engine_, once).ok()) << "the repetition is answered as the first call";
  EXPECT_EQ(backend_.log().size(), effects);
  EXPECT_EQ(Everything(), after);
  once.request_digest = "another body";
  EXPECT_EQ(Described(verb.call(*engine_, once)), "INVALID_ARGUMENT REQUEST_ID_REUSED");
}

INSTANTIATE_TEST_SUITE_P(EveryVerb, OneVerbTest, ::testing::Range(size_t{0}, EveryVerb().size()));

// reliability: an object under construction can not be used, and leaves nothing when it fails.
TEST_F(EngineFailureTest, AHalfBuiltDomainCanNotBeUsedAndLeavesNothing) {
  SetUpAlice();
  const std::string before = Everything();
  journal_.Hold();
  std::thread builder([&] {
    EXPECT_EQ(
        Described(
            engine_->CreateDomain(alice_, "half", PagingDomainRequest{Ref("as"), "dev0"}).status()),
        "UNAVAILABLE JOURNAL_FAILED");
  });
  while (journal_.held() == 0) std::this_thread::yield();
  EXPECT_EQ(Described(engine_->GetDomain(alice_, Ref("half")).status()),
            "NOT_FOUND DOMAIN_NOT_FOUND");
  EXPECT_EQ(Described(engine_->AttachDevice(alice_, "dev0", Ref("half")).status()),
            "NOT_FOUND DOMAIN_NOT_FOUND");
  EXPECT_EQ(Described(engine_->DeleteDomain(alice_, Ref("half"), "")),
            "NOT_FOUND DOMAIN_NOT_FOUND");
  journal_.SetAnswer(absl::DataLossError("disk gone"));
  journal_.Release();
  builder.join();
  journal_.SetAnswer(absl::OkStatus());
  EXPECT_EQ(Everything(), before);
  EXPECT_TRUE(engine_->CreateDomain(alice_, "half", PagingDomainRequest{Ref("as"), "dev0"}).ok());
}

// One tenant's calls never wait in the lanes of another's device.
TEST_F(EngineFailureTest, AForeignDeviceIsRefusedWithoutWaiting) {
  SetUpAlice();
  ASSERT_TRUE(engine_->CreateIoas(bob_, "as").ok());
  journal_.Hold();
  std::thread busy([&] { EXPECT_TRUE(engine_->DetachDevice(alice_, "dev0").ok()); });
  std::thread busy_too(
      [&] { EXPECT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0x1000, 0x1000)).ok()); });
  while (journal_.held() == 0) std::this_thread::yield();
  EXPECT_EQ(
      Described(engine_->CreateDomain(bob_, "d", PagingDomainRequest{Ref("as"), "dev0"}).status()),
      "FAILED_PRECONDITION DEVICE_NOT_CLAIMED");
  EXPECT_EQ(Described(engine_->AttachDevice(bob_, "dev0", Ref("blocked")).status()),
            "FAILED_PRECONDITION DEVICE_NOT_CLAIMED");
  EXPECT_EQ(Described(engine_->DetachDevice(bob_, "dev0").status()),
            "FAILED_PRECONDITION DEVICE_NOT_CLAIMED");
  journal_.Release();
  busy.join();
  busy_too.join();
}

TEST_F(EngineFailureTest, NothingIsAppliedBeforeItIsDurable) {
  SetUpAlice();
  journal_.Hold();
  const size_t effects = backend_.log().size();
  std::thread caller(
      [&] { EXPECT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0x1000, 0x1000)).ok()); });
  while (journal_.held() == 0) std::this_thread::yield();
  EXPECT_EQ(backend_.log().size(), effects);
  // Readers do not wait, and do not see what may still be taken back.
  EXPECT_EQ(Described(engine_->Translate(alice_, Ref("as"), 0x1000).status()),
            "NOT_FOUND IOVA_NOT_COVERED");
  journal_.Release();
  caller.join();
  EXPECT_TRUE(engine_->Translate(alice_, Ref("as"), 0x1000).ok());
}

TEST_F(EngineFailureTest, ARevokedAreaIsShownUntilItsUnmapIsFinal) {
  SetUpAlice();
  ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0x1000, 0x1000)).ok());
  journal_.Hold();
  std::thread caller(
      [&] { EXPECT_TRUE(engine_->Unmap(alice_, Ref("as"), OneUnmap(0x1000, 0x1000)).ok()); });
  while (journal_.held() == 0) std::this_thread::yield();
  EXPECT_TRUE(engine_->Translate(alice_, Ref("as"), 0x1000).ok());
  EXPECT_EQ(engine_->ListMappings(alice_, Ref("as"), {0, kMaxAddress}, {})->items.size(), 1u);
  EXPECT_EQ(Described(engine_->DeleteMemoryRegion(alice_, Ref("ram"), "")),
            "FAILED_PRECONDITION IN_USE");
  journal_.Release();
  caller.join();
  EXPECT_FALSE(engine_->Translate(alice_, Ref("as"), 0x1000).ok());
  EXPECT_TRUE(engine_->DeleteMemoryRegion(alice_, Ref("ram"), "").ok());
}

TEST_F(EngineFailureTest, WhatWasPlannedOnAFailedUnmapIsPlannedAgain) {
  SetUpAlice();
  ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0x1000, 0x1000)).ok());
  journal_.Hold();
  std::thread unmap([&] {
    EXPECT_EQ(Described(engine_->Unmap(alice_, Ref("as"), OneUnmap(0x1000, 0x1000)).status()),
              "RESOURCE_EXHAUSTED TEST");
  });
  while (journal_.held() != 1) std::this_thread::yield();
  // Planned where the unmap makes room; stands on it.
  std::thread map([&] {
    EXPECT_EQ(Described(engine_->Map(alice_, Ref("as"), OneMap(0x1000, 0x1000, 0x4000)).status()),
              "ALREADY_EXISTS IOVA_OCCUPIED");
  });
  while (journal_.held() != 2) std::this_thread::yield();
  std::thread elsewhere(
      [&] { EXPECT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0x8000, 0x1000)).ok()); });
  while (journal_.held() != 3) std::this_thread::yield();
  FailNext(backend_);
  journal_.Release();
  unmap.join();
  map.join();
  elsewhere.join();
  EXPECT_EQ(engine_->Translate(alice_, Ref("as"), 0x1000)->offset_bytes, 0u);
  EXPECT_EQ(engine_->GetIoas(alice_, Ref("as"))->mapping_count, 2u);
  EXPECT_EQ(engine_->GetMemoryRegion(alice_, Ref("ram"))->mapping_count, 2u) << "held once each";
  EXPECT_EQ(UsageOf(alice_), ShownUsage(*engine_, alice_));
  // The three that were planned on the failure are aborted; the last one came back under a new
  // ticket.
  EXPECT_EQ(journal_.aborted().size(), 3u);
}

TEST_F(EngineFailureTest, ADeadlineThatHasPassedChangesNothing) {
  SetUpAlice();
  const std::string before = Everything();
  CallContext late = alice_;
  late.deadline = absl::Now() - absl::Seconds(1);
  EXPECT_EQ(Described(engine_->Map(late, Ref("as"), OneMap(0x1000, 0x1000)).status()),
            "DEADLINE_EXCEEDED DEADLINE_EXCEEDED");
  EXPECT_EQ(Everything(), before);
}

TEST_F(EngineFailureTest, ADeadlineThatPassesInTheQueueChangesNothing) {
  SetUpAlice();
  journal_.Hold();
  std::thread first([&] {
    EXPECT_TRUE(engine_->CreateDomain(alice_, "d2", PagingDomainRequest{Ref("as"), "dev0"}).ok());
  });
  while (journal_.held() == 0) std::this_thread::yield();
  CallContext hurried = alice_;
  hurried.deadline = absl::Now() + absl::Milliseconds(20);
  EXPECT_EQ(Described(engine_->Map(hurried, Ref("as"), OneMap(0x1000, 0x1000)).status()),
            "DEADLINE_EXCEEDED DEADLINE_EXCEEDED");
  journal_.Release();
  first.join();
  EXPECT_EQ(engine_->GetIoas(alice_, Ref("as"))->mapping_count, 0u);
}

}  // namespace
}  // namespace viommu
