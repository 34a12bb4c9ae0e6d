#include "engine/backend/soft/hardware/vtd_caches.h"

namespace viommu::hardware {
namespace {

template <typename Map, typename Key>
auto* FindOrNull(const Map& map, const Key& key) {
  const auto it = map.find(key);
  return it == map.end() ? nullptr : &it->second;
}

template <typename Map>
void EraseRange(Map& map, uint64_t first, uint64_t last) {
  if (!map.empty()) map.erase(map.lower_bound(first), map.upper_bound(last));
}

template <typename Map>
void ErasePasidRange(Map& map, uint32_t pasid, uint64_t first, uint64_t last) {
  if (!map.empty()) map.erase(map.lower_bound({pasid, first}), map.upper_bound({pasid, last}));
}

// The leaf of any size in maps by level.
template <typename Maps>
const CachedLeaf* FindLeafIn(const Maps& maps, uint64_t address) {
  for (int level = 1; level <= kMaxLeafLevel; ++level) {
    if (maps[level].empty()) continue;
    if (const auto* leaf = FindOrNull(maps[level], address >> LevelShift(level))) return leaf;
  }
  return nullptr;
}

}  // namespace

const CachedLeaf* DomainCache::FindLeaf(uint32_t pasid, uint64_t address) const {
  if (const CachedLeaf* leaf = FindLeafIn(leaves_, address)) return leaf;
  for (int level = 1; level <= kMaxLeafLevel; ++level) {
    if (first_leaves_[level].empty()) continue;
    const PasidKey key(pasid, address >> LevelShift(level));
    if (const auto* leaf = FindOrNull(first_leaves_[level], key)) return leaf;
  }
  if (pass_through_.empty()) return nullptr;
  return FindOrNull(pass_through_, PasidKey(pasid, address >> kPageShift));
}

void DomainCache::InsertLeaf(uint64_t address, const CachedLeaf& leaf) {
  leaves_[leaf.level].insert_or_assign(address >> LevelShift(leaf.level), leaf);
}

void DomainCache::InsertPassThrough(uint32_t pasid, uint64_t address) {
  const uint64_t page = address >> kPageShift;
  const CachedLeaf leaf{PhysAddr{page << kPageShift}, true, true, 1};
  pass_through_.insert_or_assign(PasidKey(pasid, page), leaf);
}

void DomainCache::InsertFirstStageLeaf(uint32_t pasid, uint64_t address, const CachedLeaf& leaf) {
  const PasidKey key(pasid, address >> LevelShift(leaf.level));
  first_leaves_[leaf.level].insert_or_assign(key, leaf);
}

// All the addresses that one table of `level` resolves share the bits above one entry of the next.
const CachedTable* DomainCache::FindTable(int level, uint64_t address) const {
  if (tables_[level].empty()) return nullptr;
  return FindOrNull(tables_[level], address >> LevelShift(level + 1));
}

void DomainCache::InsertTable(int level, uint64_t address, const CachedTable& table) {
  tables_[level].insert_or_assign(address >> LevelShift(level + 1), table);
}

const CachedFirstStageTable* DomainCache::FindFirstStageTable(uint32_t pasid, int level,
                                                              uint64_t address) const {
  if (first_tables_[level].empty()) return nullptr;
  return FindOrNull(first_tables_[level], PasidKey(pasid, address >> LevelShift(level + 1)));
}

void DomainCache::InsertFirstStageTable(uint32_t pasid, int level, uint64_t address,
                                        const CachedFirstStageTable& table) {
  first_tables_[level].insert_or_assign(PasidKey(pasid, address >> LevelShift(level + 1)), table);
}

const CachedLeaf* DomainCache::FindInner(uint64_t address) const {
  return FindLeafIn(inner_leaves_, address);
}

void DomainCache::InsertInner(uint64_t address, const CachedLeaf& leaf) {
  inner_leaves_[leaf.level].insert_or_assign(address >> LevelShift(leaf.level), leaf);
}

void DomainCache::DropRange(const IovaRange& range, bool leaves_only) {
  for (int level = 1; level <= kMaxLeafLevel; ++level) {
    const int shift = LevelShift(level);
    EraseRange(leaves_[level], range.first >> shift, range.last >> shift);
    EraseRange(inner_leaves_[level], range.first >> shift, range.last >> shift);
    first_leaves_[level].clear();
  }
  for (auto it = pass_through_.begin(); it != pass_through_.end();) {
    it = range.Contains(it->first.second << kPageShift) ? pass_through_.erase(it) : ++it;
  }
  if (leaves_only) return;
  for (int level = 1; level < kMaxLevels; ++level) {
    const int shift = LevelShift(level + 1);
    EraseRange(tables_[level], range.first >> shift, range.last >> shift);
    first_tables_[level].clear();
  }
}

void DomainCache::DropPasid(uint32_t pasid) {
  ErasePasidRange(pass_through_, pasid, 0, kMaxAddress);
  DropPasidRange(pasid, {0, kMaxAddress}, false);
}

void DomainCache::DropPasidRange(uint32_t pasid, const IovaRange& range, bool leaves_only) {
  for (int level = 1; level <= kMaxLeafLevel; ++level) {
    const int shift = LevelShift(level);
    ErasePasidRange(first_leaves_[level], pasid, range.first >> shift, range.last >> shift);
  }
  if (leaves_only) return;
  for (int level = 1; level < kMaxLevels; ++level) {
    const int shift = LevelShift(level + 1);
    ErasePasidRange(first_tables_[level], pasid, range.first >> shift, range.last >> shift);
  }
}

const ContextEntry* TranslationCaches::FindContext(uint16_t source_id) const {
  return FindOrNull(contexts_, source_id);
}

void TranslationCaches::InsertContext(uint16_t source_id, const ContextEntry& entry) {
  contexts_.insert_or_assign(source_id, entry);
}

const PasidEntry* TranslationCaches::FindPasid(uint16_t source_id, uint32_t pasid) const {
  return FindOrNull(pasids_, PasidKey(source_id, pasid));
}

void TranslationCaches::InsertPasid(uint16_t source_id, uint32_t pasid, const PasidEntry& entry) {
  pasids_.insert_or_assign(PasidKey(source_id, pasid), entry);
}

void TranslationCaches::DropAllContexts() {
  contexts_.clear();
  pasids_.clear();
}

void TranslationCaches::DropContextsOnly() { contexts_.clear(); }

void TranslationCaches::DropContexts(uint16_t source_id, uint16_t ignored_bits) {
  const auto matches = [&](uint16_t candidate) {
    return ((candidate ^ source_id) & ~ignored_bits & 0xffff) == 0;
  };
  absl::erase_if(contexts_, [&](const auto& entry) { return matches(entry.first); });
  absl::erase_if(pasids_, [&](const auto& entry) { return matches(entry.first.first); });
}

void TranslationCaches::DropAllPasids() { pasids_.clear(); }

void TranslationCaches::DropPasids(uint16_t domain_id) {
  absl::erase_if(pasids_, [&](const auto& entry) { return entry.second.domain_id == domain_id; });
}

void TranslationCaches::DropPasids(uint16_t domain_id, uint32_t pasid) {
  absl::erase_if(pasids_, [&](const auto& entry) {
    return entry.second.domain_id == domain_id && entry.first.second == pasid;
  });
}

}  // namespace viommu::hardware
