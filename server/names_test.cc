#include "server/names.h"

#include <string>

#include "engine/base/errors.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

TEST(NamesTest, ParsesOwnAndOwnersForms) {
  const absl::StatusOr<ObjectRef> own = ParseName(NameKind::kIoas, "name", "ioas/vm0");
  ASSERT_TRUE(own.ok()) << own.status();
  EXPECT_EQ(own->id, "vm0");
  EXPECT_FALSE(own->owner.has_value());

  const absl::StatusOr<ObjectRef> other =
      ParseName(NameKind::kDomain, "name", "owners/alice/domains/d-0");
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ(other->id, "d-0");
  EXPECT_EQ(other->owner, "alice");
}

TEST(NamesTest, ParsesNamesBelowAViommu) {
  const absl::StatusOr<ObjectRef> own =
      ParseName(NameKind::kVdevice, "name", "viommus/vm0/vdevices/nic");
  ASSERT_TRUE(own.ok()) << own.status();
  EXPECT_EQ(own->id, "vm0/vdevices/nic");
  const absl::StatusOr<ObjectRef> other =
      ParseName(NameKind::kEventQueue, "name", "owners/alice/viommus/vm0/eventQueues/q");
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ(other->id, "vm0/eventQueues/q");
  EXPECT_EQ(other->owner, "alice");
  EXPECT_EQ(ResourceType("viommus/vm0"), "viommu.v1.Viommu");
  EXPECT_EQ(ResourceType("viommus/vm0/vdevices/nic"), "viommu.v1.Vdevice");
  EXPECT_EQ(ResourceType("owners/a/viommus/vm0/hardwareQueues/q"), "viommu.v1.HardwareQueue");
  EXPECT_EQ(ResourceType("viommus/vm0/nothing/x"), "");
}

TEST(NamesTest, AcceptsPciAddressesForDevicesOnly) {
  EXPECT_EQ(*ParseHostName(NameKind::kDevice, "name", "devices/0000:00:02.0"), "0000:00:02.0");
  EXPECT_FALSE(ParseName(NameKind::kIoas, "name", "ioas/0000:00:02.0").ok());
}

TEST(NamesTest, RefusesMalformedNames) {
  const struct {
    const char* what;
    NameKind kind;
    std::string name;
    const char* reason;
  } kCases[] = {
      {"another owned collection", NameKind::kFaultQueue, "owners/alice/ioas/q", "MALFORMED_NAME"},
      {"empty", NameKind::kIoas, "", "MISSING_FIELD"},
      {"no id", NameKind::kIoas, "ioas/", "MALFORMED_NAME"},
      {"no collection", NameKind::kIoas, "vm0", "MALFORMED_NAME"},
      {"another collection", NameKind::kIoas, "domains/vm0", "MALFORMED_NAME"},
      {"upper case", NameKind::kIoas, "ioas/VM0", "MALFORMED_NAME"},
      {"leading dash", NameKind::kIoas, "ioas/-vm", "MALFORMED_NAME"},
      {"trailing dot", NameKind::kIoas, "ioas/vm.", "MALFORMED_NAME"},
      {"a slash too many", NameKind::kIoas, "ioas/vm/0", "MALFORMED_NAME"},
      {"64 bytes", NameKind::kIoas, "ioas/" + std::string(64, 'a'), "MALFORMED_NAME"},
      {"NUL", NameKind::kIoas, std::string("ioas/v\0m", 8), "MALFORMED_NAME"},
      {"owner missing", NameKind::kIoas, "owners//ioas/vm0", "MALFORMED_NAME"},
      {"owner only", NameKind::kIoas, "owners/alice", "MALFORMED_NAME"},
      {"a Viommu for what belongs to it", NameKind::kVdevice, "viommus/vm0", "MALFORMED_NAME"},
      {"no id below", NameKind::kVdevice, "viommus/vm0/vdevices/", "MALFORMED_NAME"},
      {"no Viommu", NameKind::kVdevice, "viommus//vdevices/nic", "MALFORMED_NAME"},
      {"below another", NameKind::kVdevice, "viommus/vm0/eventQueues/q", "MALFORMED_NAME"},
      {"too far below", NameKind::kVdevice, "viommus/vm0/vdevices/nic/x", "MALFORMED_NAME"},
      {"what belongs to a Viommu", NameKind::kViommu, "viommus/vm0/vdevices/nic", "MALFORMED_NAME"},
      {"owner of a device", NameKind::kDevice, "owners/alice/devices/d0", "MALFORMED_NAME"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.what);
    const absl::Status status = ParseName(c.kind, "some.field", c.name).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    ASSERT_TRUE(DetailOf(status).has_value());
    EXPECT_EQ(DetailOf(status)->reason, c.reason);
    EXPECT_EQ(DetailOf(status)->field, "some.field");
  }
}

TEST(NamesTest, AcceptsIdsOf63Bytes) {
  EXPECT_TRUE(ParseName(NameKind::kIoas, "name", "ioas/" + std::string(63, 'a')).ok());
}

TEST(NamesTest, KeepsErrorsShortWhateverTheClientSent) {
  const absl::Status status =
      ParseName(NameKind::kIoas, "name", std::string(1 << 20, '\xff')).status();
  EXPECT_LT(status.message().size(), 600u);
}

TEST(NamesTest, ReadsTheNameOfAnInvalidationQueue) {
  EXPECT_EQ(*ParseQueueName("name", "iommus/vtd0/invalidationQueue"), "vtd0");
  for (const char* name : {"iommus/vtd0", "iommus//invalidationQueue", "vtd0/invalidationQueue"}) {
    SCOPED_TRACE(name);
    EXPECT_EQ(DetailOf(ParseQueueName("name", name).status())->reason, "MALFORMED_NAME");
  }
  EXPECT_EQ(DetailOf(ParseQueueName("name", "").status())->reason, "MISSING_FIELD");
}

TEST(NamesTest, ChecksIdsThatClientsChoose) {
  EXPECT_TRUE(CheckNewId("ioas_id", "").ok());
  EXPECT_TRUE(CheckNewId("ioas_id", "vm0").ok());
  EXPECT_EQ(DetailOf(CheckNewId("ioas_id", "a:b"))->reason, "MALFORMED_NAME");
  EXPECT_EQ(DetailOf(CheckNewId("ioas_id", "a/b"))->field, "ioas_id");
}

TEST(NamesTest, ShowsTheOwnerToOthersOnly) {
  ObjectView object;
  object.id = "vm0";
  object.owner = "alice";
  CallContext caller;
  caller.principal = "alice";
  EXPECT_EQ(FormatName(NameKind::kIoas, object, caller), "ioas/vm0");
  caller.principal = "root";
  EXPECT_EQ(FormatName(NameKind::kIoas, object, caller), "owners/alice/ioas/vm0");
  object.owner = "";
  EXPECT_EQ(FormatName(NameKind::kDomain, object, caller), "domains/vm0");
}

TEST(NamesTest, KnowsTheTypeOfEveryResource) {
  EXPECT_EQ(ResourceType("ioas/a"), "viommu.v1.Ioas");
  EXPECT_EQ(ResourceType("owners/alice/domains/a"), "viommu.v1.Domain");
  EXPECT_EQ(ResourceType("memoryRegions/a"), "viommu.v1.MemoryRegion");
  EXPECT_EQ(ResourceType("devices/0000:00:02.0"), "viommu.v1.Device");
  EXPECT_EQ(ResourceType("iommus/a"), "viommu.v1.Iommu");
  EXPECT_EQ(ResourceType("something"), "");
  EXPECT_EQ(ResourceType("owners/alice"), "");
}

}  // namespace
}  // namespace viommu
