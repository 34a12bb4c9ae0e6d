#include "engine/backend/soft/vtd_table_image.h"

#include <algorithm>
#include <cstddef>
#include <iterator>

#include "engine/backend/soft/vtd_registers.h"
#include "engine/base/status_macros.h"

namespace viommu {
namespace {

constexpr uint64_t kPageBytes = TableImage::kPageBytes;
constexpr uint64_t kAddressMask = 0x000f'ffff'ffff'f000;
constexpr uint64_t kPageSize = uint64_t{1} << 7;  // Of both stages, above level 1.
constexpr uint64_t kSecondStageRead = 1;
constexpr uint64_t kSecondStageWrite = 2;
constexpr uint64_t kQueueSizeMask = 7;  // IQA.QS, PQA.PQS: log2 of the ring's pages.

template <typename Entry>
Entry EntryIn(const ImagePages::Words& words, size_t index) {
  Entry entry;
  std::copy_n(words.begin() + index * entry.size(), entry.size(), entry.begin());
  return entry;
}

int Shift(int level) { return 12 + 9 * (level - 1); }

bool IsPresent(uint64_t word, bool first_stage) {
  return (word & (first_stage ? vtd::kPresent : kSecondStageRead | kSecondStageWrite)) != 0;
}

// Whether a present entry of `level` leads to a table.
bool LeadsOn(uint64_t word, int level) { return level > 1 && (word & kPageSize) == 0; }

}  // namespace

absl::Status VtdTableCollector::Collect(const hardware::VtdModel& unit) {
  RETURN_IF_ERROR(Queue(unit.Read64(vtd::kQueueAddressRegister)));
  RETURN_IF_ERROR(Queue(unit.Read64(vtd::kPageRequestAddressRegister)));
  ASSIGN_OR_RETURN(const ImagePages::Words* root,
                   pages_.Copy(vtd::PointerIn(unit.Read64(vtd::kRootTableRegister))));
  if (root == nullptr) return absl::OkStatus();
  for (const uint64_t half : *root) {
    if ((half & vtd::kPresent) != 0) RETURN_IF_ERROR(ContextTable(vtd::PointerIn(half)));
  }
  return absl::OkStatus();
}

absl::Status VtdTableCollector::Queue(uint64_t queue_address) {
  if (queue_address == 0) return absl::OkStatus();  // A unit without page requests has no ring.
  const uint64_t pages = uint64_t{1} << (queue_address & kQueueSizeMask);
  for (uint64_t page = 0; page < pages; ++page) {
    RETURN_IF_ERROR(pages_.Copy(vtd::PointerIn(queue_address) + page * kPageBytes).status());
  }
  return absl::OkStatus();
}

absl::Status VtdTableCollector::ContextTable(PhysAddr table) {
  ASSIGN_OR_RETURN(const ImagePages::Words* words, pages_.Copy(table));
  if (words == nullptr) return absl::OkStatus();
  for (size_t i = 0; i < vtd::kContextEntries; ++i) {
    const auto entry = EntryIn<vtd::ContextEntry>(*words, i);
    if ((entry[0] & vtd::kPresent) == 0) continue;
    const int pdts = static_cast<int>(entry[0] >> vtd::kContextPdtsShift & 7);
    RETURN_IF_ERROR(PasidDirectory(vtd::PointerIn(entry[0]), pdts));
  }
  return absl::OkStatus();
}

absl::Status VtdTableCollector::PasidDirectory(PhysAddr directory, int pdts) {
  for (uint64_t page = 0; page >> vtd::PasidDirectoryPagesLog2(pdts) == 0; ++page) {
    ASSIGN_OR_RETURN(const ImagePages::Words* words, pages_.Copy(directory + page * kPageBytes));
    if (words == nullptr) continue;
    const size_t entries = std::min<size_t>(words->size(), size_t{128} << pdts);
    for (size_t i = 0; i < entries; ++i) {
      if (((*words)[i] & vtd::kPresent) == 0) continue;
      RETURN_IF_ERROR(PasidTable(vtd::PointerIn((*words)[i])));
    }
  }
  return absl::OkStatus();
}

absl::Status VtdTableCollector::PasidTable(PhysAddr table) {
  ASSIGN_OR_RETURN(const ImagePages::Words* words, pages_.Copy(table));
  if (words == nullptr) return absl::OkStatus();
  for (size_t i = 0; i < vtd::kPasidTableEntries; ++i) {
    const auto entry = EntryIn<vtd::PasidEntry>(*words, i);
    if (vtd::IsPresent(entry)) RETURN_IF_ERROR(Entry(entry));
  }
  return absl::OkStatus();
}

absl::Status VtdTableCollector::Entry(const vtd::PasidEntry& entry) {
  const vtd::PasidType type = vtd::TypeOf(entry);
  if (vtd::HasSecondStage(type)) {
    RETURN_IF_ERROR(PageTable(vtd::PointerIn(entry[0]), vtd::LevelsOf(entry), false));
  }
  const int levels = vtd::FirstStageLevelsOf(entry);
  if (type == vtd::PasidType::kNested) {
    return GuestTable(entry, vtd::PointerIn(entry[2]).value, levels);
  }
  if (!vtd::HasFirstStage(type)) return absl::OkStatus();
  return PageTable(vtd::PointerIn(entry[2]), levels, true);
}

absl::Status VtdTableCollector::PageTable(PhysAddr table, int level, bool first_stage) {
  if (!seen_.insert(Role{0, table.value, level, first_stage}).second) return absl::OkStatus();
  ASSIGN_OR_RETURN(const ImagePages::Words* words, pages_.Copy(table));
  if (words == nullptr || level <= 1) return absl::OkStatus();
  for (const uint64_t word : *words) {
    if (!IsPresent(word, first_stage) || !LeadsOn(word, level)) continue;
    RETURN_IF_ERROR(PageTable(PhysAddr{word & kAddressMask}, level - 1, first_stage));
  }
  return absl::OkStatus();
}

absl::Status VtdTableCollector::GuestTable(const vtd::PasidEntry& entry, uint64_t table,
                                           int level) {
  const Role role{vtd::PointerIn(entry[0]).value, table, level, true};
  if (seen_.contains(role)) return absl::OkStatus();
  if (guest_tables_ == guest_limit_) {
    complete_ = false;
    return absl::OkStatus();
  }
  ++guest_tables_;
  seen_.insert(role);
  ASSIGN_OR_RETURN(const std::optional<PhysAddr> place, ThroughSecondStage(entry, table));
  if (!place.has_value()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const ImagePages::Words* words, pages_.Copy(*place));
  if (words == nullptr || level <= 1) return absl::OkStatus();
  for (const uint64_t word : *words) {
    if (!IsPresent(word, /*first_stage=*/true) || !LeadsOn(word, level)) continue;
    RETURN_IF_ERROR(GuestTable(entry, word & kAddressMask, level - 1));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<PhysAddr>> VtdTableCollector::ThroughSecondStage(
    const vtd::PasidEntry& entry, uint64_t address) {
  const int levels = vtd::LevelsOf(entry);
  if (levels == 0 || address >> Shift(levels + 1) != 0) return std::nullopt;
  PhysAddr table = vtd::PointerIn(entry[0]);
  for (int level = levels; level >= 1; --level) {
    ASSIGN_OR_RETURN(const ImagePages::Words* words, pages_.Copy(table));
    if (words == nullptr) return std::nullopt;
    const uint64_t word = (*words)[address >> Shift(level) & 511];
    if ((word & kSecondStageRead) == 0) return std::nullopt;
    table = PhysAddr{word & kAddressMask};
    if (!LeadsOn(word, level)) return table + (address & ((uint64_t{1} << Shift(level)) - 1));
  }
  return std::nullopt;
}

void AppendVtdRegisters(const std::string& iommu, const hardware::VtdModel& unit,
                        std::vector<TableImage::Register>* registers) {
  struct Shown {
    const char* name;
    uint32_t offset;
    bool wide;
  };
  const auto append = [&](const Shown& shown) {
    const uint64_t value = shown.wide ? unit.Read64(shown.offset) : unit.Read32(shown.offset);
    registers->push_back({iommu, shown.name, shown.offset, value});
  };
  constexpr Shown kRegisters[] = {
      {"CAP", vtd::kCapabilityRegister, true},     {"ECAP", vtd::kExtendedCapabilityRegister, true},
      {"GSTS", vtd::kGlobalStatusRegister, false}, {"RTADDR", vtd::kRootTableRegister, true},
      {"FSTS", vtd::kFaultStatusRegister, false},  {"IQH", vtd::kQueueHeadRegister, true},
      {"IQT", vtd::kQueueTailRegister, true},      {"IQA", vtd::kQueueAddressRegister, true}};
  std::for_each(std::begin(kRegisters), std::end(kRegisters), append);
  if (unit.Read64(vtd::kPageRequestAddressRegister) == 0) return;
  constexpr Shown kOfPageRequests[] = {{"PQH", vtd::kPageRequestHeadRegister, true},
                                       {"PQT", vtd::kPageRequestTailRegister, true},
                                       {"PQA", vtd::kPageRequestAddressRegister, true},
                                       {"PRS", vtd::kPageRequestStatusRegister, false}};
  std::for_each(std::begin(kOfPageRequests), std::end(kOfPageRequests), append);
}

}  // namespace viommu
