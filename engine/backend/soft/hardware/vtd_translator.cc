#include "engine/backend/soft/hardware/vtd_translator.h"

#include <algorithm>

#include "engine/backend/soft/hardware/vtd_second_stage.h"

namespace viommu::hardware {
namespace {

constexpr uint64_t kInterruptFirst = 0xfee00000;
constexpr uint64_t kInterruptLast = 0xfeefffff;

// Root-table address register, VT-d 11.4.5: TTM 11:10.
constexpr uint64_t kTableModeScalable = 1;

bool InInterruptRange(uint64_t address) {
  return kInterruptFirst <= address && address <= kInterruptLast;
}

// `size_bytes` cut where the interrupt range begins, since other rules hold there.
uint64_t CutAtInterrupts(uint64_t address, uint64_t size_bytes) {
  return address < kInterruptFirst ? std::min(size_bytes, kInterruptFirst - address) : size_bytes;
}

Translation Faulted(FaultReason reason) {
  Translation translation;
  translation.fault_reason = reason;
  return translation;
}

// A request without PASID to the interrupt range never reaches translation: a write is a message,
// anything else an error (VT-d 3.14).
Translation InterruptAccess(const Request& request) {
  if (!request.write) return Faulted(kInterruptRange);
  Translation translation;
  translation.is_interrupt = true;
  translation.size_bytes = kInterruptLast - request.address + 1;
  return translation;
}

// The permission that the IOTLB remembers is the permission that counts.
FaultReason CheckPermission(const CachedLeaf& leaf, bool write) {
  if (write) return leaf.write ? kNoFault : kWriteDenied;
  return leaf.read ? kNoFault : kReadDenied;
}

}  // namespace

Translation Translator::Translate(uint64_t root, bool enabled, const Request& request,
                                  WarmState* warm, bool* fault_disable) const {
  if (!request.pasid.has_value() && InInterruptRange(request.address)) {
    return InterruptAccess(request);
  }
  Translation translation;
  if (!enabled) {
    translation.physical = PhysAddr{request.address};
    const uint64_t page_rest = (uint64_t{1} << kPageShift) - request.address % 4096;
    translation.size_bytes = page_rest;
    return translation;
  }
  CachedLeaf leaf;
  if (const FaultReason fault = Resolve(root, request, warm, fault_disable, &leaf)) {
    return Faulted(fault);
  }
  const uint64_t leaf_bytes = uint64_t{1} << LevelShift(leaf.level);
  const uint64_t offset = request.address & (leaf_bytes - 1);
  translation.physical = leaf.page + offset;
  if (InInterruptRange(translation.physical.value)) return Faulted(kInterruptRange);
  translation.size_bytes = CutAtInterrupts(translation.physical.value, leaf_bytes - offset);
  if (!request.pasid.has_value()) {
    translation.size_bytes = CutAtInterrupts(request.address, translation.size_bytes);
  }
  return translation;
}

FaultReason Translator::Resolve(uint64_t root, const Request& request, WarmState* warm,
                                bool* fault_disable, CachedLeaf* leaf) const {
  ContextEntry context;
  FaultReason fault = FindContext(root, request, warm, &context);
  *fault_disable = context.fault_disable;
  if (fault != kNoFault) return fault;

  if (request.pasid.has_value() && !context.pasids_enabled) return kPasidRequestsDisabled;
  const uint32_t pasid = request.pasid.value_or(context.rid_pasid);
  if (pasid >= context.pasid_limit) {
    return request.pasid.has_value() ? kPasidBeyondDirectory : kRidPasidInvalid;
  }
  PasidEntry entry;
  fault = FindPasidEntry(context, request, pasid, warm, &entry);
  *fault_disable |= entry.fault_disable;
  if (fault != kNoFault) return fault;
  return FindLeaf(entry, pasid, request, warm, leaf);
}

FaultReason Translator::FindContext(uint64_t root, const Request& request, WarmState* warm,
                                    ContextEntry* context) const {
  if (warm != nullptr) {
    if (const ContextEntry* hit = warm->caches.FindContext(request.source_id)) {
      ++warm->counters.context_hits;
      *context = *hit;
      return kNoFault;
    }
    ++warm->counters.context_misses;
  }
  const uint64_t mode = Field(root, 11, 10);
  if (mode == 0 && request.pasid.has_value()) return kPasidInLegacyMode;
  const uint64_t bad_bits = root & (capabilities_.beyond_host_width() | Bits(9, 0));
  if (mode != kTableModeScalable || !capabilities_.scalable_mode() || bad_bits) {
    return kRootAddressInvalid;
  }
  const FaultReason fault = FetchContextEntry(memory_, capabilities_, PhysAddr{root & Bits(63, 12)},
                                              request.source_id, context);
  if (fault == kNoFault && warm != nullptr) {
    warm->caches.InsertContext(request.source_id, *context);
  }
  return fault;
}

FaultReason Translator::FindPasidEntry(const ContextEntry& context, const Request& request,
                                       uint32_t pasid, WarmState* warm, PasidEntry* entry) const {
  if (warm != nullptr) {
    if (const PasidEntry* hit = warm->caches.FindPasid(request.source_id, pasid)) {
      ++warm->counters.pasid_hits;
      *entry = *hit;
      return kNoFault;
    }
    ++warm->counters.pasid_misses;
  }
  const FaultReason fault = FetchPasidEntry(memory_, capabilities_, context, pasid, entry);
  if (fault == kNoFault && warm != nullptr) {
    warm->caches.InsertPasid(request.source_id, pasid, *entry);
  }
  return fault;
}

FaultReason Translator::FindLeaf(const PasidEntry& entry, uint32_t pasid, const Request& request,
                                 WarmState* warm, CachedLeaf* leaf) const {
  const bool pass_through = entry.type == TranslationType::kPassThrough;
  // AW of n levels covers 12 + 9n address bits; a pass-through address is a host address as it is.
  const int width =
      pass_through ? capabilities_.host_address_width()
                   : std::min(LevelShift(entry.levels + 1), capabilities_.guest_address_width());
  if (request.address >> width) return kInputBeyondWidth;

  DomainCache* cache = nullptr;
  if (warm != nullptr) {
    cache = &warm->caches.domain(entry.domain_id);
    if (const CachedLeaf* hit = cache->FindLeaf(pasid, request.address)) {
      ++warm->counters.iotlb_hits;
      *leaf = *hit;
      return CheckPermission(*leaf, request.write);
    }
    ++warm->counters.iotlb_misses;
  }
  if (pass_through) {
    const uint64_t page = request.address >> kPageShift << kPageShift;
    *leaf = CachedLeaf{PhysAddr{page}, true, true, 1};
    if (cache != nullptr) cache->InsertPassThrough(pasid, request.address);
    return kNoFault;
  }
  const FaultReason fault =
      WalkSecondStage(memory_, capabilities_, entry, request.address, request.write, cache, leaf);
  if (fault == kNoFault && cache != nullptr) cache->InsertLeaf(request.address, *leaf);
  return fault;
}

}  // namespace viommu::hardware
