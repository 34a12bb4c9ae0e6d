#include "engine/entries/vtd_descriptors.h"

#include "absl/numeric/bits.h"

namespace viommu::vtd {
namespace {

// Type, word 0 bits 3:0.
constexpr uint64_t kTypeMask = 0xf;
constexpr uint64_t kTypeContextCache = 1;
constexpr uint64_t kTypeIotlb = 2;
constexpr uint64_t kTypeWait = 5;
constexpr uint64_t kTypePasidIotlb = 6;
constexpr uint64_t kTypePasidCache = 7;

constexpr int kGranularityShift = 4;  // Word 0 bits 5:4, meaning by type.
constexpr uint64_t kGranularityMask = 3;
constexpr uint64_t kContextGlobal = 1;
constexpr uint64_t kIotlbGlobal = 1;
constexpr uint64_t kIotlbDomain = 2;
constexpr uint64_t kIotlbPage = 3;
constexpr uint64_t kPasidIotlbAll = 2;
constexpr uint64_t kPasidCachePasid = 1;
constexpr uint64_t kPasidCacheGlobal = 3;

constexpr int kDomainIdShift = 16;             // Word 0 bits 31:16.
constexpr int kPasidShift = 32;                // Word 0 bits 51:32.
constexpr uint64_t kDrainWrites = 1 << 6;      // DW: writes in flight are done first.
constexpr uint64_t kDrainReads = 1 << 7;       // DR: reads likewise.
constexpr uint64_t kIotlbLeavesOnly = 1 << 6;  // Word 1, IH.
constexpr uint64_t kWaitStatusWrite = 1 << 5;  // SW.
constexpr uint64_t kWaitFence = 1 << 6;        // FN.
constexpr int kWaitStatusShift = 32;           // Word 0 bits 63:32.

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

}  // namespace

absl::string_view NameOf(DescriptorKind kind) {
  constexpr absl::string_view kNames[kDescriptorKinds] = {
      "context_cache", "pasid_cache", "iotlb_global", "iotlb_domain",
      "iotlb_page",    "pasid_iotlb", "wait"};
  return kNames[static_cast<size_t>(kind)];
}

DescriptorKind KindOf(const Descriptor& descriptor) {
  switch (descriptor[0] & kTypeMask) {
    case kTypeContextCache:
      return DescriptorKind::kContextCache;
    case kTypePasidCache:
      return DescriptorKind::kPasidCache;
    case kTypePasidIotlb:
      return DescriptorKind::kPasidIotlb;
    case kTypeWait:
      return DescriptorKind::kWait;
  }
  const uint64_t granularity = descriptor[0] >> kGranularityShift & kGranularityMask;
  if (granularity == kIotlbPage) return DescriptorKind::kIotlbPage;
  return granularity == kIotlbDomain ? DescriptorKind::kIotlbDomain : DescriptorKind::kIotlbGlobal;
}

Descriptor InvalidateAllContexts() { return Make(kTypeContextCache, kContextGlobal, 0, 0); }

Descriptor InvalidateAllPasids() { return Make(kTypePasidCache, kPasidCacheGlobal, 0, 0); }

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
  descriptor[1] =
      block.first | static_cast<uint64_t>(block.order) | (leaves_only ? kIotlbLeavesOnly : 0);
  return descriptor;
}

Descriptor InvalidatePasidIotlb(uint16_t domain_id, uint32_t pasid) {
  return Make(kTypePasidIotlb, kPasidIotlbAll, domain_id, pasid);
}

Descriptor Wait(PhysAddr status_address, uint32_t status) {
  return {kTypeWait | kWaitStatusWrite | kWaitFence | uint64_t{status} << kWaitStatusShift,
          status_address.value};
}

}  // namespace viommu::vtd
