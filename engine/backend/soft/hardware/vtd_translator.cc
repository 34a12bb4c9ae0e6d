#include "engine/backend/soft/hardware/vtd_translator.h"

#include <algorithm>

#include "engine/backend/soft/hardware/vtd_first_stage.h"
#include "engine/backend/soft/hardware/vtd_second_stage.h"

namespace viommu::hardware {
namespace {

constexpr uint64_t kPageBytes = uint64_t{1} << kPageShift;
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

// What passes to where it says: to the end of its page.
Translation Unchanged(uint64_t address) {
  Translation translation;
  translation.physical = PhysAddr{address};
  translation.size_bytes = kPageBytes - address % kPageBytes;
  return translation;
}

// Whether `address` has the same bit everywhere from bit `width` - 1 up.
bool IsCanonical(uint64_t address, int width) {
  const uint64_t upper = Bits(63, width - 1);
  return (address & upper) == 0 || (address & upper) == upper;
}

// log2 of what a device TLB may keep of a page: of a large one that holds interrupt messages too,
// only the 4 KiB asked for.
int PageShiftForDevice(const CachedLeaf& leaf) {
  const uint64_t last = leaf.page.value | (Bit(LevelShift(leaf.level)) - 1);
  const bool holds_messages = leaf.page.value <= kInterruptLast && kInterruptFirst <= last;
  return holds_messages ? kPageShift : LevelShift(leaf.level);
}

}  // namespace

bool IsInterruptMessage(const Request& request) {
  return !request.pasid.has_value() && InInterruptRange(request.address);
}

Translation Translator::Translate(uint64_t root, bool enabled, const Request& request,
                                  WarmState* warm, bool* fault_disable, Trace* trace) const {
  if (request.type == AddressType::kTranslated && enabled) {
    return CheckTranslated(root, request, warm, fault_disable, trace);
  }
  if (IsInterruptMessage(request)) return InterruptAccess(request);
  if (!enabled) return Unchanged(request.address);
  Translation translation;
  CachedLeaf leaf;
  if (const FaultReason fault = Resolve(root, request, warm, fault_disable, trace, &leaf)) {
    return Faulted(fault);
  }
  translation.page_shift = PageShiftForDevice(leaf);
  translation.read = leaf.read;
  // A device is not to write before the tables say that the page is dirty.
  translation.write = leaf.write && leaf.first_write && leaf.dirty;
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

Translation Translator::CheckTranslated(uint64_t root, const Request& request, WarmState* warm,
                                        bool* fault_disable, Trace* trace) const {
  ContextEntry context;
  const FaultReason fault = FindContext(root, request, warm, trace, &context);
  *fault_disable = context.fault_disable;
  if (fault != kNoFault) return Faulted(fault);
  if (!context.device_tlb) return Faulted(kDeviceTlbDisabled);
  if (InInterruptRange(request.address)) return Faulted(kInterruptRange);
  return Unchanged(request.address);
}

FaultReason Translator::CheckPageRequest(uint64_t root, const PageRequest& request, WarmState* warm,
                                         bool* fault_disable) const {
  Request message;
  message.source_id = request.source_id;
  message.pasid = request.pasid;
  message.address = request.address;
  ContextEntry context;
  const FaultReason fault = FindContext(root, message, warm, nullptr, &context);
  *fault_disable = context.fault_disable;
  if (fault != kNoFault) return fault;
  if (!context.page_requests) return kPageRequestsDisabled;
  if (!request.pasid.has_value()) return kNoFault;
  if (!context.pasids_enabled) return kPasidRequestsDisabled;
  return *request.pasid < context.pasid_limit ? kNoFault : kPasidBeyondDirectory;
}

FaultReason Translator::Resolve(uint64_t root, const Request& request, WarmState* warm,
                                bool* fault_disable, Trace* trace, CachedLeaf* leaf) const {
  ContextEntry context;
  FaultReason fault = FindContext(root, request, warm, trace, &context);
  *fault_disable = context.fault_disable;
  if (fault != kNoFault) return fault;
  if (request.type != AddressType::kUntranslated && !context.device_tlb) return kDeviceTlbDisabled;

  if (request.pasid.has_value() && !context.pasids_enabled) return kPasidRequestsDisabled;
  const uint32_t pasid = request.pasid.value_or(context.rid_pasid);
  if (pasid >= context.pasid_limit) {
    return request.pasid.has_value() ? kPasidBeyondDirectory : kRidPasidInvalid;
  }
  PasidEntry entry;
  fault = FindPasidEntry(context, request, pasid, warm, trace, &entry);
  *fault_disable |= entry.fault_disable;
  if (fault != kNoFault) return fault;
  const bool privileged = request.pasid.has_value() ? request.privileged : context.rid_privileged;
  if (entry.has_first_stage() && privileged && !entry.supervisor) return kSupervisorDisabled;
  if ((fault = CheckInput(entry, request.address)) != kNoFault) return fault;
  DomainCache* cache = warm == nullptr ? nullptr : &warm->caches.domain(entry.domain_id);
  const Walk walk{capabilities_, memory_, entry, pasid, request.write, privileged, cache, trace};
  fault = FindLeaf(walk, request.address, warm, leaf);
  // From here on the rights are those of this requester.
  if (privileged && !entry.write_protect) leaf->first_write = true;
  return fault;
}

FaultReason Translator::FindContext(uint64_t root, const Request& request, WarmState* warm,
                                    Trace* trace, ContextEntry* context) const {
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
                                              request.source_id, context, trace);
  if (fault == kNoFault && warm != nullptr) {
    warm->caches.InsertContext(request.source_id, *context);
  }
  return fault;
}

FaultReason Translator::FindPasidEntry(const ContextEntry& context, const Request& request,
                                       uint32_t pasid, WarmState* warm, Trace* trace,
                                       PasidEntry* entry) const {
  if (warm != nullptr) {
    if (const PasidEntry* hit = warm->caches.FindPasid(request.source_id, pasid)) {
      ++warm->counters.pasid_hits;
      *entry = *hit;
      return kNoFault;
    }
    ++warm->counters.pasid_misses;
  }
  const FaultReason fault = FetchPasidEntry(memory_, capabilities_, context, pasid, entry, trace);
  if (fault == kNoFault && warm != nullptr) {
    warm->caches.InsertPasid(request.source_id, pasid, *entry);
  }
  return fault;
}

FaultReason Translator::CheckInput(const PasidEntry& entry, uint64_t address) const {
  if (entry.has_first_stage()) {
    const int width = LevelShift(entry.first_stage_levels + 1);
    return IsCanonical(address, width) ? kNoFault : kNotCanonical;
  }
  // AW of n levels covers 12 + 9n address bits; a pass-through address is a host address as it is.
  const int width =
      entry.type == TranslationType::kPassThrough
          ? capabilities_.host_address_width()
          : std::min(LevelShift(entry.levels + 1), capabilities_.guest_address_width());
  return address >> width ? kInputBeyondWidth : kNoFault;
}

FaultReason Translator::FindLeaf(const Walk& walk, uint64_t address, WarmState* warm,
                                 CachedLeaf* leaf) const {
  if (walk.cache != nullptr) {
    const CachedLeaf* hit = walk.cache->FindLeaf(walk.pasid, address);
    if (hit != nullptr && (hit->dirty || !walk.write)) {
      ++warm->counters.iotlb_hits;
      *leaf = *hit;
      // The permission that the IOTLB remembers is the permission that counts.
      return CheckLeaf(walk, *leaf);
    }
    ++warm->counters.iotlb_misses;
  }
  return WalkTables(walk, address, leaf);
}

FaultReason Translator::WalkTables(const Walk& walk, uint64_t address, CachedLeaf* leaf) const {
  if (walk.entry.type == TranslationType::kPassThrough) {
    *leaf = CachedLeaf{PhysAddr{address >> kPageShift << kPageShift}, true, true, 1};
    if (walk.cache != nullptr) walk.cache->InsertPassThrough(walk.pasid, address);
    return kNoFault;
  }
  if (walk.entry.has_first_stage()) {
    const FaultReason fault = WalkFirstStage(walk, address, leaf);
    if (fault == kNoFault && walk.cache != nullptr) {
      walk.cache->InsertFirstStageLeaf(walk.pasid, address, *leaf);
    }
    return fault;
  }
  const FaultReason fault = WalkSecondStage(walk, address, walk.write, leaf);
  if (fault == kNoFault && walk.cache != nullptr) walk.cache->InsertLeaf(address, *leaf);
  return fault;
}

}  // namespace viommu::hardware
