#include "engine/backend/soft/hardware/smmu_tlb.h"

#include <algorithm>

#include "engine/backend/soft/hardware/smmu_entries.h"

namespace viommu::hardware::smmu {
namespace {

template <typename Map, typename Key>
auto* FindOrNull(const Map& map, const Key& key) {
  const auto it = map.find(key);
  return it == map.end() ? nullptr : &it->second;
}

// Address bits that all that one table of `level` resolves have in common begin here.
int TableShift(int granule_shift, int level) { return LevelShift(granule_shift, level - 1); }

bool Covers(const Scope& scope, uint64_t address, const Leaf& leaf) {
  if (scope.granule_shift != 0 && scope.granule_shift != leaf.granule_shift) return false;
  if (scope.level != 0 && scope.level != leaf.level) return false;
  const uint64_t first = address >> leaf.block_shift << leaf.block_shift;
  return scope.range.Overlaps({first, first | ((uint64_t{1} << leaf.block_shift) - 1)});
}

}  // namespace

const Leaf* VmTlb::FindLeaf(uint32_t tag, uint64_t address) const {
  for (size_t i = 0; i < kShifts.size(); ++i) {
    if (leaves_[i].empty()) continue;
    if (const auto* leaf = FindOrNull(leaves_[i], LeafKey(tag, address >> kShifts[i]))) return leaf;
  }
  return nullptr;
}

void VmTlb::InsertLeaf(uint32_t tag, uint64_t address, const Leaf& leaf) {
  for (size_t i = 0; i < kShifts.size(); ++i) {
    if (kShifts[i] != leaf.shift) continue;
    leaves_[i].insert_or_assign(LeafKey(tag, address >> leaf.shift), leaf);
    largest_block_[i] = std::max(largest_block_[i], leaf.block_shift);
  }
}

const Leaf* VmTlb::FindStage1(uint16_t asid, uint64_t address) const {
  const Leaf* leaf = FindLeaf(asid, address);
  return leaf != nullptr ? leaf : FindLeaf(kGlobal, address);
}

void VmTlb::InsertStage1(uint16_t asid, bool global, uint64_t address, const Leaf& leaf) {
  InsertLeaf(global ? kGlobal : asid, address, leaf);
}

const Leaf* VmTlb::FindStage2(uint64_t address) const { return FindLeaf(kStage2, address); }

void VmTlb::InsertStage2(uint64_t address, const Leaf& leaf) { InsertLeaf(kStage2, address, leaf); }

const CachedTable* VmTlb::FindTable(uint32_t tag, int granule_shift, int level,
                                    uint64_t address) const {
  if (tables_[level].empty()) return nullptr;
  const uint64_t prefix = address >> TableShift(granule_shift, level);
  return FindOrNull(tables_[level], TableKey(tag, granule_shift, prefix));
}

void VmTlb::InsertTable(uint32_t tag, int granule_shift, int level, uint64_t address,
                        const CachedTable& table) {
  const uint64_t prefix = address >> TableShift(granule_shift, level);
  tables_[level].insert_or_assign(TableKey(tag, granule_shift, prefix), table);
}

const CachedTable* VmTlb::FindStage1Table(uint16_t asid, int granule_shift, int level,
                                          uint64_t address) const {
  return FindTable(asid, granule_shift, level, address);
}

void VmTlb::InsertStage1Table(uint16_t asid, int granule_shift, int level, uint64_t address,
                              const CachedTable& table) {
  InsertTable(asid, granule_shift, level, address, table);
}

const CachedTable* VmTlb::FindStage2Table(int granule_shift, int level, uint64_t address) const {
  return FindTable(kStage2, granule_shift, level, address);
}

void VmTlb::InsertStage2Table(int granule_shift, int level, uint64_t address,
                              const CachedTable& table) {
  InsertTable(kStage2, granule_shift, level, address, table);
}

void VmTlb::DropTags(uint32_t first, uint32_t last) {
  for (auto& leaves : leaves_) {
    leaves.erase(leaves.lower_bound(LeafKey(first, 0)), leaves.upper_bound(LeafKey(last, ~0ull)));
  }
  for (auto& tables : tables_) {
    tables.erase(tables.lower_bound(TableKey(first, 0, 0)),
                 tables.lower_bound(TableKey(last + 1, 0, 0)));
  }
}

// What lies in the range, or in the same block of stage 1 as something that does.
void VmTlb::DropLeaves(uint32_t first, uint32_t last, const Scope& scope) {
  for (size_t i = 0; i < kShifts.size(); ++i) {
    auto& leaves = leaves_[i];
    if (leaves.empty()) continue;
    const uint64_t block = (uint64_t{1} << std::max(largest_block_[i], kShifts[i])) - 1;
    const uint64_t low = (scope.range.first & ~block) >> kShifts[i];
    const uint64_t high = (scope.range.last | block) >> kShifts[i];
    auto it = leaves.lower_bound(LeafKey(first, low));
    while (it != leaves.end() && it->first.first <= last) {
      const auto [tag, page] = it->first;
      if (page < low) {
        it = leaves.lower_bound(LeafKey(tag, low));
      } else if (page > high) {
        it = leaves.lower_bound(LeafKey(tag + 1, low));
      } else {
        it = Covers(scope, page << kShifts[i], it->second) ? leaves.erase(it) : ++it;
      }
    }
  }
}

// Tables on the way to the range: of levels down to the one that the leaves are said to be in.
void VmTlb::DropTables(uint32_t first, uint32_t last, const Scope& scope) {
  const int lowest = scope.level != 0 ? scope.level : kLevels - 1;
  for (int level = 1; level <= lowest; ++level) {
    auto& tables = tables_[level];
    auto it = tables.lower_bound(TableKey(first, 0, 0));
    while (it != tables.end() && std::get<0>(it->first) <= last) {
      const auto [tag, granule_shift, prefix] = it->first;
      const int shift = TableShift(granule_shift, level);
      const bool granule_fits = scope.granule_shift == 0 || scope.granule_shift == granule_shift;
      if (!granule_fits || prefix > scope.range.last >> shift) {
        it = tables.lower_bound(TableKey(tag, granule_shift + 1, 0));
      } else if (prefix < scope.range.first >> shift) {
        it = tables.lower_bound(TableKey(tag, granule_shift, scope.range.first >> shift));
      } else {
        it = tables.erase(it);
      }
    }
  }
}

void VmTlb::DropStage1() { DropTags(0, kGlobal); }

void VmTlb::DropAsid(uint16_t asid) { DropTags(asid, asid); }

void VmTlb::DropStage1(std::optional<uint16_t> asid, const Scope& scope) {
  const uint32_t first = asid.value_or(0);
  const uint32_t last = asid.value_or(kGlobal - 1);
  DropLeaves(first, last, scope);
  DropLeaves(kGlobal, kGlobal, scope);
  if (!scope.leaves_only) DropTables(first, last, scope);
}

void VmTlb::DropStage2(const Scope& scope) {
  DropLeaves(kStage2, kStage2, scope);
  if (!scope.leaves_only) DropTables(kStage2, kStage2, scope);
}

}  // namespace viommu::hardware::smmu
