// engine/backend/soft/hardware/vtd_caches.h -- What a VT-d unit remembers: the context cache, the
// PASID cache, the IOTLB and the paging-structure caches.
//
// The worst a real unit may do: nothing ever falls out by itself, so whatever software forgets to
// invalidate stays and is used. Only present entries are remembered (no caching mode). What each
// Drop... takes away is VT-d 6.5.2, as summarised at the methods.
//
// Tags (VT-d 6.2): context entries by source-id; PASID entries by source-id and PASID; second-stage
// leaves and tables by domain-id alone, also those that nested walks meet; pass-through,
// first-stage and nested leaves and first-stage tables by domain-id and PASID. A lookup in the
// IOTLB does not ask which type the PASID entry has now: what one left behind under its tags, the
// next one with the same tags finds.
//
// A nested leaf holds the whole way from the device's address to memory, and first-stage tables
// hold addresses of the second stage, whose own translations are remembered apart ("inner"): so a
// changed second stage stays in use until all three are gone, which no PASID-selective invalidation
// does.
//
// Thread-compatible: the VtdModel holds its lock.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_CACHES_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_CACHES_H_

#include <array>
#include <cstdint>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "engine/backend/soft/hardware/vtd_entries.h"
#include "engine/base/address.h"

namespace viommu::hardware {

constexpr int kMaxLevels = 5;     // Tables of level 5 down to level 1, whose entries are 4 KiB.
constexpr int kMaxLeafLevel = 3;  // 1 GiB
constexpr int kPageShift = 12;

// Address bits below what one entry of a table of `level` covers.
constexpr int LevelShift(int level) { return kPageShift + 9 * (level - 1); }

// A page, with the permissions of the whole walk that led to it. Those of a first stage are kept
// apart, since they mean different things to users and supervisors.
struct CachedLeaf {
  PhysAddr page;  // First byte.
  bool read = false;
  bool write = false;
  int level = 1;
  bool user = true;         // First stage: U/S.
  bool first_write = true;  // First stage: R/W.
  // The entries that hold it are marked dirty or need not be: a write may use it. Other writes walk
  // again.
  bool dirty = true;
};

// A lower second-stage table, with the permissions of the walk down to it.
struct CachedTable {
  PhysAddr table;
  bool read = false;
  bool write = false;
};

// A lower first-stage table. Of a nested one the address is one of the second stage.
struct CachedFirstStageTable {
  PhysAddr table;
  bool user = true;
  bool write = true;
};

// All that is remembered under one domain-id.
class DomainCache {
 public:
  // Null where nothing is cached. `pasid` is that of the request, after RID_PASID.
  const CachedLeaf* FindLeaf(uint32_t pasid, uint64_t address) const;
  void InsertLeaf(uint64_t address, const CachedLeaf& leaf);
  void InsertPassThrough(uint32_t pasid, uint64_t address);
  // Of a first stage or a nested translation.
  void InsertFirstStageLeaf(uint32_t pasid, uint64_t address, const CachedLeaf& leaf);

  // The table of `level` that `address` is looked up in.
  const CachedTable* FindTable(int level, uint64_t address) const;
  void InsertTable(int level, uint64_t address, const CachedTable& table);
  const CachedFirstStageTable* FindFirstStageTable(uint32_t pasid, int level,
                                                   uint64_t address) const;
  void InsertFirstStageTable(uint32_t pasid, int level, uint64_t address,
                             const CachedFirstStageTable& table);

  // What a nested walk knows about the second stage: where one of its input addresses leads to.
  const CachedLeaf* FindInner(uint64_t address) const;
  void InsertInner(uint64_t address, const CachedLeaf& leaf);

  // IOTLB page-selective: second-stage, inner and pass-through leaves that overlap the range, and
  // all first-stage and nested leaves. Second-stage tables on the way to the range and all
  // first-stage tables go too unless the hint (IH) says that only leaves changed.
  void DropRange(const IovaRange& range, bool leaves_only);
  // PASID-selective: what carries the PASID, so nothing of the second stage.
  void DropPasid(uint32_t pasid);
  // PASID page-selective: first-stage and nested leaves that overlap the range, and unless
  // `leaves_only` the first-stage tables on the way to it. No pass-through.
  void DropPasidRange(uint32_t pasid, const IovaRange& range, bool leaves_only);

 private:
  using PasidKey = std::pair<uint32_t, uint64_t>;  // PASID, address without its low bits.
  template <typename Value>
  using ByAddress = absl::btree_map<uint64_t, Value>;
  template <typename Value>
  using ByPasid = absl::btree_map<PasidKey, Value>;

  // Arrays are by level.
  std::array<ByAddress<CachedLeaf>, kMaxLeafLevel + 1> leaves_;
  std::array<ByAddress<CachedTable>, kMaxLevels> tables_;
  std::array<ByAddress<CachedLeaf>, kMaxLeafLevel + 1> inner_leaves_;
  ByPasid<CachedLeaf> pass_through_;
  std::array<ByPasid<CachedLeaf>, kMaxLeafLevel + 1> first_leaves_;
  std::array<ByPasid<CachedFirstStageTable>, kMaxLevels> first_tables_;
};

class TranslationCaches {
 public:
  const ContextEntry* FindContext(uint16_t source_id) const;
  void InsertContext(uint16_t source_id, const ContextEntry& entry);
  const PasidEntry* FindPasid(uint16_t source_id, uint32_t pasid) const;
  void InsertPasid(uint16_t source_id, uint32_t pasid, const PasidEntry& entry);
  DomainCache& domain(uint16_t domain_id) { return domains_[domain_id]; }

  // Context cache, global: all contexts and with them all PASID entries.
  void DropAllContexts();
  // Context cache, domain-selective: in scalable mode the domain-id means nothing, so all contexts;
  // PASID entries are not promised to go.
  void DropContextsOnly();
  // Context cache, device-selective: contexts whose source-id equals `source_id` outside of
  // `ignored_bits`, and the PASID entries reached through them.
  void DropContexts(uint16_t source_id, uint16_t ignored_bits);

  // PASID cache: everything; all with the domain-id; one PASID with the domain-id.
  void DropAllPasids();
  void DropPasids(uint16_t domain_id);
  void DropPasids(uint16_t domain_id, uint32_t pasid);

  // IOTLB and paging-structure caches: everything; all with the domain-id.
  void DropAllDomains() { domains_.clear(); }
  void DropDomain(uint16_t domain_id) { domains_.erase(domain_id); }

 private:
  using PasidKey = std::pair<uint16_t, uint32_t>;  // Source-id, PASID.

  absl::flat_hash_map<uint16_t, ContextEntry> contexts_;
  absl::flat_hash_map<PasidKey, PasidEntry> pasids_;
  absl::flat_hash_map<uint16_t, DomainCache> domains_;
};

}  // namespace viommu::hardware

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_CACHES_H_
