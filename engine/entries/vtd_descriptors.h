// engine/entries/vtd_descriptors.h -- Intel VT-d invalidation descriptors as software writes them.
//
// Layouts: VT-d 6.5.2 and the kernel's vtd/iommu.h QI_* (iommufd-semantics.md 18.4); what each
// covers: formats-amd-riscv.md A.5. In scalable mode a descriptor has 256 bits, of which these
// kinds use the low 128.
#ifndef VIOMMU_ENGINE_ENTRIES_VTD_DESCRIPTORS_H_
#define VIOMMU_ENGINE_ENTRIES_VTD_DESCRIPTORS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "engine/base/address.h"

namespace viommu::vtd {

using Descriptor = std::array<uint64_t, 4>;

// What a descriptor does, for counters. The order is that of the names.
enum class DescriptorKind {
  kContextCache,
  kPasidCache,
  kIotlbGlobal,
  kIotlbDomain,
  kIotlbPage,
  kPasidIotlb,
  kPasidIotlbPage,
  kDeviceTlb,
  kPasidDeviceTlb,
  kPageGroupResponse,
  kWait,
};
inline constexpr size_t kDescriptorKinds = 11;

// Stable: "context_cache", "pasid_cache", "iotlb_global", ... "wait".
absl::string_view NameOf(DescriptorKind kind);
// Of a descriptor made by one of the functions below.
DescriptorKind KindOf(const Descriptor& descriptor);
// Whose device TLB such a descriptor is for; none: no device's.
std::optional<uint16_t> DeviceTlbOf(const Descriptor& descriptor);

// Every context entry. (Scalable hardware treats the domain granularity as this one.)
Descriptor InvalidateAllContexts();

// Contexts of one requester, and the PASID entries that were reached through them: what a change of
// its context entry needs.
Descriptor InvalidateContext(uint16_t source_id);

// PASID cache: everything; what carries the domain id; what carries (domain id, PASID).
Descriptor InvalidateAllPasids();
Descriptor InvalidatePasidsOfDomain(uint16_t domain_id);
Descriptor InvalidatePasid(uint16_t domain_id, uint32_t pasid);

// IOTLB and paging-structure caches: everything; what carries the domain id.
Descriptor InvalidateIotlb();
Descriptor InvalidateIotlbDomain(uint16_t domain_id);

// Smallest naturally aligned block of 2^order 4 KiB pages that covers a range (vtd/cache.c:
// calculate_psi_aligned_address). The whole address space is order 52.
struct PageBlock {
  Iova first = 0;
  int order = 0;
};
PageBlock CoveringBlock(const IovaRange& range);

// The pages of `block` under a domain id; block.order is at most CAP.MAMV. With `leaves_only` (the
// IH hint) paging-structure caches may keep their entries: no table was unlinked.
Descriptor InvalidateIotlbPages(uint16_t domain_id, const PageBlock& block, bool leaves_only);

// First-stage, nested and pass-through translations of (domain id, PASID): all; the first-stage and
// nested ones of a block. Never those of a second stage alone, nor what a nested walk remembers of
// its second stage: a change there needs InvalidateIotlbDomain.
Descriptor InvalidatePasidIotlb(uint16_t domain_id, uint32_t pasid);
Descriptor InvalidatePasidIotlbPages(uint16_t domain_id, uint32_t pasid, const PageBlock& block,
                                     bool leaves_only);

// A function whose device TLB is meant. Invalidations wait for its answer; the unit throttles them
// by the physical function it belongs to, at most `queue_depth` of them at a time (0: 32).
struct DeviceTlbTarget {
  uint16_t source_id = 0;
  uint16_t physical_function = 0;  // PFSID: the source id itself, unless it is virtual.
  uint8_t queue_depth = 0;         // 0..31, as the function's ATS capability says.
};

// What the function keeps of requests without PASID in the block, of one PASID in the block, of all
// its PASIDs in the block. Blocks up to the whole address space: {0, 52}.
Descriptor InvalidateDeviceTlb(const DeviceTlbTarget& target, const PageBlock& block);
Descriptor InvalidatePasidDeviceTlb(const DeviceTlbTarget& target, uint32_t pasid,
                                    const PageBlock& block);
Descriptor InvalidateAllPasidsDeviceTlb(const DeviceTlbTarget& target, const PageBlock& block);

// When everything before it is done, writes `status` to the 4-byte aligned address (SW); later
// descriptors wait for it (FN).
Descriptor Wait(PhysAddr status_address, uint32_t status);
// What the waiting function is told of a group of its page requests (needs ECAP.PRS).
enum class PageGroupCode : uint8_t { kSuccess = 0, kInvalid = 1, kFailure = 15 };
Descriptor PageGroupResponse(uint16_t source_id, std::optional<uint32_t> pasid, uint32_t group,
                             PageGroupCode code);

// Later descriptors wait until the page requests before it have left the unit. Writes nothing.
Descriptor DrainPageRequests();
// As Wait, and when the page requests before it have left the unit too (PD, needs ECAP.PDS).
Descriptor WaitAndDrainPageRequests(PhysAddr status_address, uint32_t status);

}  // namespace viommu::vtd

#endif  // VIOMMU_ENGINE_ENTRIES_VTD_DESCRIPTORS_H_
