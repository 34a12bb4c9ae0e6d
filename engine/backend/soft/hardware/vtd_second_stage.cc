#include "engine/backend/soft/hardware/vtd_second_stage.h"

#include "absl/types/optional.h"
#include "engine/backend/soft/hardware/vtd_capabilities.h"
#include "engine/base/address.h"

namespace viommu::hardware {
namespace {

constexpr uint64_t kRead = Bit(0);
constexpr uint64_t kWrite = Bit(1);
constexpr uint64_t kPageSize = Bit(7);  // PS: this entry is a leaf. Means nothing at level 1.
constexpr uint64_t kAccessed = Bit(8);  // A
constexpr uint64_t kDirty = Bit(9);     // D
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
int StartOfWalk(const Walk& walk, uint64_t address, CachedTable* start) {
  *start = CachedTable{walk.entry.second_stage, true, true};
  if (walk.cache == nullptr) return walk.entry.levels;
  for (int level = 1; level < walk.entry.levels; ++level) {
    if (const CachedTable* table = walk.cache->FindTable(level, address)) {
      *start = *table;
      return level;
    }
  }
  return walk.entry.levels;
}

// Marks an entry that the request passes. Sets `*again` when it changed meanwhile.
FaultReason Mark(const Walk& walk, PhysAddr place, bool dirties, uint64_t* word, bool* again) {
  if (!walk.entry.second_stage_dirty) return kNoFault;
  const uint64_t bits = kAccessed | (dirties ? kDirty : 0);
  if ((*word & bits) == bits) return kNoFault;
  if (!walk.entry.walk_snoop) return kUpdateNotSnooped;
  *again = !MarkEntry(walk, place, bits, word);
  return kNoFault;
}

void Note(const Walk& walk, int level, uint64_t address, PhysAddr place, uint64_t word) {
  if (walk.trace == nullptr) return;
  TraceStep step;
  step.table = TraceStep::Table::kSecondStage;
  step.address = place;
  step.level = level;
  step.input = address;
  step.word = word;
  step.nested = walk.entry.has_first_stage();
  walk.trace->push_back(step);
}

// Reads and judges the entry for `address` in `at`, whose permissions it narrows.
FaultReason ReadEntry(const Walk& walk, int level, uint64_t address, bool write, CachedTable* at,
                      uint64_t* entry) {
  const PhysAddr place = at->table + ((address >> LevelShift(level)) & 511) * 8;
  const bool is_top = level == walk.entry.levels;
  const CachedTable above = *at;
  bool again = false;
  do {
    const absl::optional<uint64_t> word = walk.memory.Load64(place);
    Note(walk, level, address, place, word.value_or(0));
    if (!word.has_value()) return is_top ? kTopTableFetchError : kLowerTableFetchError;
    *entry = *word;
    if (!(*entry & (kRead | kWrite))) return kPageNotPresent;
    const bool leaf = IsLeaf(level, *entry);
    if (*entry & ReservedBits(walk.capabilities, level, leaf)) return kPageReserved;
    at->read = above.read && (*entry & kRead);
    at->write = above.write && (*entry & kWrite);
    if (const FaultReason fault = CheckPermission(write, *at)) return fault;
    again = false;
    if (const FaultReason fault = Mark(walk, place, write && leaf, entry, &again)) return fault;
  } while (again);
  return kNoFault;
}

}  // namespace

FaultReason WalkSecondStage(const Walk& walk, uint64_t address, bool write, CachedLeaf* leaf) {
  CachedTable at;
  int level = StartOfWalk(walk, address, &at);
  if (const FaultReason fault = CheckPermission(write, at)) return fault;
  uint64_t word = 0;
  while (true) {
    if (const FaultReason fault = ReadEntry(walk, level, address, write, &at, &word)) return fault;
    at.table = PhysAddr{word & kAddress};
    if (IsLeaf(level, word)) break;
    --level;
    if (walk.cache != nullptr) walk.cache->InsertTable(level, address, at);
  }
  *leaf = CachedLeaf{at.table, at.read, at.write, level};
  leaf->dirty = !walk.entry.second_stage_dirty || (word & kDirty);
  return kNoFault;
}

}  // namespace viommu::hardware
