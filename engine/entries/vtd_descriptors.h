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
  kWait,
};
inline constexpr size_t kDescriptorKinds = 7;

// Stable: "context_cache", "pasid_cache", "iotlb_global", ... "wait".
absl::string_view NameOf(DescriptorKind kind);
// Of a descriptor made by one of the functions below.
DescriptorKind KindOf(const Descriptor& descriptor);

// Every context entry. (Scalable hardware treats the domain granularity as this one.)
Descriptor InvalidateAllContexts();

// PASID cache: everything; what carries (domain id, PASID).
Descriptor InvalidateAllPasids();
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

// First-stage, nested and pass-through translations of (domain id, PASID).
Descriptor InvalidatePasidIotlb(uint16_t domain_id, uint32_t pasid);

// When everything before it is done, writes `status` to the 4-byte aligned address (SW); later
// descriptors wait for it (FN).
Descriptor Wait(PhysAddr status_address, uint32_t status);

}  // namespace viommu::vtd

#endif  // VIOMMU_ENGINE_ENTRIES_VTD_DESCRIPTORS_H_
