#include "engine/backend/soft/hardware/vtd_second_stage.h"

#include "absl/types/optional.h"

namespace viommu::hardware {
namespace {

constexpr uint64_t kRead = Bit(0);
constexpr uint64_t kWrite = Bit(1);
constexpr uint64_t kPageSize = Bit(7);  // PS: this entry is a leaf. Means nothing at level 1.
constexpr uint64_t kSnoop = Bit(11);    // SNP
constexpr uint64_t kIgnored = Bits(61, 52) | Bit(63);
constexpr uint64_t kAddress = Bits(51, 12);

bool IsLeaf(int level, uint64_t entry) {
  return level == 1 || (level <= kMaxLeafLevel && (entry & kPageSize));
}

uint64_t ReservedBits(const Capabilities& capabilities, int level, bool leaf) {
  uint64_t reserved = capabilities.beyond_host_width() & ~kIgnored;
  if (!leaf || !capabilities.snoop_control()) reserved |= kSnoop;
  if (level > kMaxLeafLevel) reserved |= kPageSize;
  if (leaf && level > 1) {
    reserved |= Bits(LevelShift(level) - 1, kPageShift);
    if (!capabilities.supports_leaf(level)) reserved |= kPageSize;
  }
  return reserved;
}

FaultReason CheckPermission(bool write, const CachedTable& so_far) {
  if (write) return so_far.write ? kNoFault : kWriteDenied;
  return so_far.read ? kNoFault : kReadDenied;
}

// Where the walk starts: the deepest remembered table, else the top one.
int StartOfWalk(const PasidEntry& entry, uint64_t address, const DomainCache* cache,
                CachedTable* start) {
  *start = CachedTable{entry.second_stage, true, true};
  if (cache == nullptr) return entry.levels;
  for (int level = 1; level < entry.levels; ++level) {
    if (const CachedTable* table = cache->FindTable(level, address)) {
      *start = *table;
      return level;
    }
  }
  return entry.levels;
}

// Reads and judges the entry for `address` in `at`, whose permissions it narrows.
FaultReason ReadEntry(const PhysicalMemory& memory, const Capabilities& capabilities, int level,
                      bool is_top, uint64_t address, bool write, CachedTable* at, uint64_t* entry) {
  const uint64_t index = (address >> LevelShift(level)) & 511;
  const absl::optional<uint64_t> word = memory.Load64(at->table + index * 8);
  if (!word.has_value()) return is_top ? kTopTableFetchError : kLowerTableFetchError;
  if (!(*word & (kRead | kWrite))) return kPageNotPresent;
  if (*word & ReservedBits(capabilities, level, IsLeaf(level, *word))) return kPageReserved;
  at->read = at->read && (*word & kRead);
  at->write = at->write && (*word & kWrite);
  *entry = *word;
  return CheckPermission(write, *at);
}

}  // namespace

FaultReason WalkSecondStage(const PhysicalMemory& memory, const Capabilities& capabilities,
                            const PasidEntry& entry, uint64_t address, bool write,
                            DomainCache* cache, CachedLeaf* leaf) {
  CachedTable at;
  int level = StartOfWalk(entry, address, cache, &at);
  if (const FaultReason fault = CheckPermission(write, at)) return fault;
  while (true) {
    uint64_t word = 0;
    if (const FaultReason fault = ReadEntry(memory, capabilities, level, level == entry.levels,
                                            address, write, &at, &word)) {
      return fault;
    }
    at.table = PhysAddr{word & kAddress};
    if (IsLeaf(level, word)) break;
    --level;
    if (cache != nullptr) cache->InsertTable(level, address, at);
  }
  *leaf = CachedLeaf{at.table, at.read, at.write, level};
  return kNoFault;
}

}  // namespace viommu::hardware
