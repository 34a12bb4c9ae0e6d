// engine/backend/soft/hardware/smmu_tlb.h -- The translations that an SMMUv3 remembers, and the
// tables on the way to them.
//
// The worst a real unit may do: nothing ever falls out by itself. What each Drop... takes away is
// IHI 0070 4.4. Tags (3.17): stage 1 and combined leaves by world, VMID and, unless they are
// global, ASID; stage 1 tables by world, VMID and ASID; leaves and tables of stage 2 by VMID and
// IPA, also those that nested walks meet.
//
// A combined leaf holds the whole way from the device's address to memory: an invalidation by IPA
// does not reach it. Where the pages of stage 2 are smaller it is one of several for a block of
// stage 1, and an invalidation of any address of the block takes all of them. Stage 1 tables hold
// IPAs, whose own translations are remembered apart.
//
// Thread-compatible: the SmmuModel holds its lock.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_TLB_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_TLB_H_

#include <array>
#include <cstdint>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "engine/base/address.h"

namespace viommu::hardware::smmu {

// What a page lets a request do.
struct Permissions {
  bool read = true;
  bool write = true;
  bool execute = true;
};

// A page, with what the whole walk that led to it permits.
struct Leaf {
  PhysAddr page;  // First byte.
  int shift = 12;
  Permissions user;        // Of stage 1, for unprivileged requests
  Permissions privileged;  // and for others.
  Permissions stage2;
  uint64_t ipa = 0;  // First byte, as stage 2 met it.
  // The entries that hold it are marked dirty or need not be: a write may use it. Other writes walk
  // again.
  bool dirty = true;
  bool device = false;  // Stage 2: it is mapped as some device memory.
  // Where it was met, which is what hints of invalidations are about. Of stage 1 if there is one.
  int granule_shift = 12;
  int level = 3;
  int block_shift = 12;  // Size of the page or block there.
};

// A lower table. Of stage 1 the address is an IPA where there is a stage 2.
struct CachedTable {
  PhysAddr table;
  // What the tables above take away (APTable, XNTable).
  bool no_user = false;
  bool no_write = false;
  bool no_user_execute = false;
  bool no_privileged_execute = false;
};

// Which invalidation hints an entry has to match; none: all do.
struct Scope {
  IovaRange range;
  int granule_shift = 0;  // TG; 0: any.
  int level = 0;          // TTL; 0: any.
  bool leaves_only = false;
};

// The translations of one world and VMID. Stage 2 is empty in EL2.
class VmTlb {
 public:
  // Null where nothing is cached.
  const Leaf* FindStage1(uint16_t asid, uint64_t address) const;
  void InsertStage1(uint16_t asid, bool global, uint64_t address, const Leaf& leaf);
  const Leaf* FindStage2(uint64_t address) const;
  void InsertStage2(uint64_t address, const Leaf& leaf);

  // The table of `level` that `address` is looked up in.
  const CachedTable* FindStage1Table(uint16_t asid, int granule_shift, int level,
                                     uint64_t address) const;
  void InsertStage1Table(uint16_t asid, int granule_shift, int level, uint64_t address,
                         const CachedTable& table);
  const CachedTable* FindStage2Table(int granule_shift, int level, uint64_t address) const;
  void InsertStage2Table(int granule_shift, int level, uint64_t address, const CachedTable& table);

  // NH_ALL: all of stage 1, and combined leaves.
  void DropStage1();
  // NH_ASID: what carries the ASID, so nothing global.
  void DropAsid(uint16_t asid);
  // NH_VA, and without ASID NH_VAA. What is global has every ASID.
  void DropStage1(std::optional<uint16_t> asid, const Scope& scope);
  // S2_IPA
  void DropStage2(const Scope& scope);

 private:
  // Sizes that pages and blocks come in.
  static constexpr std::array<int, 8> kShifts = {12, 14, 16, 21, 25, 29, 30, 42};
  static constexpr uint32_t kGlobal = 1u << 16;  // Behind all ASIDs.
  static constexpr uint32_t kStage2 = kGlobal + 1;
  static constexpr int kLevels = 4;

  using LeafKey = std::pair<uint32_t, uint64_t>;         // Tag, address without its low bits.
  using TableKey = std::tuple<uint32_t, int, uint64_t>;  // Tag, granule, address likewise.

  const Leaf* FindLeaf(uint32_t tag, uint64_t address) const;
  void InsertLeaf(uint32_t tag, uint64_t address, const Leaf& leaf);
  const CachedTable* FindTable(uint32_t tag, int granule_shift, int level, uint64_t address) const;
  void InsertTable(uint32_t tag, int granule_shift, int level, uint64_t address,
                   const CachedTable& table);
  void DropTags(uint32_t first, uint32_t last);
  void DropLeaves(uint32_t first, uint32_t last, const Scope& scope);
  void DropTables(uint32_t first, uint32_t last, const Scope& scope);

  std::array<absl::btree_map<LeafKey, Leaf>, kShifts.size()> leaves_;  // By size.
  std::array<int, kShifts.size()> largest_block_ = {};  // Log2, of those that were ever in there.
  std::array<absl::btree_map<TableKey, CachedTable>, kLevels> tables_;  // By level.
};

// Worlds: EL1 by VMID, and EL2.
class Tlb {
 public:
  VmTlb& el1(uint16_t vmid) { return vms_[vmid]; }
  VmTlb& el2() { return el2_; }
  // S12_VMALL: everything with the VMID.
  void DropVm(uint16_t vmid) { vms_.erase(vmid); }
  // NSNH_ALL: everything that is not EL2's.
  void DropEl1() { vms_.clear(); }

 private:
  absl::flat_hash_map<uint16_t, VmTlb> vms_;
  VmTlb el2_;
};

}  // namespace viommu::hardware::smmu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_TLB_H_
