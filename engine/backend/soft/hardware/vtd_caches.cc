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

}  // namespace

const CachedLeaf* DomainCache::FindLeaf(uint32_t pasid, uint64_t address) const {
  for (int level = 1; level <= kMaxLeafLevel; ++level) {
    if (leaves_[level].empty()) continue;
    if (const auto* leaf = FindOrNull(leaves_[level], address >> LevelShift(level))) return leaf;
  }
  if (pass_through_.empty()) return nullptr;
  return FindOrNull(pass_through_, PassThroughKey(pasid, address >> kPageShift));
}

void DomainCache::InsertLeaf(uint64_t address, const CachedLeaf& leaf) {
  leaves_[leaf.level].insert_or_assign(address >> LevelShift(leaf.level), leaf);
}

void DomainCache::InsertPassThrough(uint32_t pasid, uint64_t address) {
  const uint64_t page = address >> kPageShift;
  const CachedLeaf leaf{PhysAddr{page << kPageShift}, true, true, 1};
  pass_through_.insert_or_assign(PassThroughKey(pasid, page), leaf);
}

// All the addresses that one table of `level` resolves share the bits above one entry of the next.
const CachedTable* DomainCache::FindTable(int level, uint64_t address) const {
  if (tables_[level].empty()) return nullptr;
  return FindOrNull(tables_[level], address >> LevelShift(level + 1));
}

void DomainCache::InsertTable(int level, uint64_t address, const CachedTable& table) {
  tables_[level].insert_or_assign(address >> LevelShift(level + 1), table);
}

void DomainCache::DropRange(const IovaRange& range, bool leaves_only) {
  for (int level = 1; level <= kMaxLeafLevel; ++level) {
    EraseRange(leaves_[level], range.first >> LevelShift(level), range.last >> LevelShift(level));
  }
  for (auto it = pass_through_.begin(); it != pass_through_.end();) {
    it = range.Contains(it->first.second << kPageShift) ? pass_through_.erase(it) : ++it;
  }
  if (leaves_only) return;
  for (int level = 1; level < kMaxLevels; ++level) {
    const int shift = LevelShift(level + 1);
    EraseRange(tables_[level], range.first >> shift, range.last >> shift);
  }
}

void DomainCache::DropPassThrough(uint32_t pasid) {
  pass_through_.erase(pass_through_.lower_bound({pasid, 0}),
                      pass_through_.upper_bound({pasid, kMaxAddress}));
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
