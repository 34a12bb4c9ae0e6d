#include "engine/pagetable/arm_lpae_describe.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/pagetable/arm_lpae.h"
#include "engine/pagetable/arm_stage1.h"
#include "engine/pagetable/arm_stage2.h"

namespace viommu {
namespace {

// What a table forbids to all below it, stage 1 only [arm D8.3.1].
constexpr uint64_t kTableNoUnprivileged = uint64_t{1} << 61;  // APTable[0]
constexpr uint64_t kTableNoWrites = uint64_t{1} << 62;        // APTable[1]

enum class Kind { kNotPresent, kReserved, kTable, kLeaf };

int ShiftOf(int level, int granule_log2) { return granule_log2 + (3 - level) * (granule_log2 - 3); }

Kind KindOf(uint64_t entry, int level, int granule_log2) {
  if ((entry & lpae::kValid) == 0) return Kind::kNotPresent;
  if ((entry & lpae::kTableOrPage) != 0) return level == 3 ? Kind::kLeaf : Kind::kTable;
  const bool block =
      level < 3 && (lpae::PageSizes(granule_log2) >> ShiftOf(level, granule_log2) & 1) != 0;
  return block ? Kind::kLeaf : Kind::kReserved;
}

std::string SizeOf(int shift) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB"};
  return absl::StrFormat("%d %s", 1 << shift % 10, kUnits[shift / 10]);
}

// A leaf's kind, address, permission and size.
std::string LeafOf(uint64_t entry, int level, int granule_log2, bool read, bool write) {
  const int shift = ShiftOf(level, granule_log2);
  return absl::StrFormat("%s 0x%x, %s%s, %s", level == 3 ? "page" : "block",
                         entry & lpae::kAddress & -(uint64_t{1} << shift), read ? "R" : "-",
                         write ? "W" : "-", SizeOf(shift));
}

std::string TableOf(uint64_t entry, int granule_log2) {
  return absl::StrFormat("table 0x%x", entry & lpae::kAddress & -(uint64_t{1} << granule_log2));
}

std::string ShareabilityOf(uint64_t entry) {
  constexpr const char* kNames[] = {"not shareable", "reserved shareability", "outer shareable",
                                    "inner shareable"};
  return kNames[(entry & lpae::kShareabilityMask) >> 8];
}

std::string Stage1MemoryOf(uint64_t entry) {
  constexpr const char* kNames[] = {"non-cacheable", "write-back", "device", "outer write-back"};
  const uint64_t index = entry >> lpae::kAttributeShift & 7;
  return index < 4 ? kNames[index] : absl::StrCat("memory attribute ", index);
}

std::string Stage2MemoryOf(uint64_t entry, bool force_write_back) {
  const uint64_t attributes = entry >> lpae::kMemAttrShift & 0xf;
  if (attributes == lpae::kMemAttrDevice) return "device";
  if (force_write_back) {
    if (attributes == lpae::kMemAttrForcedWriteBack) return "write-back forced";
  } else {
    if (attributes == lpae::kMemAttrWriteBack) return "write-back";
    if (attributes == lpae::kMemAttrNonCacheable) return "non-cacheable";
  }
  return absl::StrCat("memory attribute ", attributes);
}

// What both stages tell at the end.
std::string EndOf(uint64_t entry) {
  std::string text;
  if ((entry & lpae::kExecuteNever) != 0) absl::StrAppend(&text, ", no execution");
  if ((entry & lpae::kAccessed) == 0) absl::StrAppend(&text, ", not accessed: faults");
  return text;
}

std::string Stage1LeafOf(uint64_t entry, int level, int granule_log2) {
  const bool tracked = (entry & lpae::kDirtyModifier) != 0;
  const bool read_only = (entry & lpae::kReadOnly) != 0;
  std::string text = absl::StrCat(LeafOf(entry, level, granule_log2, true, tracked || !read_only),
                                  ", ", Stage1MemoryOf(entry), ", ", ShareabilityOf(entry));
  if (tracked) absl::StrAppend(&text, read_only ? ", clean" : ", dirty");
  if ((entry & lpae::kUnprivileged) == 0) absl::StrAppend(&text, ", privileged only");
  if ((entry & lpae::kNotGlobal) == 0) absl::StrAppend(&text, ", global");
  return absl::StrCat(text, EndOf(entry));
}

}  // namespace

std::string DescribeArmStage1Entry(uint64_t entry, int level, int granule_log2) {
  switch (KindOf(entry, level, granule_log2)) {
    case Kind::kNotPresent:
      return "not present";
    case Kind::kReserved:
      return "reserved: not present";
    case Kind::kTable:
      return absl::StrCat(TableOf(entry, granule_log2),
                          (entry & kTableNoWrites) != 0 ? ", no writes" : "",
                          (entry & kTableNoUnprivileged) != 0 ? ", privileged only" : "");
    case Kind::kLeaf:
      break;
  }
  return Stage1LeafOf(entry, level, granule_log2);
}

std::string DescribeArmStage2Entry(uint64_t entry, int level, int granule_log2,
                                   bool force_write_back) {
  switch (KindOf(entry, level, granule_log2)) {
    case Kind::kNotPresent:
      return "not present";
    case Kind::kReserved:
      return "reserved: not present";
    case Kind::kTable:
      return TableOf(entry, granule_log2);
    case Kind::kLeaf:
      break;
  }
  const bool read = (entry & lpae::kStage2Read) != 0;
  const bool write = (entry & lpae::kStage2Write) != 0;
  return absl::StrCat(LeafOf(entry, level, granule_log2, read, write), ", ",
                      Stage2MemoryOf(entry, force_write_back), ", ", ShareabilityOf(entry),
                      EndOf(entry));
}

}  // namespace viommu
