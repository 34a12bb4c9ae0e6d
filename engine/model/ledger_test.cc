// Accounts: what is taken together, refused whole, given back, and forgotten.
#include "engine/model/ledger.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/errors.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr Resource kAll[] = {Resource::kMemoryRegions, Resource::kIoas,
                             Resource::kDomains,       Resource::kMappings,
                             Resource::kMappedBytes,   Resource::kRegionBytes,
                             Resource::kPasids,        Resource::kFaultQueues,
                             Resource::kFaultGroups,   Resource::kOperationsInFlight,
                             Resource::kStreams,       Resource::kViommus,
                             Resource::kQueuedEvents};

// Every limit another: 10, 20, ... in the order of Resource.
OwnerLimits TenTwenty() {
  OwnerLimits limits{10, 20, 30, 40, 50, 60, 70};
  limits.max_fault_queues = 80;
  limits.max_fault_groups = 90;
  limits.max_operations_in_flight = 100;
  limits.max_streams = 110;
  limits.max_viommus = 120;
  limits.max_queued_events = 130;
  return limits;
}
uint64_t LimitOf(Resource resource) { return 10 * (static_cast<uint64_t>(resource) + 1); }

std::string Text(const std::vector<UsageView>& list) {
  std::string text;
  for (const UsageView& view : list) {
    text += view.owner + " " + view.limit + " " + std::to_string(view.in_use) + "\n";
  }
  return text;
}

TEST(LedgerTest, GrantsUpToEachLimitAndNotOneBeyond) {
  for (const Resource resource : kAll) {
    SCOPED_TRACE(static_cast<int>(resource));
    Ledger ledger(TenTwenty());
    const absl::StatusOr<Account*> account = ledger.Take("a", Usage(resource, LimitOf(resource)));
    ASSERT_TRUE(account.ok()) << account.status();
    EXPECT_EQ(ledger.Left(**account, resource), 0u);
    const std::string before = Text(ledger.List());
    EXPECT_EQ(ledger.Take("a", Usage(resource, 1)).status().code(),
              absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(Text(ledger.List()), before);
    EXPECT_EQ(ledger.Take("b", Usage(resource, LimitOf(resource) + 1)).status().code(),
              absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(Text(ledger.List()), before) << "who was refused has no account";
    EXPECT_TRUE(ledger.Take("b", Usage(resource, LimitOf(resource))).ok());
  }
}

TEST(LedgerTest, SaysWhichLimitAndHowMuchOfIt) {
  const struct {
    Resource resource;
    const char *limit, *reason, *errno_name;
  } kCases[] = {
      {Resource::kMemoryRegions, "max_memory_regions", "OBJECT_LIMIT", "ENOSPC"},
      {Resource::kIoas, "max_ioas", "OBJECT_LIMIT", "ENOSPC"},
      {Resource::kDomains, "max_domains", "OBJECT_LIMIT", "ENOSPC"},
      {Resource::kMappings, "max_mappings", "MAPPING_LIMIT", "ENOMEM"},
      {Resource::kMappedBytes, "max_mapped_bytes", "MAPPED_BYTES_LIMIT", "ENOMEM"},
      {Resource::kRegionBytes, "max_region_bytes_total", "REGION_BYTES_LIMIT", "ENOMEM"},
      {Resource::kPasids, "max_pasids", "PASID_LIMIT", "ENOSPC"},
      {Resource::kFaultQueues, "max_fault_queues", "OBJECT_LIMIT", "ENOSPC"},
      {Resource::kFaultGroups, "max_fault_groups", "FAULT_GROUP_LIMIT", "ENOSPC"},
      {Resource::kOperationsInFlight, "max_operations_in_flight", "IN_FLIGHT_LIMIT", "EAGAIN"},
      {Resource::kStreams, "max_streams", "STREAM_LIMIT", "EMFILE"},
      {Resource::kViommus, "max_viommus", "OBJECT_LIMIT", "ENOSPC"},
      {Resource::kQueuedEvents, "max_queued_events", "EVENT_LIMIT", "ENOMEM"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.limit);
    Ledger ledger(TenTwenty());
    ASSERT_TRUE(ledger.Take("a", Usage(c.resource, 3)).ok());
    const auto detail =
        DetailOf(ledger.Take("a", Usage(c.resource, LimitOf(c.resource) - 2)).status());
    ASSERT_TRUE(detail.has_value());
    EXPECT_EQ(detail->reason, c.reason);
    EXPECT_EQ(detail->errno_name, c.errno_name);
    const std::map<std::string, std::string> want = {
        {"limit", c.limit},
        {"limit_value", std::to_string(LimitOf(c.resource))},
        {"in_use", "3"},
        {"requested", std::to_string(LimitOf(c.resource) - 2)},
        {"owner", "a"}};
    EXPECT_EQ(detail->metadata, want);
  }
}

TEST(LedgerTest, TakesAllOfAUsageOrNothing) {
  Ledger ledger(TenTwenty());
  const absl::Status refused = ledger.Take("a", Usage::OfMappings(40, 51)).status();
  EXPECT_EQ(DetailOf(refused)->reason, "MAPPED_BYTES_LIMIT");
  EXPECT_TRUE(ledger.List().empty());
  EXPECT_TRUE(ledger.Take("a", Usage::OfMappings(40, 50)).ok());
}

TEST(LedgerTest, NoSumWrapsAround) {
  Ledger ledger(TenTwenty());
  Account* const account = *ledger.Take("a", Usage(Resource::kMappedBytes, 50));
  EXPECT_FALSE(ledger.Take("a", Usage(Resource::kMappedBytes, ~uint64_t{0})).ok());
  // More than the limit can be in use: what was recorded under a larger one.
  ledger.Charge(*account, Usage(Resource::kMappedBytes, 1));
  EXPECT_EQ(ledger.Left(*account, Resource::kMappedBytes), 0u);
  EXPECT_FALSE(ledger.Take("a", Usage(Resource::kMappedBytes, 1)).ok());
}

TEST(LedgerTest, ForgetsWhoHoldsNothing) {
  Ledger ledger(TenTwenty());
  Account* const account = *ledger.Take("a", Usage(Resource::kIoas, 1));
  ASSERT_EQ(*ledger.Take("a", Usage::OfMappings(2, 3)), account);
  ledger.GiveBack(*account, Usage(Resource::kIoas, 1));
  EXPECT_EQ(Text(ledger.List()), "a max_mappings 2\na max_mapped_bytes 3\n");
  ledger.GiveBack(*account, Usage::OfMappings(2, 3));
  EXPECT_EQ(Text(ledger.List()), "");
  EXPECT_TRUE(ledger.Take("a", Usage(Resource::kIoas, 20)).ok());
}

TEST(LedgerTest, ListsByOwnerAndKeepsTheHostApart) {
  Ledger ledger(TenTwenty());
  ASSERT_TRUE(ledger.Take("zoe", Usage(Resource::kStreams, 1)).ok());
  ASSERT_TRUE(ledger.Take("the host", Usage(Resource::kIoas, 1)).ok());
  ledger.Charge(ledger.host(), Usage::OfMappings(1, 2));
  EXPECT_EQ(Text(ledger.List()),
            " max_mappings 1\n max_mapped_bytes 2\nthe host max_ioas 1\nzoe max_streams 1\n");
  ledger.GiveBack(ledger.host(), Usage::OfMappings(1, 2));
  EXPECT_EQ(ledger.Left(ledger.host(), Resource::kMappings), 40u) << "it is there for ever";
}

TEST(LedgerTest, CountsFinalRefusalsByLimit) {
  Ledger ledger(TenTwenty());
  EXPECT_EQ(ledger.Refusals().size(), kResourceCount);
  for (const auto& [limit, count] : ledger.Refusals()) EXPECT_EQ(count, 0u) << limit;
  const absl::Status refused = ledger.Take("a", Usage(Resource::kIoas, 21)).status();
  ledger.CountIfRefusal(refused);
  ledger.CountIfRefusal(AtIndex(refused, 3, "mappings[3]"));
  ledger.CountIfRefusal(absl::OkStatus());
  ledger.CountIfRefusal(absl::ResourceExhaustedError("of something else"));
  ledger.CountIfRefusal(Error(absl::StatusCode::kResourceExhausted, "IOVA_EXHAUSTED", "full"));
  for (const auto& [limit, count] : ledger.Refusals()) {
    EXPECT_EQ(count, limit == "max_ioas" ? 2u : 0u) << limit;
  }
}

}  // namespace
}  // namespace viommu
