#include "engine/backend/soft/hardware/vtd_first_stage.h"

#include <algorithm>
#include <cstddef>

#include "absl/types/optional.h"
#include "engine/backend/soft/hardware/vtd_capabilities.h"
#include "engine/backend/soft/hardware/vtd_entries.h"
#include "engine/backend/soft/hardware/vtd_second_stage.h"
#include "engine/base/address.h"

namespace viommu::hardware {
namespace {

constexpr uint64_t kPresent = Bit(0);
constexpr uint64_t kWrite = Bit(1);              // R/W
constexpr uint64_t kUser = Bit(2);               // U/S
constexpr uint64_t kAccessed = Bit(5);           // A
constexpr uint64_t kDirty = Bit(6);              // D
constexpr uint64_t kPageSize = Bit(7);           // PS: this entry is a leaf. At level 1 it is PAT.
constexpr uint64_t kExtendedAccessed = Bit(10);  // EA
constexpr uint64_t kIgnored = Bits(63, 52);
constexpr uint64_t kAddress = Bits(51, 12);
constexpr int kLargePat = 12;  // PAT of a large leaf.

bool IsLeaf(int level, uint64_t entry) {
  return level == 1 || (level <= kMaxLeafLevel && (entry & kPageSize));
}

uint64_t ReservedBits(const Capabilities& capabilities, int level, bool leaf) {
  uint64_t reserved = capabilities.beyond_host_width() & ~kIgnored;
  if (level > kMaxLeafLevel) reserved |= kPageSize;
  if (leaf && level > 1) {
    reserved |= Bits(LevelShift(level) - 1, kLargePat + 1);
    if (!capabilities.supports_first_stage_leaf(level)) reserved |= kPageSize;
  }
  return reserved;
}

// Where the second stage of a nested entry leads, for a read or a write.
FaultReason TranslateInner(const Walk& walk, uint64_t address, bool write, CachedLeaf* leaf) {
  const int width =
      std::min(LevelShift(walk.entry.levels + 1), walk.capabilities.guest_address_width());
  if (address >> width) return kInputBeyondWidth;
  if (walk.cache != nullptr) {
    const CachedLeaf* hit = walk.cache->FindInner(address);
    if (hit != nullptr && (!write || hit->dirty)) {
      *leaf = *hit;
      if (write) return leaf->write ? kNoFault : kWriteDenied;
      return leaf->read ? kNoFault : kReadDenied;
    }
  }
  const FaultReason fault = WalkSecondStage(walk, address, write, leaf);
  if (fault == kNoFault && walk.cache != nullptr) walk.cache->InsertInner(address, *leaf);
  return fault;
}

// The same for a first-stage entry: the very word.
FaultReason LocateEntry(const Walk& walk, PhysAddr entry, bool is_top, bool write,
                        PhysAddr* place) {
  *place = entry;
  if (!walk.entry.has_second_stage()) return kNoFault;
  CachedLeaf inner;
  switch (const FaultReason fault = TranslateInner(walk, entry.value, write, &inner)) {
    case kNoFault:
      *place = inner.page + (entry.value & (Bit(LevelShift(inner.level)) - 1));
      return kNoFault;
    case kInputBeyondWidth:
      return kFirstTableBeyondWidth;
    case kReadDenied:
      return is_top ? kFirstTopTableDenied : kFirstLowerTableDenied;
    case kWriteDenied:
      return kFirstUpdateDenied;
    default:
      return fault;
  }
}

// An entry of the walk: where it lies and what it holds.
struct Found {
  PhysAddr entry;  // As the first stage names it.
  PhysAddr place;  // In memory.
  uint64_t word = 0;
  bool is_top = false;
};

void Note(const Walk& walk, int level, uint64_t address, const Found& found) {
  if (walk.trace == nullptr) return;
  TraceStep step;
  step.table = TraceStep::Table::kFirstStage;
  step.address = found.place;
  step.level = level;
  step.input = address;
  step.word = found.word;
  step.nested = walk.entry.has_second_stage();
  if (step.nested) step.guest_address = found.entry.value;
  walk.trace->push_back(step);
}

FaultReason ReadEntry(const Walk& walk, int level, uint64_t address, Found* found) {
  if (const FaultReason fault =
          LocateEntry(walk, found->entry, found->is_top, false, &found->place)) {
    return fault;
  }
  const absl::optional<uint64_t> word = walk.memory.Load64(found->place);
  found->word = word.value_or(0);
  Note(walk, level, address, *found);
  if (!word.has_value()) return found->is_top ? kFirstTopFetchError : kFirstLowerFetchError;
  if (!(*word & kPresent)) return kFirstNotPresent;
  const uint64_t reserved = ReservedBits(walk.capabilities, level, IsLeaf(level, *word));
  return (*word & reserved) ? kFirstReserved : kNoFault;
}

// Marks an entry that the request passes. Sets `*again` when it changed meanwhile.
FaultReason Mark(const Walk& walk, uint64_t dirty, Found* found, bool* again) {
  *again = false;
  const uint64_t bits =
      kAccessed | dirty | (walk.entry.extended_access ? kExtendedAccessed : uint64_t{0});
  if ((found->word & bits) == bits) return kNoFault;
  if (!walk.entry.walk_snoop) return kFirstUpdateNotSnooped;
  const size_t steps = walk.trace == nullptr ? 0 : walk.trace->size();
  if (const FaultReason fault =
          LocateEntry(walk, found->entry, found->is_top, true, &found->place)) {
    return fault;
  }
  // The way to the entry once more, for a write: of interest only where it faults.
  if (walk.trace != nullptr) walk.trace->resize(steps);
  *again = !MarkEntry(walk, found->place, bits, &found->word);
  return kNoFault;
}

// Where the walk starts: the deepest remembered table, else the top one.
int StartOfWalk(const Walk& walk, uint64_t address, CachedFirstStageTable* start) {
  const int top = walk.entry.first_stage_levels;
  *start = CachedFirstStageTable{walk.entry.first_stage, true, true};
  if (walk.cache == nullptr) return top;
  for (int level = 1; level < top; ++level) {
    if (const auto* table = walk.cache->FindFirstStageTable(walk.pasid, level, address)) {
      *start = *table;
      return level;
    }
  }
  return top;
}

FaultReason CheckFirstStage(const Walk& walk, const CachedLeaf& leaf) {
  if (!walk.privileged && !leaf.user) return kUserDenied;
  const bool respects_read_only = !walk.privileged || walk.entry.write_protect;
  return walk.write && !leaf.first_write && respects_read_only ? kWriteDenied : kNoFault;
}

// Puts the page that the first stage found through the second.
FaultReason Nest(const Walk& walk, uint64_t address, CachedLeaf* leaf) {
  const uint64_t inner_address = leaf->page.value + (address & (Bit(LevelShift(leaf->level)) - 1));
  CachedLeaf inner;
  if (const FaultReason fault = TranslateInner(walk, inner_address, walk.write, &inner)) {
    return fault;
  }
  leaf->level = std::min(leaf->level, inner.level);
  const uint64_t in_inner = inner_address & (Bit(LevelShift(inner.level)) - 1);
  leaf->page = inner.page + (in_inner >> LevelShift(leaf->level) << LevelShift(leaf->level));
  leaf->read = inner.read;
  leaf->write = inner.write;
  leaf->dirty = inner.dirty;
  return kNoFault;
}

// What the entry of a leaf makes of the request. Marks it last, once nothing can refuse the request
// any more.
FaultReason TakeLeaf(const Walk& walk, uint64_t address, int level, const CachedFirstStageTable& at,
                     Found* found, CachedLeaf* leaf, bool* again) {
  const PhysAddr page{found->word & kAddress & ~(Bit(LevelShift(level)) - 1)};
  *leaf = CachedLeaf{page, true, true, level};
  leaf->user = at.user && (found->word & kUser);
  leaf->first_write = at.write && (found->word & kWrite);
  if (const FaultReason fault = CheckFirstStage(walk, *leaf)) return fault;
  if (walk.entry.has_second_stage()) {
    if (const FaultReason fault = Nest(walk, address, leaf)) return fault;
  }
  if (const FaultReason fault = Mark(walk, walk.write ? kDirty : 0, found, again)) return fault;
  leaf->dirty = leaf->dirty && (found->word & kDirty);
  return kNoFault;
}

}  // namespace

FaultReason CheckLeaf(const Walk& walk, const CachedLeaf& leaf) {
  if (const FaultReason fault = CheckFirstStage(walk, leaf)) return fault;
  if (walk.write) return leaf.write ? kNoFault : kWriteDenied;
  return leaf.read ? kNoFault : kReadDenied;
}

FaultReason WalkFirstStage(const Walk& walk, uint64_t address, CachedLeaf* leaf) {
  CachedFirstStageTable at;
  int level = StartOfWalk(walk, address, &at);
  while (true) {
    Found found;
    found.entry = at.table + ((address >> LevelShift(level)) & 511) * 8;
    found.is_top = level == walk.entry.first_stage_levels;
    if (const FaultReason fault = ReadEntry(walk, level, address, &found)) return fault;
    bool again = false;
    if (IsLeaf(level, found.word)) {
      const FaultReason fault = TakeLeaf(walk, address, level, at, &found, leaf, &again);
      if (fault != kNoFault || !again) return fault;
      continue;
    }
    if (const FaultReason fault = Mark(walk, 0, &found, &again)) return fault;
    if (again) continue;
    at.table = PhysAddr{found.word & kAddress};
    at.user = at.user && (found.word & kUser);
    at.write = at.write && (found.word & kWrite);
    --level;
    if (walk.cache != nullptr) {
      walk.cache->InsertFirstStageTable(walk.pasid, level, address, at);
    }
  }
}

}  // namespace viommu::hardware
