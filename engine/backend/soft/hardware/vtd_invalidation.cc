#include "engine/backend/soft/hardware/vtd_invalidation.h"

#include "engine/base/address.h"

namespace viommu::hardware {
namespace {

// Reserved bits of the first two words.
constexpr uint64_t kContextReserved0 = 0xfffc00000000ffc0;
constexpr uint64_t kIotlbReserved0 = 0xffffffff0000ff00;
constexpr uint64_t kPasidIotlbReserved0 = 0xfff000000000f1c0;
constexpr uint64_t kPasidCacheReserved0 = 0xfff000000000f1c0;
constexpr uint64_t kAddressReserved1 = 0xf80;  // AM 5:0, IH 6, ADDR 63:12.
// Queue depth and the physical function throttle only, which the model has no need of.
constexpr uint64_t kDeviceTlbReserved0 = Bits(8, 4) | Bits(31, 21) | Bits(51, 48);
constexpr uint64_t kDeviceTlbReserved1 = Bits(11, 1);
constexpr uint64_t kPasidDeviceTlbReserved1 = Bits(10, 1);

constexpr uint64_t kDeviceTlbSize = Bit(0);         // S of type 3,
constexpr uint64_t kPasidDeviceTlbSize = Bit(11);   // of type 8.
constexpr uint64_t kPasidDeviceTlbGlobal = Bit(0);  // G: whatever the PASID.

constexpr uint64_t kInvalidationHint = Bit(6);  // IH: only leaves changed.

uint64_t Granularity(const Descriptor& d) { return Field(d.word[0], 5, 4); }
uint16_t DomainId(const Descriptor& d) { return static_cast<uint16_t>(Field(d.word[0], 31, 16)); }
uint32_t Pasid(const Descriptor& d) { return static_cast<uint32_t>(Field(d.word[0], 51, 32)); }
int AddressMask(const Descriptor& d) { return static_cast<int>(Field(d.word[1], 5, 0)); }

bool HasReservedBits(const Descriptor& d, uint64_t reserved0, uint64_t reserved1) {
  return (d.word[0] & reserved0) || (d.word[1] & reserved1) || d.word[2] || d.word[3];
}

// 2^AM pages around the address, whose bits below that size do not count.
IovaRange PageRange(const Descriptor& d) {
  const int shift = kPageShift + AddressMask(d);
  if (shift >= 64) return {0, kMaxAddress};
  const uint64_t first = d.word[1] >> shift << shift;
  return {first, first | ((uint64_t{1} << shift) - 1)};
}

// One page, or with S as many as the lowest zero among the address bits says, itself included.
IovaRange DeviceTlbRange(uint64_t word1, bool sized) {
  const uint64_t address = word1 & Bits(63, 12);
  if (!sized) return {address, address | Bits(11, 0)};
  int top = kPageShift;
  while (top < 64 && (address & Bit(top))) ++top;
  if (top >= 63) return {0, kMaxAddress};
  return {address & ~Bits(top, 0), address | Bits(top, 0)};
}

bool ApplyContextCache(const Descriptor& d, TranslationCaches* caches) {
  // Function mask (FM): how many bits of the function number, from the top, are not compared.
  static constexpr uint16_t kIgnoredBits[4] = {0, 4, 6, 7};
  if (HasReservedBits(d, kContextReserved0, ~uint64_t{0})) return false;
  switch (Granularity(d)) {
    case 1:
      caches->DropAllContexts();
      return true;
    case 2:
      caches->DropContextsOnly();
      return true;
    case 3:
      caches->DropContexts(static_cast<uint16_t>(Field(d.word[0], 47, 32)),
                           kIgnoredBits[Field(d.word[0], 49, 48)]);
      return true;
  }
  return false;
}

bool ApplyIotlb(const Descriptor& d, const Capabilities& capabilities, TranslationCaches* caches) {
  if (HasReservedBits(d, kIotlbReserved0, kAddressReserved1)) return false;
  switch (Granularity(d)) {
    case 1:
      caches->DropAllDomains();
      return true;
    case 2:
      caches->DropDomain(DomainId(d));
      return true;
    case 3:
      if (!capabilities.page_selective()) return false;
      if (AddressMask(d) > capabilities.max_address_mask()) return false;
      caches->domain(DomainId(d)).DropRange(PageRange(d), d.word[1] & kInvalidationHint);
      return true;
  }
  return false;
}

// Reaches first-stage, nested and pass-through translations, never those of a second stage alone.
bool ApplyPasidIotlb(const Descriptor& d, TranslationCaches* caches) {
  if (HasReservedBits(d, kPasidIotlbReserved0, kAddressReserved1)) return false;
  switch (Granularity(d)) {
    case 2:
      caches->domain(DomainId(d)).DropPasid(Pasid(d));
      return true;
    case 3:
      caches->domain(DomainId(d))
          .DropPasidRange(Pasid(d), PageRange(d), d.word[1] & kInvalidationHint);
      return true;
  }
  return false;
}

bool ApplyDeviceTlb(const Descriptor& d, DeviceTlbs* device_tlbs) {
  if (HasReservedBits(d, kDeviceTlbReserved0, kDeviceTlbReserved1)) return false;
  const auto tlb = device_tlbs->find(*DeviceTlbTargetOf(d));
  if (tlb == device_tlbs->end() || !tlb->second.answers()) return true;
  tlb->second.DropWithoutPasid(DeviceTlbRange(d.word[1], d.word[1] & kDeviceTlbSize));
  return true;
}

bool ApplyPasidDeviceTlb(const Descriptor& d, DeviceTlbs* device_tlbs) {
  if (HasReservedBits(d, 0, kPasidDeviceTlbReserved1)) return false;
  const auto tlb = device_tlbs->find(*DeviceTlbTargetOf(d));
  if (tlb == device_tlbs->end() || !tlb->second.answers()) return true;
  const IovaRange range = DeviceTlbRange(d.word[1], d.word[1] & kPasidDeviceTlbSize);
  if (d.word[1] & kPasidDeviceTlbGlobal) {
    tlb->second.DropAllPasids(range);
  } else {
    tlb->second.DropPasid(Pasid(d), range);
  }
  return true;
}

bool ApplyPasidCache(const Descriptor& d, TranslationCaches* caches) {
  if (HasReservedBits(d, kPasidCacheReserved0, ~uint64_t{0})) return false;
  switch (Granularity(d)) {
    case 0:
      caches->DropPasids(DomainId(d));
      return true;
    case 1:
      caches->DropPasids(DomainId(d), Pasid(d));
      return true;
    case 3:
      caches->DropAllPasids();
      return true;
  }
  return false;
}

}  // namespace

std::optional<uint16_t> DeviceTlbTargetOf(const Descriptor& descriptor) {
  switch (descriptor.type()) {
    case kDeviceTlb:
      return static_cast<uint16_t>(Field(descriptor.word[0], 47, 32));
    case kPasidDeviceTlb:
      return static_cast<uint16_t>(Field(descriptor.word[0], 31, 16));
  }
  return std::nullopt;
}

bool ApplyInvalidation(const Descriptor& descriptor, const Capabilities& capabilities,
                       TranslationCaches* caches, DeviceTlbs* device_tlbs) {
  switch (descriptor.type()) {
    case kContextCache:
      return ApplyContextCache(descriptor, caches);
    case kIotlb:
      return ApplyIotlb(descriptor, capabilities, caches);
    case kPasidIotlb:
      return ApplyPasidIotlb(descriptor, caches);
    case kDeviceTlb:
      return capabilities.device_tlbs() && ApplyDeviceTlb(descriptor, device_tlbs);
    case kPasidDeviceTlb:
      return capabilities.device_tlbs() && ApplyPasidDeviceTlb(descriptor, device_tlbs);
    case kPasidCache:
      return ApplyPasidCache(descriptor, caches);
  }
  return false;
}

}  // namespace viommu::hardware
