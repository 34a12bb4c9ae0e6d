#include "engine/model/object.h"

#include "gtest/gtest.h"

namespace viommu {
namespace {

TEST(ObjectTest, NamesItselfShortToItsOwnerAndFullToOthers) {
  const struct {
    ObjectKind kind;
    const char* to_owner;
    const char* to_others;
    const char* reason;
  } kCases[] = {
      {ObjectKind::kMemoryRegion, "memoryRegions/x", "owners/alice/memoryRegions/x",
       "MEMORY_REGION"},
      {ObjectKind::kIoas, "ioas/x", "owners/alice/ioas/x", "IOAS"},
      {ObjectKind::kDomain, "domains/x", "owners/alice/domains/x", "DOMAIN"},
      {ObjectKind::kFaultQueue, "faultQueues/x", "owners/alice/faultQueues/x", "FAULT_QUEUE"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.to_owner);
    const Object object(c.kind, "alice", "x", 7);
    EXPECT_EQ(object.NameFor("alice"), c.to_owner);
    EXPECT_EQ(object.NameFor("bob"), c.to_others);
    EXPECT_EQ(ReasonPrefix(c.kind), c.reason);
  }
}

TEST(ObjectTest, CountsReferencesByHolder) {
  Object object(ObjectKind::kMemoryRegion, "alice", "x", 7);
  object.AddReferences(1, 3);
  object.AddReferences(2, 1);
  object.AddReferences(1, 1);
  EXPECT_EQ(object.referrers().at(1), 4u);
  object.DropReferences(1, 3);
  EXPECT_EQ(object.referrers().at(1), 1u);
  object.DropReferences(1, 1);
  EXPECT_EQ(object.referrers().count(1), 0u);
  EXPECT_EQ(object.referrers().at(2), 1u);
}

TEST(ObjectTest, NeverCountsReferencesBelowZero) {
  Object object(ObjectKind::kMemoryRegion, "alice", "x", 7);
  object.DropReferences(1, 1);
  EXPECT_TRUE(object.referrers().empty());
  object.AddReferences(1, 2);
  object.DropReferences(1, 5);
  EXPECT_TRUE(object.referrers().empty());
}

TEST(ObjectTest, ChangesItsEtagWithEveryGenerationAndEveryUid) {
  Object object(ObjectKind::kIoas, "alice", "x", 7);
  const Object successor(ObjectKind::kIoas, "alice", "x", 8);
  const std::string before = object.Etag();
  EXPECT_NE(before, successor.Etag());
  ++object.generation;
  EXPECT_NE(object.Etag(), before);
}

}  // namespace
}  // namespace viommu
