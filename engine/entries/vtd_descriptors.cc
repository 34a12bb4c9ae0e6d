#include "engine/entries/vtd_descriptors.h"

#include "absl/numeric/bits.h"

namespace viommu::vtd {
namespace {

// Type, word 0 bits 3:0.
constexpr uint64_t kTypeMask = 0xf;
constexpr uint64_t kTypeContextCache = 1;
constexpr uint64_t kTypeIotlb = 2;
constexpr uint64_t kTypeDeviceTlb = 3;
constexpr uint64_t kTypeWait = 5;
constexpr uint64_t kTypePasidIotlb = 6;
constexpr uint64_t kTypePasidCache = 7;
constexpr uint64_t kTypePasidDeviceTlb = 8;
constexpr uint64_t kTypePageGroupResponse = 9;

constexpr int kGranularityShift = 4;  // Word 0 bits 5:4, meaning by type.
constexpr uint64_t kGranularityMask = 3;
constexpr uint64_t kContextGlobal = 1;
constexpr uint64_t kContextDevice = 3;
constexpr uint64_t kIotlbGlobal = 1;
constexpr uint64_t kIotlbDomain = 2;
constexpr uint64_t kIotlbPage = 3;
constexpr uint64_t kPasidIotlbAll = 2;
constexpr uint64_t kPasidIotlbPage = 3;
constexpr uint64_t kPasidCacheDomain = 0;
constexpr uint64_t kPasidCachePasid = 1;
constexpr uint64_t kPasidCacheGlobal = 3;

constexpr int kDomainIdShift = 16;              // Word 0 bits 31:16.
constexpr int kPasidShift = 32;                 // Word 0 bits 51:32.
constexpr int kSourceIdShift = 32;              // Word 0 bits 47:32 of types 1 and 3.
constexpr uint64_t kDrainWrites = 1 << 6;       // DW: writes in flight are done first.
constexpr uint64_t kDrainReads = 1 << 7;        // DR: reads likewise.
constexpr uint64_t kIotlbLeavesOnly = 1 << 6;   // Word 1, IH.
constexpr uint64_t kWaitStatusWrite = 1 << 5;   // SW.
constexpr uint64_t kWaitFence = 1 << 6;         // FN.
constexpr uint64_t kWaitPageRequests = 1 << 7;  // PD.
constexpr int kWaitStatusShift = 32;            // Word 0 bits 63:32.

// Device TLBs, word 0. The physical function lies in two places.
constexpr int kFunctionLowShift = 12;     // PFSID 3:0 in bits 15:12,
constexpr int kFunctionHighShift = 52;    // PFSID 15:4 in bits 63:52.
constexpr int kQueueDepthShift = 16;      // Bits 20:16 of type 3,
constexpr int kPasidQueueDepthShift = 4;  // bits 8:4 of type 8.
constexpr int kPasidSourceIdShift = 16;   // Bits 31:16 of type 8.
// Page group responses.
constexpr uint64_t kResponsePasidPresent = 1 << 4;  // PASID_P.
constexpr int kResponseCodeShift = 12;              // Bits 15:12.
constexpr int kResponseSourceIdShift = 16;          // Bits 31:16.
constexpr int kResponseGroupShift = 3;              // Word 1 bits 11:3.

// Word 1.
constexpr uint64_t kDeviceTlbSize = 1 << 0;         // S of type 3,
constexpr uint64_t kPasidDeviceTlbSize = 1 << 11;   // of type 8.
constexpr uint64_t kPasidDeviceTlbGlobal = 1 << 0;  // G: whatever the PASID.

constexpr int kPageShift = 12;

Descriptor Make(uint64_t type, uint64_t granularity, uint16_t domain_id, uint32_t pasid) {
  return {type | granularity << kGranularityShift | uint64_t{domain_id} << kDomainIdShift |
          uint64_t{pasid} << kPasidShift};
}

// Drains, so that no request translated before the flush is still on its way afterwards (R4).
Descriptor MakeIotlb(uint64_t granularity, uint16_t domain_id) {
  Descriptor descriptor = Make(kTypeIotlb, granularity, domain_id, 0);
  descriptor[0] |= kDrainWrites | kDrainReads;
  return descriptor;
}

uint64_t PhysicalFunction(const DeviceTlbTarget& target) {
  const uint64_t function = target.physical_function;
  return (function & 0xf) << kFunctionLowShift | (function >> 4) << kFunctionHighShift;
}

uint64_t IotlbBlock(const PageBlock& block, bool leaves_only) {
  return block.first | static_cast<uint64_t>(block.order) | (leaves_only ? kIotlbLeavesOnly : 0);
}

// A block of more than one page has its size in the address bits that do not count: ones, and a
// zero at the topmost of them.
uint64_t DeviceTlbBlock(const PageBlock& block, uint64_t size_flag) {
  if (block.order == 0) return block.first;
  const uint64_t ones = (uint64_t{1} << (block.order - 1)) - 1;
  return block.first | ones << kPageShift | size_flag;
}

Descriptor MakePasidDeviceTlb(const DeviceTlbTarget& target, uint32_t pasid,
                              const PageBlock& block) {
  return {kTypePasidDeviceTlb | uint64_t{target.queue_depth} << kPasidQueueDepthShift |
              uint64_t{target.source_id} << kPasidSourceIdShift | uint64_t{pasid} << kPasidShift |
              PhysicalFunction(target),
          DeviceTlbBlock(block, kPasidDeviceTlbSize)};
}

}  // namespace

absl::string_view NameOf(DescriptorKind kind) {
  constexpr absl::string_view kNames[kDescriptorKinds] = {
      "context_cache",       "pasid_cache", "iotlb_global",
      "iotlb_domain",        "iotlb_page",  "pasid_iotlb",
      "pasid_iotlb_page",    "device_tlb",  "pasid_device_tlb",
      "page_group_response", "wait"};
  return kNames[static_cast<size_t>(kind)];
}

DescriptorKind KindOf(const Descriptor& descriptor) {
  const uint64_t granularity = descriptor[0] >> kGranularityShift & kGranularityMask;
  switch (descriptor[0] & kTypeMask) {
    case kTypeContextCache:
      return DescriptorKind::kContextCache;
    case kTypePasidCache:
      return DescriptorKind::kPasidCache;
    case kTypePasidIotlb:
      return granularity == kPasidIotlbPage ? DescriptorKind::kPasidIotlbPage
                                            : DescriptorKind::kPasidIotlb;
    case kTypeDeviceTlb:
      return DescriptorKind::kDeviceTlb;
    case kTypePasidDeviceTlb:
      return DescriptorKind::kPasidDeviceTlb;
    case kTypePageGroupResponse:
      return DescriptorKind::kPageGroupResponse;
    case kTypeWait:
      return DescriptorKind::kWait;
  }
  if (granularity == kIotlbPage) return DescriptorKind::kIotlbPage;
  return granularity == kIotlbDomain ? DescriptorKind::kIotlbDomain : DescriptorKind::kIotlbGlobal;
}

std::optional<uint16_t> DeviceTlbOf(const Descriptor& descriptor) {
  const DescriptorKind kind = KindOf(descriptor);
  if (kind != DescriptorKind::kDeviceTlb && kind != DescriptorKind::kPasidDeviceTlb) {
    return std::nullopt;
  }
  const bool with_pasid = kind == DescriptorKind::kPasidDeviceTlb;
  return static_cast<uint16_t>(descriptor[0] >>
                               (with_pasid ? kPasidSourceIdShift : kSourceIdShift));
}

Descriptor InvalidateAllContexts() { return Make(kTypeContextCache, kContextGlobal, 0, 0); }

Descriptor InvalidateContext(uint16_t source_id) {
  Descriptor descriptor = Make(kTypeContextCache, kContextDevice, 0, 0);
  descriptor[0] |= uint64_t{source_id} << kSourceIdShift;
  return descriptor;
}

Descriptor InvalidateAllPasids() { return Make(kTypePasidCache, kPasidCacheGlobal, 0, 0); }

Descriptor InvalidatePasidsOfDomain(uint16_t domain_id) {
  return Make(kTypePasidCache, kPasidCacheDomain, domain_id, 0);
}

Descriptor InvalidatePasid(uint16_t domain_id, uint32_t pasid) {
  return Make(kTypePasidCache, kPasidCachePasid, domain_id, pasid);
}

Descriptor InvalidateIotlb() { return MakeIotlb(kIotlbGlobal, 0); }

Descriptor InvalidateIotlbDomain(uint16_t domain_id) { return MakeIotlb(kIotlbDomain, domain_id); }

PageBlock CoveringBlock(const IovaRange& range) {
  const uint64_t first_page = range.first >> kPageShift;
  // Pages whose numbers agree above the highest bit in which first and last differ.
  const auto order = static_cast<int>(absl::bit_width(first_page ^ (range.last >> kPageShift)));
  return {first_page >> order << order << kPageShift, order};
}

Descriptor InvalidateIotlbPages(uint16_t domain_id, const PageBlock& block, bool leaves_only) {
  Descriptor descriptor = MakeIotlb(kIotlbPage, domain_id);
  descriptor[1] = IotlbBlock(block, leaves_only);
  return descriptor;
}

Descriptor InvalidatePasidIotlb(uint16_t domain_id, uint32_t pasid) {
  return Make(kTypePasidIotlb, kPasidIotlbAll, domain_id, pasid);
}

Descriptor InvalidatePasidIotlbPages(uint16_t domain_id, uint32_t pasid, const PageBlock& block,
                                     bool leaves_only) {
  Descriptor descriptor = Make(kTypePasidIotlb, kPasidIotlbPage, domain_id, pasid);
  descriptor[1] = IotlbBlock(block, leaves_only);
  return descriptor;
}

Descriptor InvalidateDeviceTlb(const DeviceTlbTarget& target, const PageBlock& block) {
  return {kTypeDeviceTlb | uint64_t{target.queue_depth} << kQueueDepthShift |
              uint64_t{target.source_id} << kSourceIdShift | PhysicalFunction(target),
          DeviceTlbBlock(block, kDeviceTlbSize)};
}

Descriptor InvalidatePasidDeviceTlb(const DeviceTlbTarget& target, uint32_t pasid,
                                    const PageBlock& block) {
  return MakePasidDeviceTlb(target, pasid, block);
}

Descriptor InvalidateAllPasidsDeviceTlb(const DeviceTlbTarget& target, const PageBlock& block) {
  Descriptor descriptor = MakePasidDeviceTlb(target, 0, block);
  descriptor[1] |= kPasidDeviceTlbGlobal;
  return descriptor;
}

Descriptor Wait(PhysAddr status_address, uint32_t status) {
  return {kTypeWait | kWaitStatusWrite | kWaitFence | uint64_t{status} << kWaitStatusShift,
          status_address.value};
}

Descriptor PageGroupResponse(uint16_t source_id, std::optional<uint32_t> pasid, uint32_t group,
                             PageGroupCode code) {
  return {kTypePageGroupResponse | (pasid.has_value() ? kResponsePasidPresent : 0) |
              static_cast<uint64_t>(code) << kResponseCodeShift |
              uint64_t{source_id} << kResponseSourceIdShift |
              uint64_t{pasid.value_or(0)} << kPasidShift,
          uint64_t{group} << kResponseGroupShift};
}

Descriptor DrainPageRequests() { return {kTypeWait | kWaitFence | kWaitPageRequests}; }

Descriptor WaitAndDrainPageRequests(PhysAddr status_address, uint32_t status) {
  Descriptor descriptor = Wait(status_address, status);
  descriptor[0] |= kWaitPageRequests;
  return descriptor;
}

}  // namespace viommu::vtd
