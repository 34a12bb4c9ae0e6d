#include "engine/entries/smmu_cd.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace viommu::smmu {
namespace {

// How the table of TTB0 is walked; unused without it.
constexpr uint64_t kWalkMask = kCdInputSize.mask() | kCdGranule.mask() | kCdInnerCache.mask() |
                               kCdOuterCache.mask() | kCdShareability.mask();

uint64_t WalkBits(const CdFields& fields) {
  const uint64_t cache = fields.coherent_walks ? kWriteBackAllocate : kNonCacheable;
  return kCdInputSize.Put(static_cast<uint64_t>(64 - fields.input_bits)) |
         kCdGranule.Put(TableGranuleCode(fields.granule)) | kCdInnerCache.Put(cache) |
         kCdOuterCache.Put(cache) |
         kCdShareability.Put(fields.coherent_walks ? kInnerShareable : kOuterShareable);
}

}  // namespace

Cd MakeCd(const CdFields& fields) {
  return {WalkBits(fields) | kCdNoTable1 | kCdValid |
              kCdAddressSize.Put(AddressSizeCode(fields.output_bits)) | kCdAarch64 |
              (fields.hardware_dirty ? kCdHardwareDirty | kCdHardwareAccess : 0) |
              (fields.stall ? kCdStall : 0) | kCdRecordFaults | kCdAbort | kCdPrivateAsid |
              kCdAsid.Put(fields.asid),
          fields.root.value & kCdTableMask, 0, kCdMemoryAttributes};
}

Cd MakeReleasedCd(const CdFields& fields, bool stall_forced) {
  Cd cd = MakeCd(fields);
  cd[0] = (cd[0] & ~kWalkMask) | kCdNoTable0;
  if (!stall_forced) cd[0] &= ~(kCdStall | kCdRecordFaults);
  cd[1] = 0;
  return cd;
}

Cd CdArchitecture::UsedBits(const Cd& entry) {
  if (!IsValidCd(entry)) return {kCdValid};
  Cd used;
  used.fill(~uint64_t{0});
  if (!HasTable(entry)) {
    used[0] &= ~kWalkMask;
    used[1] &= ~kCdTableMask;
  }
  return used;
}

uint64_t MakeCdL1Descriptor(PhysAddr table) { return (table.value & kCdL1TableMask) | kCdL1Valid; }

std::string DescribeCd(const Cd& cd) {
  if (!IsValidCd(cd)) return "not valid";
  std::string text = absl::StrCat("valid, ASID ", AsidOf(cd));
  if (HasTable(cd)) {
    absl::StrAppendFormat(&text, ", table 0x%x (%s, %d to %d bits)", Stage1RootOf(cd),
                          TableGranuleName(kCdGranule.Get(cd[0])),
                          64 - static_cast<int>(kCdInputSize.Get(cd[0])),
                          AddressBits(kCdAddressSize.Get(cd[0])));
  } else {
    absl::StrAppend(&text, ", no table: every access faults");
  }
  if ((cd[0] & kCdHardwareDirty) != 0) absl::StrAppend(&text, ", dirty tracking");
  if ((cd[0] & kCdStall) != 0) absl::StrAppend(&text, ", faults stall");
  if ((cd[0] & kCdRecordFaults) == 0) absl::StrAppend(&text, ", faults not recorded");
  return text;
}

std::string DescribeCdL1Descriptor(uint64_t descriptor, size_t cds) {
  if (!IsValidCdL1(descriptor)) return "not valid";
  return absl::StrFormat("valid, %d CDs at 0x%x", cds, CdL1TableOf(descriptor));
}

}  // namespace viommu::smmu
