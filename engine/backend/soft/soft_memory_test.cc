#include "engine/backend/soft/soft_memory.h"

#include <string>
#include <utility>
#include <vector>

#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/base/errors.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kGiB = uint64_t{1} << 30;

Topology WithRegions(std::vector<ReservedRegion> regions, int host_bits = 46) {
  Topology topology;
  topology.iommus.resize(1);
  topology.iommus[0].host_address_width_bits = host_bits;
  topology.devices.resize(1);
  topology.devices[0].reserved_regions = std::move(regions);
  return topology;
}

TEST(SoftMemoryTest, PlacesRegionsSoThatLargeLeavesFit) {
  const auto memory = *SoftMemory::Create(WithRegions({}), 4 * kGiB);
  const struct {
    uint64_t size_bytes, alignment_bytes;
  } kCases[] = {{kPage, kPage},
                {3 * kPage, 4 * kPage},
                {kGiB / 2, kGiB / 2},
                {3 * kGiB / 4, kGiB},
                {64 * kGiB, kGiB}};
  Uid uid = 1;
  for (const auto& c : kCases) {
    ASSERT_TRUE(memory->CreateRegion(uid, c.size_bytes).ok());
    const PhysAddr base = *memory->Locate(uid, 0, c.size_bytes);
    EXPECT_TRUE(IsAligned(base.value, c.alignment_bytes)) << Hex(base.value);
    EXPECT_GE(base.value, 8 * kGiB);  // Behind the arena, away from the interrupt window.
    ++uid;
  }
}

// What LocateEach finds, up to the first mapping that fails.
std::vector<uint64_t> Found(const SoftMemory& memory, const std::vector<BackendMapping>& mappings,
                            absl::StatusCode want) {
  std::vector<std::pair<BackendMapping, PhysAddr>> located;
  const absl::Status status = memory.LocateEach(
      mappings,
      [&](const BackendMapping& mapping, PhysAddr to) { located.emplace_back(mapping, to); });
  EXPECT_EQ(status.code(), want) << status;
  std::vector<uint64_t> found;
  for (const auto& [mapping, to] : located) {
    EXPECT_EQ(to, *memory.Locate(mapping.region, mapping.offset_bytes, mapping.size_bytes));
    found.push_back(mapping.iova);
  }
  return found;
}

TEST(SoftMemoryTest, LocatesABatchOverSeveralRegions) {
  const auto memory = *SoftMemory::Create(WithRegions({}), 16 * kPage);
  ASSERT_TRUE(memory->CreateRegion(5, 2 * kPage).ok());
  ASSERT_TRUE(memory->CreateRegion(6, kPage).ok());
  const BackendMapping first{1, kPage, 5, 0}, second{2, kPage, 5, kPage}, other{3, kPage, 6, 0};
  using Iovas = std::vector<uint64_t>;
  using Code = absl::StatusCode;
  EXPECT_EQ(Found(*memory, {first, second, other, first}, Code::kOk), (Iovas{1, 2, 3, 1}));
  EXPECT_EQ(Found(*memory, {first, {9, kPage, 7, 0}, other}, Code::kNotFound), Iovas{1});
  // Inside the region of its neighbour, but not of its own.
  EXPECT_EQ(Found(*memory, {second, {9, kPage, 6, kPage}}, Code::kOutOfRange), Iovas{2});
  EXPECT_EQ(Found(*memory, {first, {9, 2 * kPage, 5, kPage}}, Code::kOutOfRange), Iovas{1});
}

TEST(SoftMemoryTest, LocatesOnlyWhatIsInsideARegion) {
  const auto memory = *SoftMemory::Create(WithRegions({}), 16 * kPage);
  ASSERT_TRUE(memory->CreateRegion(5, 2 * kPage).ok());
  const PhysAddr base = *memory->Locate(5, 0, 1);
  EXPECT_EQ(*memory->Locate(5, kPage, kPage), base + kPage);
  const struct {
    Uid uid;
    uint64_t offset_bytes, size_bytes;
    absl::StatusCode code;
  } kCases[] = {{5, 2 * kPage, 0, absl::StatusCode::kOutOfRange},
                {5, kPage, kPage + 1, absl::StatusCode::kOutOfRange},
                {5, kMaxAddress, 2, absl::StatusCode::kOutOfRange},
                {5, 1, kMaxAddress, absl::StatusCode::kOutOfRange},
                {6, 0, 1, absl::StatusCode::kNotFound}};
  for (const auto& c : kCases) {
    EXPECT_EQ(memory->Locate(c.uid, c.offset_bytes, c.size_bytes).status().code(), c.code);
  }
  std::string text = "text", back = "????";
  ASSERT_TRUE(memory->Write(5, 2 * kPage - 4, text).ok());
  ASSERT_TRUE(memory->Read(5, 2 * kPage - 4, absl::MakeSpan(&back[0], 4)).ok());
  EXPECT_EQ(back, text);
  EXPECT_EQ(memory->Write(5, 2 * kPage - 3, text).code(), absl::StatusCode::kOutOfRange);
}

TEST(SoftMemoryTest, RefusesRegionsThatCanNotBe) {
  const auto memory = *SoftMemory::Create(WithRegions({}, 36), 16 * kPage);
  EXPECT_EQ(memory->CreateRegion(1, 0).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(memory->CreateRegion(1, 100).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(memory->CreateRegion(1, 64 * kGiB).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(memory->Locate(1, 0, 1).status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(memory->CreateRegion(1, kPage).ok());
  EXPECT_EQ(memory->CreateRegion(1, kPage).code(), absl::StatusCode::kAlreadyExists);
  ASSERT_TRUE(memory->DestroyRegion(1).ok());
  EXPECT_EQ(memory->DestroyRegion(1).code(), absl::StatusCode::kNotFound);
}

TEST(SoftMemoryTest, BacksDirectRegionsWhereTheyAre) {
  const ReservedRegionType direct = ReservedRegionType::kDirect;
  const auto made = SoftMemory::Create(
      WithRegions({{{0x7d80'0000, 0x7d80'0fff}, direct},
                   {{0x7d80'0800, 0x7d80'17ff}, ReservedRegionType::kDirectRelaxable},
                   {{4 * kGiB, 4 * kGiB + 1}, direct},
                   {{0xfee0'0000, 0xfeef'ffff}, ReservedRegionType::kMsi}}),
      16 * kPage);
  ASSERT_TRUE(made.ok()) << made.status();
  PhysicalMemory& physical = (*made)->physical();
  EXPECT_TRUE(physical.Load64(PhysAddr{0x7d80'0000}).has_value());
  EXPECT_TRUE(physical.Load64(PhysAddr{0x7d80'1ff8}).has_value());
  EXPECT_FALSE(physical.Load64(PhysAddr{0x7d80'2000}).has_value());
  EXPECT_FALSE(physical.Load64(PhysAddr{0xfee0'0000}).has_value());
  EXPECT_EQ((*made)->arena().AllocateZeroed()->value, 4 * kGiB + kPage);
  EXPECT_EQ(SoftMemory::Create(WithRegions({{{1 * kGiB << 10, 1 * kGiB << 10}, direct}}, 40), kPage)
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(SoftMemoryTest, HasAPageForEveryDoorbellAndKeepsOtherMemoryAway) {
  Topology topology = WithRegions({}, 36);
  topology.devices.resize(3);
  topology.devices[0].msi_doorbell = topology.devices[2].msi_doorbell = PhysAddr{4 * kGiB};
  topology.devices[1].msi_doorbell = PhysAddr{0x1000'0000};
  const auto made = SoftMemory::Create(topology, 16 * kPage);
  ASSERT_TRUE(made.ok()) << made.status();
  PhysicalMemory& physical = (*made)->physical();
  for (const PhysAddr doorbell : {PhysAddr{4 * kGiB}, PhysAddr{0x1000'0000}}) {
    EXPECT_EQ(physical.Load64(doorbell), 0u);
    EXPECT_EQ(physical.Load64(doorbell + (kPage - 8)), 0u);
  }
  EXPECT_FALSE(physical.Load64(PhysAddr{0x1000'0000 + kPage}).has_value());
  EXPECT_FALSE(physical.Load64(PhysAddr{0x1000'0000 - 8}).has_value());
  EXPECT_EQ((*made)->arena().AllocateZeroed()->value, 4 * kGiB + kPage);
  topology.devices[1].msi_doorbell = PhysAddr{64 * kGiB};
  EXPECT_EQ(SoftMemory::Create(topology, kPage).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace viommu
