#include "engine/backend/soft/smmu_cd_table.h"

#include <algorithm>

#include "engine/base/status_macros.h"
#include "engine/pagetable/store.h"

namespace viommu {
namespace {

constexpr int kSecondLevelPagesLog2 = TableArena::PagesLog2(smmu::kCdL2Bytes);
constexpr size_t kWords = smmu::CdArchitecture::kWords;

bool IsAllInvalid(const uint64_t* words) {
  for (size_t i = 0; i < smmu::kCdL2Entries; ++i) {
    if ((words[i * kWords] & smmu::kCdValid) != 0) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SmmuCdTable>> SmmuCdTable::Create(int pasid_bits,
                                                                 TableArena* arena) {
  const bool linear = CdTableFormatFor(pasid_bits) == smmu::CdTableFormat::kLinear;
  const uint64_t bytes = linear ? sizeof(smmu::Cd) << pasid_bits
                                : sizeof(uint64_t) << (pasid_bits - smmu::kCdTableSplit);
  const int pages_log2 = TableArena::PagesLog2(bytes);
  ASSIGN_OR_RETURN(const PhysAddr root, arena->AllocateBlock(pages_log2));
  return std::unique_ptr<SmmuCdTable>(new SmmuCdTable(pasid_bits, pages_log2, root, arena));
}

SmmuCdTable::~SmmuCdTable() {
  for (const auto& [index, table] : tables_) arena_.FreeBlock(table, kSecondLevelPagesLog2);
  arena_.FreeBlock(root_, pages_log2_);
}

absl::Status SmmuCdTable::Prepare(uint32_t ssid) {
  const uint32_t index = smmu::CdL1Index(ssid);
  if (!two_level() || tables_.contains(index)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const PhysAddr table, arena_.AllocateBlock(kSecondLevelPagesLog2));
  tables_.emplace(index, table);
  PlainStore().Store64(arena_.WordsAt(root_) + index, smmu::MakeCdL1Descriptor(table));
  return absl::OkStatus();
}

uint64_t* SmmuCdTable::Words(uint32_t ssid) const {
  if (!two_level()) return arena_.WordsAt(root_) + ssid * kWords;
  const auto table = tables_.find(smmu::CdL1Index(ssid));
  if (table == tables_.end()) return nullptr;
  return arena_.WordsAt(table->second) + smmu::CdL2Index(ssid) * kWords;
}

smmu::Cd SmmuCdTable::Read(uint32_t ssid) const {
  smmu::Cd cd = {};
  const uint64_t* words = Words(ssid);
  if (words != nullptr) std::copy(words, words + cd.size(), cd.begin());
  return cd;
}

std::shared_ptr<const void> SmmuCdTable::Unlink(uint32_t ssid) {
  const auto found = tables_.find(smmu::CdL1Index(ssid));
  if (found == tables_.end()) return nullptr;
  const PhysAddr table = found->second;
  if (!IsAllInvalid(arena_.WordsAt(table))) return nullptr;
  PlainStore().Store64(arena_.WordsAt(root_) + found->first, smmu::kEmptyCdL1Descriptor);
  tables_.erase(found);
  TableArena* const arena = &arena_;
  return {arena->WordsAt(table),
          [arena, table](const void*) { arena->FreeBlock(table, kSecondLevelPagesLog2); }};
}

}  // namespace viommu
