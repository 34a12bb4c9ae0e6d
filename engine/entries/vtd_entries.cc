#include "engine/entries/vtd_entries.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace viommu::vtd {
namespace {

// Second-stage table words (VT-d 9.8; vtdss.h).
constexpr uint64_t kSecondStageRead = 1 << 0;
constexpr uint64_t kSecondStageWrite = 1 << 1;
constexpr uint64_t kSecondStagePageSize = 1 << 7;
constexpr uint64_t kSecondStageSnoop = 1 << 11;
constexpr uint64_t kSecondStageAddressMask = 0x000f'ffff'ffff'f000;

uint64_t PasidWord0(PasidType type, int levels) {
  return kPresent | uint64_t{AddressWidthOf(levels)} << kPasidAddressWidthShift |
         static_cast<uint64_t>(type) << kPasidTypeShift;
}

uint64_t PasidWord1(uint16_t domain_id, bool page_walk_snoop) {
  return domain_id | (page_walk_snoop ? kPasidPageWalkSnoop : 0);
}

const char* NameOf(PasidType type) {
  switch (type) {
    case PasidType::kFirstStage:
      return "first stage";
    case PasidType::kSecondStage:
      return "second stage";
    case PasidType::kNested:
      return "nested";
    case PasidType::kPassThrough:
      return "pass-through";
  }
  return "reserved type";
}

std::string PresentThen(uint64_t word, const std::string& fields) {
  const char* faults = (word & kFaultDisable) != 0 ? ", faults not recorded" : "";
  if ((word & kPresent) == 0) return absl::StrCat("not present", faults);
  return absl::StrCat("present", faults, fields);
}

}  // namespace

uint64_t MakeRootHalf(PhysAddr context_table) { return context_table.value | kPresent; }

ContextEntry MakeContextEntry(PhysAddr pasid_directory, int pdts) {
  return {pasid_directory.value | static_cast<uint64_t>(pdts) << kContextPdtsShift | kPresent, 0, 0,
          0};
}

uint64_t MakePasidDirectoryEntry(PhysAddr pasid_table) { return pasid_table.value | kPresent; }

PasidEntry MakeBlockedEntry() { return {}; }

PasidEntry MakePassThroughEntry(const PassThroughFields& fields) {
  return {PasidWord0(PasidType::kPassThrough, fields.levels),
          PasidWord1(kPassThroughDomainId, fields.page_walk_snoop)};
}

PasidEntry MakeSecondStageEntry(const SecondStageFields& fields) {
  return {PasidWord0(PasidType::kSecondStage, fields.levels) | fields.root.value,
          PasidWord1(fields.domain_id, fields.page_walk_snoop)};
}

int LevelsOf(const PasidEntry& entry) {
  const uint64_t width = (entry[0] & kPasidAddressWidthMask) >> kPasidAddressWidthShift;
  return width >= 1 && width <= 3 ? static_cast<int>(width) + 2 : 0;
}

PasidEntry PasidArchitecture::UsedBits(const PasidEntry& entry) {
  PasidEntry used = {kPresent | kFaultDisable};
  if (!IsPresent(entry)) return used;
  used[0] |= kPasidAddressWidthMask | kPasidTypeMask;
  used[1] |= kPasidDomainIdMask | kPasidPageWalkSnoop | kPasidPageSnoop;
  const PasidType type = TypeOf(entry);
  if (type == PasidType::kSecondStage || type == PasidType::kNested) {
    used[0] |= kPasidSecondStageDirty | kPointerMask;
  }
  if (type == PasidType::kFirstStage || type == PasidType::kNested) {
    used[2] |= kPasidFirstStageFlags | kPointerMask;
  }
  return used;
}

std::string DescribeRootHalf(uint64_t half) {
  return PresentThen(half & ~kFaultDisable,
                     absl::StrCat(", context table ", Hex(half & kPointerMask)));
}

std::string DescribeContextEntry(const ContextEntry& entry) {
  const int pdts = static_cast<int>(entry[0] >> kContextPdtsShift & 7);
  return PresentThen(entry[0], absl::StrFormat(", PASID directory 0x%x of %d entries, RID_PASID %d",
                                               entry[0] & kPointerMask, 128 << pdts,
                                               entry[1] & kContextRidPasidMask));
}

std::string DescribePasidDirectoryEntry(uint64_t entry) {
  return PresentThen(entry, absl::StrCat(", PASID table ", Hex(entry & kPointerMask)));
}

std::string DescribePasidEntry(const PasidEntry& entry) {
  const PasidType type = TypeOf(entry);
  std::string fields = absl::StrFormat(", %s, %d levels, domain id %d", NameOf(type),
                                       LevelsOf(entry), DomainIdOf(entry));
  if (type == PasidType::kSecondStage || type == PasidType::kNested) {
    absl::StrAppend(&fields, ", second-stage table ", Hex(entry[0] & kPointerMask));
  }
  if (type == PasidType::kFirstStage || type == PasidType::kNested) {
    absl::StrAppend(&fields, ", first-stage table ", Hex(entry[2] & kPointerMask));
  }
  if ((entry[1] & kPasidPageWalkSnoop) != 0) absl::StrAppend(&fields, ", walks snoop");
  return PresentThen(entry[0], fields);
}

std::string DescribeSecondStageEntry(uint64_t entry, int level) {
  if ((entry & (kSecondStageRead | kSecondStageWrite)) == 0) return "not present";
  const bool leaf = level == 1 || (entry & kSecondStagePageSize) != 0;
  std::string text = absl::StrFormat(
      "%s 0x%x, %s%s", leaf ? "page" : "table", entry & kSecondStageAddressMask,
      (entry & kSecondStageRead) != 0 ? "R" : "-", (entry & kSecondStageWrite) != 0 ? "W" : "-");
  if (leaf) absl::StrAppend(&text, level == 3 ? ", 1 GiB" : level == 2 ? ", 2 MiB" : ", 4 KiB");
  if ((entry & kSecondStageSnoop) != 0) absl::StrAppend(&text, ", snooped");
  return text;
}

}  // namespace viommu::vtd
