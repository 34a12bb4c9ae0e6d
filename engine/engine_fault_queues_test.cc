// Fault queues as objects: what makes one, what refers to it, what keeps it.
#include <string>

#include "engine/engine_faults_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

class EngineFaultQueuesTest : public FaultsTest {
 protected:
  std::string Create(const std::string& id, uint32_t depth) {
    return DescribedInFull(engine_->CreateFaultQueue(alice_, id, depth).status());
  }
  std::string Delete(const std::string& id, const std::string& etag = "") {
    return Described(engine_->DeleteFaultQueue(alice_, Ref(id), etag));
  }
};

TEST_F(EngineFaultQueuesTest, MakesShowsAndRemovesOne) {
  const auto made = engine_->CreateFaultQueue(alice_, "new", 0);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->depth, kDefaultFaultQueueDepth);
  EXPECT_EQ(made->object.owner, "alice");
  EXPECT_EQ(engine_->GetFaultQueue(alice_, Ref("new"))->object.uid, made->object.uid);
  const auto all = engine_->ListFaultQueues(alice_, {});
  ASSERT_EQ(all->items.size(), 2u);
  EXPECT_EQ(all->items[0].object.id, "new");
  EXPECT_TRUE(engine_->ListFaultQueues(bob_, {})->items.empty());
  EXPECT_EQ(Described(engine_->GetFaultQueue(bob_, Ref("new")).status()),
            "NOT_FOUND FAULT_QUEUE_NOT_FOUND");
  EXPECT_EQ(Delete("new", "stale"), "ABORTED ETAG_MISMATCH");
  EXPECT_EQ(Delete("new", made->object.etag), "OK");
  EXPECT_EQ(Delete("new"), "NOT_FOUND FAULT_QUEUE_NOT_FOUND");
  EXPECT_EQ(engine_->Stats().objects[3], (std::pair<std::string, uint64_t>{"fault_queue", 1}));
}

TEST_F(EngineFaultQueuesTest, RefusesToMakeOne) {
  ExpectRefused("INVALID_ARGUMENT INVALID_DEPTH fault_queue.depth",
                [&] { return Create("new", kMaxFaultQueueDepth + 1); });
  ExpectRefused("ALREADY_EXISTS FAULT_QUEUE_EXISTS", [&] { return Create("q", 1); });
  EXPECT_EQ(Create("new", kMaxFaultQueueDepth), "OK");
}

TEST_F(EngineFaultQueuesTest, IsKeptByTheDomainsThatUseIt) {
  EXPECT_EQ(engine_->GetFaultQueue(alice_, Ref("q"))->domains,
            (std::vector<std::string>{"domains/f", "domains/g"}));
  EXPECT_EQ(engine_->GetDomain(alice_, Ref("f"))->fault_queue, "faultQueues/q");
  EXPECT_EQ(engine_->GetDomain(alice_, Ref("p"))->fault_queue, "");
  const absl::Status refused = engine_->DeleteFaultQueue(alice_, Ref("q"), "");
  EXPECT_EQ(Described(refused), "FAILED_PRECONDITION IN_USE");
  EXPECT_EQ(DetailOf(refused)->violations, (std::vector<std::string>{"domains/f", "domains/g"}));
  const std::string etag = engine_->GetFaultQueue(alice_, Ref("q"))->object.etag;
  ASSERT_TRUE(engine_->DeleteDomain(alice_, Ref("f"), "").ok());
  EXPECT_NE(engine_->GetFaultQueue(alice_, Ref("q"))->object.etag, etag);
  ExpectRefused("FAILED_PRECONDITION IN_USE", [&] { return Delete("q"); });
  ASSERT_TRUE(engine_->DeleteDomain(alice_, Ref("g"), "").ok());
  EXPECT_EQ(Delete("q"), "OK");
}

TEST_F(EngineFaultQueuesTest, IsKeptByAStreamOfItsFaults) {
  ASSERT_EQ(Create("new", 1), "OK");
  {
    const auto stream = engine_->OpenFaultStream(alice_, Ref("new"));
    ASSERT_TRUE(stream.ok());
    EXPECT_TRUE(engine_->GetFaultQueue(alice_, Ref("new"))->streamed);
    EXPECT_EQ(Delete("new"), "FAILED_PRECONDITION IN_USE");
    EXPECT_TRUE(engine_->GetFaultQueue(alice_, Ref("new")).ok()) << "it is there as before";
  }
  EXPECT_EQ(Delete("new"), "OK");
}

TEST_F(EngineFaultQueuesTest, IsChargedWithItsDepth) {
  EXPECT_NE(UsageOf(alice_).find("alice max_fault_queues 1\nalice max_fault_groups 4\n"),
            std::string::npos)
      << UsageOf(alice_);
}

TEST_F(EngineFaultQueuesTest, IsInTheJournalWithItsDomains) {
  ASSERT_EQ(Create("new", 7), "OK");
  const auto made = std::get<record::CreateFaultQueue>(journal_.records().back().operation);
  EXPECT_EQ(made.id, "new");
  EXPECT_EQ(made.depth, 7u);
  ASSERT_EQ(Make("h", "new"), "OK");
  EXPECT_EQ(std::get<record::CreateDomain>(journal_.records().back().operation).fault_queue,
            made.uid);
}

TEST_F(EngineFaultQueuesTest, RefusesDomains) {
  const auto make = [&](const std::string& device, const std::string& queue, bool nest_parent) {
    PagingDomainRequest request{Ref("as"), device};
    request.nest_parent = nest_parent;
    request.fault_queue = Ref(queue);
    return DescribedInFull(engine_->CreateDomain(alice_, "new", request).status());
  };
  ExpectRefused("NOT_FOUND FAULT_QUEUE_NOT_FOUND", [&] { return make("dev0", "none", false); });
  ExpectRefused("UNIMPLEMENTED FAULT_QUEUE_ON_NEST_PARENT domain.paging.fault_queue",
                [&] { return make("dev0", "q", true); });
  ExpectRefused("UNIMPLEMENTED FAULT_QUEUE_UNAVAILABLE domain.paging.fault_queue",
                [&] { return make("dev2", "q", false); });
}

TEST_F(EngineFaultQueuesTest, RefusesAnotherOwnersQueue) {
  ASSERT_TRUE(engine_->CreateFaultQueue(bob_, "b", 1).ok());
  PagingDomainRequest request{ObjectRef{"as", "alice"}, "dev0"};
  request.fault_queue = ObjectRef{"b", "bob"};
  EXPECT_EQ(DescribedInFull(engine_->CreateDomain(operator_, "new", request).status()),
            "FAILED_PRECONDITION FAULT_QUEUE_OWNER domain.paging.fault_queue");
  request.fault_queue = ObjectRef{"q", "alice"};
  EXPECT_TRUE(engine_->CreateDomain(operator_, "new", request).ok());
}

TEST_F(EngineFaultQueuesTest, TakesTheFaultsOfNestedDomains) {
  PagingDomainRequest parent{Ref("as"), "dev0"};
  parent.nest_parent = true;
  ASSERT_TRUE(engine_->CreateDomain(alice_, "parent", parent).ok());
  NestedDomainRequest nested{Ref("parent"), "dev0"};
  nested.fault_queue = Ref("none");
  EXPECT_EQ(Described(engine_->CreateDomain(alice_, "n", nested).status()),
            "NOT_FOUND FAULT_QUEUE_NOT_FOUND");
  nested.fault_queue = Ref("q");
  nested.device = "dev2";
  EXPECT_EQ(DescribedInFull(engine_->CreateDomain(alice_, "n", nested).status()),
            "UNIMPLEMENTED FAULT_QUEUE_UNAVAILABLE domain.nested.fault_queue");
  nested.device = "dev0";
  ASSERT_TRUE(engine_->CreateDomain(alice_, "n", nested).ok());
  EXPECT_EQ(engine_->GetDomain(alice_, Ref("n"))->fault_queue, "faultQueues/q");
  EXPECT_NE(std::get<record::CreateNestedDomain>(journal_.records().back().operation).fault_queue,
            0u);
  ASSERT_EQ(Attach("dev0", "n"), "OK");
  ASSERT_EQ(Raise("dev0", 7, 0x1000), "OK");
  EXPECT_EQ(Waiting(), "1/1 devices/dev0 domains/n group 7: 0x1000\n");
  ASSERT_EQ(Detach("dev0"), "OK");
  EXPECT_EQ(Told("dev0"), "7 INVALID, ");
  ASSERT_TRUE(engine_->DeleteDomain(alice_, Ref("n"), "").ok());
  EXPECT_EQ(engine_->GetFaultQueue(alice_, Ref("q"))->domains.size(), 2u);
}

TEST_F(EngineFaultQueuesTest, RefusesToAttachDevicesWithoutPageRequests) {
  ExpectRefused("FAILED_PRECONDITION PAGE_REQUESTS_UNAVAILABLE",
                [&] { return Attach("dev1", "f"); });
  ExpectRefused("FAILED_PRECONDITION PAGE_REQUESTS_UNAVAILABLE",
                [&] { return Attach("dev2", "f", 5); });
  ASSERT_EQ(Attach("dev1", "p"), "OK");
  ExpectRefused("FAILED_PRECONDITION PAGE_REQUESTS_UNAVAILABLE",
                [&] { return Replace("dev1", "f"); });
  EXPECT_EQ(Attach("dev6", "f"), "OK");
  EXPECT_EQ(Attach("dev7", "f"), "OK");
}

TEST_F(EngineFaultQueuesTest, RefusesToAttachVirtualFunctions) {
  ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev8", "").ok());
  ExpectRefused("FAILED_PRECONDITION VIRTUAL_FUNCTION", [&] { return Attach("dev8", "f"); });
  ExpectRefused("FAILED_PRECONDITION VIRTUAL_FUNCTION", [&] { return Attach("dev8", "f", 5); });
  ASSERT_EQ(Attach("dev8", "p"), "OK");
  const absl::Status refused = engine_->ReplaceAttachment(alice_, "dev8", Ref("f")).status();
  EXPECT_EQ(DetailOf(refused)->errno_name, "EINVAL");
  ExpectRefused("FAILED_PRECONDITION VIRTUAL_FUNCTION", [&] { return Replace("dev8", "f"); });
}

TEST_F(EngineFaultQueuesTest, LeavesNothingBehindWhereADomainFails) {
  faulting_.SetHook(RefuseNth("CreateDomain", 1));
  ExpectRefused("RESOURCE_EXHAUSTED TEST", [&] { return Make("new", "q"); });
  EXPECT_EQ(engine_->GetFaultQueue(alice_, Ref("q"))->domains.size(), 2u);
}

TEST_F(EngineFaultQueuesTest, IsWatched) {
  WatchOptions options;
  options.kinds = {WatchKind::kFaultQueue};
  const auto watch = engine_->OpenWatch(alice_, options);
  ASSERT_TRUE(watch.ok()) << watch.status();
  WatchEvent event;
  const auto next = [&] {
    const auto is_event = (*watch)->Next(absl::Seconds(10), &event);
    return is_event.ok() && *is_event;
  };
  ASSERT_TRUE(next());
  EXPECT_EQ(event.type, WatchEvent::Type::kSnapshot);
  EXPECT_EQ(std::get<FaultQueueView>(event.body).object.id, "q");
  ASSERT_TRUE(next());
  EXPECT_EQ(event.type, WatchEvent::Type::kSync);
  ASSERT_EQ(Create("new", 1), "OK");
  ASSERT_TRUE(next());
  EXPECT_EQ(event.type, WatchEvent::Type::kAdded);
  EXPECT_EQ(std::get<FaultQueueView>(event.body).depth, 1u);
  ASSERT_EQ(Make("h", "new"), "OK");
  ASSERT_TRUE(next());
  EXPECT_EQ(event.type, WatchEvent::Type::kModified);
  EXPECT_EQ(std::get<FaultQueueView>(event.body).domains, std::vector<std::string>{"domains/h"});
  ASSERT_TRUE(engine_->DeleteDomain(alice_, Ref("h"), "").ok());
  ASSERT_TRUE(next());
  ASSERT_EQ(Delete("new"), "OK");
  ASSERT_TRUE(next());
  EXPECT_EQ(event.type, WatchEvent::Type::kDeleted);
  EXPECT_EQ(std::get<DeletedObject>(event.body).kind, WatchKind::kFaultQueue);
}

class EngineFaultLimitsTest : public FaultsTest {
 protected:
  static OwnerLimits Small() {
    OwnerLimits limits;
    limits.max_fault_queues = 2;
    limits.max_fault_groups = 10;
    return limits;
  }
  EngineFaultLimitsTest() : FaultsTest(Small()) {}
};

TEST_F(EngineFaultLimitsTest, RefusesToPassThem) {
  const auto create = [&](const std::string& id, uint32_t depth) {
    return Described(engine_->CreateFaultQueue(alice_, id, depth).status());
  };
  ExpectRefused("RESOURCE_EXHAUSTED FAULT_GROUP_LIMIT", [&] { return create("new", 7); });
  EXPECT_EQ(create("new", 6), "OK");
  ExpectRefused("RESOURCE_EXHAUSTED OBJECT_LIMIT", [&] { return create("third", 1); });
  EXPECT_TRUE(engine_->CreateFaultQueue(bob_, "third", 10).ok());
}

}  // namespace
}  // namespace viommu
