#include "engine/entries/vtd_descriptors.h"

#include "engine/base/address.h"
#include "gtest/gtest.h"

namespace viommu::vtd {
namespace {

TEST(VtdDescriptorsTest, WritesTheGoldenWordsAndKnowsTheKind) {
  const struct {
    const char* name;
    Descriptor descriptor, want;
    DescriptorKind kind;
    const char* kind_name;
  } kCases[] = {
      {"context cache",
       InvalidateAllContexts(),
       {0x11},
       DescriptorKind::kContextCache,
       "context_cache"},
      {"context cache, one requester",
       InvalidateContext(0x8001),
       {0x8001'0000'0031},
       DescriptorKind::kContextCache,
       "context_cache"},
      {"PASID cache, domain",
       InvalidatePasidsOfDomain(0xabcd),
       {0xabcd'0007},
       DescriptorKind::kPasidCache,
       "pasid_cache"},
      {"PASID cache, all",
       InvalidateAllPasids(),
       {0x37},
       DescriptorKind::kPasidCache,
       "pasid_cache"},
      {"PASID cache, one",
       InvalidatePasid(0xabcd, 0x12345),
       {0x1'2345'abcd'0017},
       DescriptorKind::kPasidCache,
       "pasid_cache"},
      {"IOTLB, all", InvalidateIotlb(), {0xd2}, DescriptorKind::kIotlbGlobal, "iotlb_global"},
      {"IOTLB, domain",
       InvalidateIotlbDomain(7),
       {0x7'00e2},
       DescriptorKind::kIotlbDomain,
       "iotlb_domain"},
      {"IOTLB, pages and tables",
       InvalidateIotlbPages(7, {0x12'3400'0000, 18}, false),
       {0x7'00f2, 0x12'3400'0012},
       DescriptorKind::kIotlbPage,
       "iotlb_page"},
      {"IOTLB, leaves only",
       InvalidateIotlbPages(0xffff, {0x5000, 0}, true),
       {0xffff'00f2, 0x5040},
       DescriptorKind::kIotlbPage,
       "iotlb_page"},
      {"PASID IOTLB",
       InvalidatePasidIotlb(1, 0xfffff),
       {0xf'ffff'0001'0026},
       DescriptorKind::kPasidIotlb,
       "pasid_iotlb"},
      {"PASID IOTLB, pages and tables",
       InvalidatePasidIotlbPages(7, 0x12345, {0x7fff'ffe0'0000, 9}, false),
       {0x1'2345'0007'0036, 0x7fff'ffe0'0009},
       DescriptorKind::kPasidIotlbPage,
       "pasid_iotlb_page"},
      {"PASID IOTLB, leaves only",
       InvalidatePasidIotlbPages(0xffff, 1, {0x5000, 0}, true),
       {0x1'ffff'0036, 0x5040},
       DescriptorKind::kPasidIotlbPage,
       "pasid_iotlb_page"},
      {"device TLB, one page",
       InvalidateDeviceTlb({0x1234, 0xabcd, 0x1f}, {0x5000, 0}),
       {0xabc0'1234'001f'd003, 0x5000},
       DescriptorKind::kDeviceTlb,
       "device_tlb"},
      {"device TLB, two pages",
       InvalidateDeviceTlb({0x1234, 0x1234, 0}, {0x6000, 1}),
       {0x1230'1234'0000'4003, 0x6001},
       DescriptorKind::kDeviceTlb,
       "device_tlb"},
      {"device TLB, 2 MiB",
       InvalidateDeviceTlb({1, 0, 0}, {0x20'0000, 9}),
       {0x1'0000'0003, 0x2f'f001},
       DescriptorKind::kDeviceTlb,
       "device_tlb"},
      {"device TLB, everything",
       InvalidateDeviceTlb({1, 0, 0}, {0, 52}),
       {0x1'0000'0003, 0x7fff'ffff'ffff'f001},
       DescriptorKind::kDeviceTlb,
       "device_tlb"},
      {"PASID device TLB, four pages",
       InvalidatePasidDeviceTlb({0x1234, 0xabcd, 0x1f}, 0xfedcb, {0x8000, 2}),
       {0xabcf'edcb'1234'd1f8, 0x9800},
       DescriptorKind::kPasidDeviceTlb,
       "pasid_device_tlb"},
      {"PASID device TLB, one page",
       InvalidatePasidDeviceTlb({2, 0, 0}, 1, {0x8000, 0}),
       {0x1'0002'0008, 0x8000},
       DescriptorKind::kPasidDeviceTlb,
       "pasid_device_tlb"},
      {"PASID device TLB, all PASIDs",
       InvalidateAllPasidsDeviceTlb({2, 0, 0}, {0, 52}),
       {0x2'0008, 0x7fff'ffff'ffff'f801},
       DescriptorKind::kPasidDeviceTlb,
       "pasid_device_tlb"},
      {"page group response",
       PageGroupResponse(0x1234, 0xfedcb, 0x1ff, PageGroupCode::kFailure),
       {0x000f'edcb'1234'f019, 0xff8},
       DescriptorKind::kPageGroupResponse,
       "page_group_response"},
      {"page group response without PASID",
       PageGroupResponse(0x8001, std::nullopt, 3, PageGroupCode::kInvalid),
       {0x8001'1009, 0x18},
       DescriptorKind::kPageGroupResponse,
       "page_group_response"},
      {"page group response that lets the device go on",
       PageGroupResponse(1, 0, 0, PageGroupCode::kSuccess),
       {0x1'0019, 0},
       DescriptorKind::kPageGroupResponse,
       "page_group_response"},
      {"page requests drained, and nothing written",
       DrainPageRequests(),
       {0xc5},
       DescriptorKind::kWait,
       "wait"},
      {"wait for page requests",
       WaitAndDrainPageRequests(PhysAddr{0x2004}, 1),
       {0x1'0000'00e5, 0x2004},
       DescriptorKind::kWait,
       "wait"},
      {"wait",
       Wait(PhysAddr{0x1'0000'2004}, 0xdeadbeef),
       {0xdeadbeef'00000065, 0x1'0000'2004},
       DescriptorKind::kWait,
       "wait"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(c.descriptor, c.want);
    EXPECT_EQ(KindOf(c.descriptor), c.kind);
    EXPECT_EQ(NameOf(c.kind), c.kind_name);
  }
}

TEST(VtdDescriptorsTest, TellsWhoseDeviceTlbIsMeant) {
  DeviceTlbTarget target;
  target.source_id = 0xabcd;
  target.physical_function = 0x1234;
  target.queue_depth = 31;
  const PageBlock all = {0, 52};
  EXPECT_EQ(DeviceTlbOf(InvalidateDeviceTlb(target, all)), 0xabcd);
  EXPECT_EQ(DeviceTlbOf(InvalidatePasidDeviceTlb(target, 0xfffff, all)), 0xabcd);
  EXPECT_EQ(DeviceTlbOf(InvalidateAllPasidsDeviceTlb(target, all)), 0xabcd);
  EXPECT_EQ(DeviceTlbOf(InvalidateContext(0xabcd)), std::nullopt);
  EXPECT_EQ(DeviceTlbOf(PageGroupResponse(0xabcd, 5, 1, PageGroupCode::kInvalid)), std::nullopt);
  EXPECT_EQ(DeviceTlbOf(Wait(PhysAddr{0x1000}, 1)), std::nullopt);
}

TEST(VtdDescriptorsTest, CoversARangeWithTheSmallestAlignedBlock) {
  const struct {
    const char* name;
    IovaRange range;
    Iova first;
    int order;
  } kCases[] = {
      {"one byte", {0x1234, 0x1234}, 0x1000, 0},
      {"one page", {0x1000, 0x1fff}, 0x1000, 0},
      {"two aligned pages", {0x2000, 0x3fff}, 0x2000, 1},
      {"two pages across a boundary", {0x1000, 0x2fff}, 0, 2},
      {"two pages across 2 MiB", {0x1f'f000, 0x20'0fff}, 0, 10},
      {"three pages", {0x4000, 0x6fff}, 0x4000, 2},
      {"1 GiB", {0x4000'0000, 0x7fff'ffff}, 0x4000'0000, 18},
      {"the last page", {kMaxAddress - 0xfff, kMaxAddress}, kMaxAddress - 0xfff, 0},
      {"everything", {0, kMaxAddress}, 0, 52},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    const PageBlock block = CoveringBlock(c.range);
    EXPECT_EQ(block.first, c.first);
    EXPECT_EQ(block.order, c.order);
  }
}

}  // namespace
}  // namespace viommu::vtd
