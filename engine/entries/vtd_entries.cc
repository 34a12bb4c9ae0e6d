#include "engine/entries/vtd_entries.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace viommu::vtd {
namespace {

// Second-stage table words (VT-d 9.8; vtdss.h).
constexpr uint64_t kSecondStageRead = 1 << 0;
constexpr uint64_t kSecondStageWrite = 1 << 1;
constexpr uint64_t kSecondStagePageSize = 1 << 7;
constexpr uint64_t kSecondStageAccessed = 1 << 8;
constexpr uint64_t kSecondStageDirty = 1 << 9;
constexpr uint64_t kSecondStageSnoop = 1 << 11;
constexpr uint64_t kTableAddressMask = 0x000f'ffff'ffff'f000;

// First-stage table words (VT-d 9.7; x86_64.h).
constexpr uint64_t kFirstStagePresent = 1 << 0;
constexpr uint64_t kFirstStageWrite = 1 << 1;
constexpr uint64_t kFirstStageUser = 1 << 2;
constexpr uint64_t kFirstStageAccessed = 1 << 5;
constexpr uint64_t kFirstStageDirty = 1 << 6;
constexpr uint64_t kFirstStagePageSize = 1 << 7;

constexpr uint64_t kFiveLevels = 1;  // FLPM; 0 is four.

uint64_t PasidWord0(PasidType type, int levels) {
  return kPresent | uint64_t{AddressWidthOf(levels)} << kPasidAddressWidthShift |
         static_cast<uint64_t>(type) << kPasidTypeShift;
}

uint64_t PasidWord1(uint16_t domain_id, bool page_walk_snoop, bool force_snoop) {
  return domain_id | (page_walk_snoop ? kPasidPageWalkSnoop : 0) |
         (force_snoop ? kPasidPageSnoop : 0);
}

uint64_t PasidWord2(uint64_t first_stage_root, int levels) {
  return first_stage_root | (levels == 5 ? kFiveLevels << kPasidFirstStageLevelsShift : 0);
}

const char* LeafSize(int level) {
  return level == 3 ? ", 1 GiB" : level == 2 ? ", 2 MiB" : ", 4 KiB";
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

ContextEntry MakeContextEntry(const ContextFields& fields) {
  return {fields.pasid_directory.value | static_cast<uint64_t>(fields.pdts) << kContextPdtsShift |
              (fields.pasids ? kContextPasids : 0) | (fields.device_tlb ? kContextDeviceTlb : 0) |
              (fields.page_requests ? kContextPageRequests : 0) | kPresent,
          0, 0, 0};
}

uint64_t MakePasidDirectoryEntry(PhysAddr pasid_table) { return pasid_table.value | kPresent; }

PasidEntry MakeBlockedEntry() { return {}; }

PasidEntry MakePassThroughEntry(const PassThroughFields& fields) {
  return {PasidWord0(PasidType::kPassThrough, fields.levels),
          PasidWord1(kPassThroughDomainId, fields.page_walk_snoop, false)};
}

PasidEntry MakeSecondStageEntry(const SecondStageFields& fields) {
  return {PasidWord0(PasidType::kSecondStage, fields.levels) | fields.root.value |
              (fields.track_dirty ? kPasidSecondStageDirty : 0),
          PasidWord1(fields.domain_id, fields.page_walk_snoop, false)};
}

PasidEntry MakeFirstStageEntry(const FirstStageFields& fields) {
  return {PasidWord0(PasidType::kFirstStage, fields.unit_levels),
          PasidWord1(fields.domain_id, fields.page_walk_snoop, fields.force_snoop),
          PasidWord2(fields.root.value, fields.levels)};
}

PasidEntry MakeNestedEntry(const NestedFields& fields) {
  const uint64_t flags = (fields.supervisor ? kPasidSupervisor : 0) |
                         (fields.supervisor && fields.write_protect ? kPasidWriteProtect : 0) |
                         (fields.extended_access ? kPasidExtendedAccess : 0);
  return {PasidWord0(PasidType::kNested, fields.second_stage_levels) |
              fields.second_stage_root.value | (fields.track_dirty ? kPasidSecondStageDirty : 0),
          PasidWord1(fields.domain_id, fields.page_walk_snoop, fields.force_snoop),
          PasidWord2(fields.first_stage_root, fields.first_stage_levels) | flags};
}

int LevelsOf(const PasidEntry& entry) {
  const uint64_t width = (entry[0] & kPasidAddressWidthMask) >> kPasidAddressWidthShift;
  return width >= 1 && width <= 3 ? static_cast<int>(width) + 2 : 0;
}

int FirstStageLevelsOf(const PasidEntry& entry) {
  const uint64_t mode = (entry[2] & kPasidFirstStageLevelsMask) >> kPasidFirstStageLevelsShift;
  return mode <= kFiveLevels ? static_cast<int>(mode) + 4 : 0;
}

PasidEntry PasidArchitecture::UsedBits(const PasidEntry& entry) {
  PasidEntry used = {kPresent | kFaultDisable};
  if (!IsPresent(entry)) return used;
  used[0] |= kPasidAddressWidthMask | kPasidTypeMask;
  used[1] |= kPasidDomainIdMask | kPasidPageWalkSnoop | kPasidPageSnoop;
  const PasidType type = TypeOf(entry);
  if (HasSecondStage(type)) used[0] |= kPasidSecondStageDirty | kPointerMask;
  if (HasFirstStage(type)) used[2] |= kPasidFirstStageFlags | kPointerMask;
  return used;
}

std::string DescribeRootHalf(uint64_t half) {
  return PresentThen(half & ~kFaultDisable,
                     absl::StrCat(", context table ", Hex(half & kPointerMask)));
}

std::string DescribeContextEntry(const ContextEntry& entry) {
  const int pdts = static_cast<int>(entry[0] >> kContextPdtsShift & 7);
  std::string fields =
      absl::StrFormat(", PASID directory 0x%x of %d entries, RID_PASID %d", entry[0] & kPointerMask,
                      128 << pdts, entry[1] & kContextRidPasidMask);
  if ((entry[0] & kContextPasids) != 0) absl::StrAppend(&fields, ", PASIDs");
  if ((entry[0] & kContextDeviceTlb) != 0) absl::StrAppend(&fields, ", device TLB");
  if ((entry[0] & kContextPageRequests) != 0) absl::StrAppend(&fields, ", page requests");
  return PresentThen(entry[0], fields);
}

std::string DescribePasidDirectoryEntry(uint64_t entry) {
  return PresentThen(entry, absl::StrCat(", PASID table ", Hex(entry & kPointerMask)));
}

std::string DescribePasidEntry(const PasidEntry& entry) {
  const PasidType type = TypeOf(entry);
  std::string fields = absl::StrFormat(", %s, %d levels, domain id %d", NameOf(type),
                                       LevelsOf(entry), DomainIdOf(entry));
  if (HasSecondStage(type)) {
    absl::StrAppend(&fields, ", second-stage table ", Hex(entry[0] & kPointerMask));
    if ((entry[0] & kPasidSecondStageDirty) != 0) absl::StrAppend(&fields, ", dirty tracking");
  }
  if (HasFirstStage(type)) {
    absl::StrAppend(&fields, ", first-stage table ", Hex(entry[2] & kPointerMask), " of ",
                    FirstStageLevelsOf(entry), " levels");
    if ((entry[2] & kPasidSupervisor) != 0) absl::StrAppend(&fields, ", privileged requests");
    if ((entry[2] & kPasidWriteProtect) != 0) absl::StrAppend(&fields, ", write protection");
    if ((entry[2] & kPasidExtendedAccess) != 0) absl::StrAppend(&fields, ", extended access");
  }
  if ((entry[1] & kPasidPageWalkSnoop) != 0) absl::StrAppend(&fields, ", walks snoop");
  if ((entry[1] & kPasidPageSnoop) != 0) absl::StrAppend(&fields, ", pages snoop");
  return PresentThen(entry[0], fields);
}

std::string DescribeSecondStageEntry(uint64_t entry, int level) {
  if ((entry & (kSecondStageRead | kSecondStageWrite)) == 0) return "not present";
  const bool leaf = level == 1 || (entry & kSecondStagePageSize) != 0;
  std::string text = absl::StrFormat(
      "%s 0x%x, %s%s", leaf ? "page" : "table", entry & kTableAddressMask,
      (entry & kSecondStageRead) != 0 ? "R" : "-", (entry & kSecondStageWrite) != 0 ? "W" : "-");
  if (leaf) absl::StrAppend(&text, LeafSize(level));
  if ((entry & kSecondStageSnoop) != 0) absl::StrAppend(&text, ", snooped");
  if ((entry & kSecondStageAccessed) != 0) absl::StrAppend(&text, ", accessed");
  if ((entry & kSecondStageDirty) != 0) absl::StrAppend(&text, ", dirty");
  return text;
}

std::string DescribeFirstStageEntry(uint64_t entry, int level) {
  if ((entry & kFirstStagePresent) == 0) return "not present";
  const bool leaf = level == 1 || (entry & kFirstStagePageSize) != 0;
  std::string text =
      absl::StrFormat("%s 0x%x, R%s, %s", leaf ? "page" : "table", entry & kTableAddressMask,
                      (entry & kFirstStageWrite) != 0 ? "W" : "-",
                      (entry & kFirstStageUser) != 0 ? "user" : "supervisor");
  if (leaf) absl::StrAppend(&text, LeafSize(level));
  if ((entry & kFirstStageAccessed) != 0) absl::StrAppend(&text, ", accessed");
  if (leaf && (entry & kFirstStageDirty) != 0) absl::StrAppend(&text, ", dirty");
  return text;
}

}  // namespace viommu::vtd
