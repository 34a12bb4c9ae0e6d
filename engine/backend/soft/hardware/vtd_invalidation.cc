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
      caches->domain(DomainId(d)).DropPassThrough(Pasid(d));
      return true;
    case 3:  // Pages of a first stage, which the model does not have.
      return true;
  }
  return false;
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

bool ApplyInvalidation(const Descriptor& descriptor, const Capabilities& capabilities,
                       TranslationCaches* caches) {
  switch (descriptor.type()) {
    case kContextCache:
      return ApplyContextCache(descriptor, caches);
    case kIotlb:
      return ApplyIotlb(descriptor, capabilities, caches);
    case kPasidIotlb:
      return ApplyPasidIotlb(descriptor, caches);
    case kPasidCache:
      return ApplyPasidCache(descriptor, caches);
  }
  return false;
}

}  // namespace viommu::hardware
