#include "engine/backend/soft/hardware/smmu_stage1.h"

#include <algorithm>

#include "absl/types/optional.h"
#include "engine/backend/soft/hardware/smmu_stage2.h"
#include "engine/backend/soft/hardware/smmu_trace.h"

namespace viommu::hardware::smmu {
namespace {

constexpr uint64_t kUser = Bit(6);      // AP[1]
constexpr uint64_t kReadOnly = Bit(7);  // AP[2]
constexpr uint64_t kNotGlobal = Bit(11);
constexpr uint64_t kPrivilegedExecuteNever = Bit(53);
constexpr uint64_t kUserExecuteNever = Bit(54);

// Of table descriptors: what no lower descriptor gives back.
constexpr uint64_t kTablePrivilegedExecuteNever = Bit(59);
constexpr uint64_t kTableUserExecuteNever = Bit(60);
constexpr uint64_t kTableNoUser = Bit(61);
constexpr uint64_t kTableNoWrite = Bit(62);

constexpr int kSelectorBit = 55;  // Tells TTB0's addresses from TTB1's.

// A descriptor, and where it was found.
struct Found {
  uint64_t entry = 0;  // An IPA where there is a stage 2.
  PhysAddr place;
  uint64_t word = 0;
};

Fault FaultOf(EventId id) { return Fault{id, false, EventClass::kInput, 0, false}; }

bool IsHigh(uint64_t address) { return address & Bit(kSelectorBit); }

const TranslationTable& TableFor(const Walk& walk, uint64_t address) {
  return IsHigh(address) ? walk.context->high : walk.context->low;
}

// With TBI the top byte is whatever the sign says.
uint64_t Canonical(const Walk& walk, uint64_t address) {
  const bool ignored =
      IsHigh(address) ? walk.context->ignores_top_high : walk.context->ignores_top_low;
  if (!ignored) return address;
  return IsHigh(address) ? address | Bits(63, 56) : address & ~Bits(63, 56);
}

bool InRange(const TranslationTable& table, uint64_t address) {
  const uint64_t top = Bits(63, table.input_bits);
  return (address & top) == (IsHigh(address) ? top : 0);
}

// Where the walk starts: the deepest remembered table, else the top one.
int StartOfWalk(const Walk& walk, const TranslationTable& table, uint64_t address,
                CachedTable* at) {
  *at = CachedTable{table.base};
  if (walk.tlb == nullptr) return table.start_level;
  for (int level = 3; level > table.start_level; --level) {
    const auto* known = walk.tlb->FindStage1Table(walk.asid(), table.granule_shift, level, address);
    if (known == nullptr) continue;
    *at = *known;
    return level;
  }
  return table.start_level;
}

// Where a descriptor is in memory; marking it takes a write.
Fault Locate(const Walk& walk, bool write, Found* found) {
  found->place = PhysAddr{found->entry};
  if (!walk.stream.stage2) return Fault{};
  Leaf leaf;
  const Stage2Access access = {EventClass::kTable, write, false};
  const Fault fault = TranslateStage2(walk, found->entry, access, &leaf);
  if (fault.none()) found->place = leaf.page + (found->entry & (Bit(leaf.shift) - 1));
  return fault;
}

void Note(const Walk& walk, const TranslationTable& table, uint64_t address, int level,
          const Found& found) {
  if (walk.trace == nullptr) return;
  TraceStep step;
  step.table = TraceStep::Table::kStage1;
  step.address = found.place;
  if (walk.stream.stage2) step.ipa = found.entry;
  step.level = level;
  step.granule_shift = table.granule_shift;
  step.input = address;
  step.word = found.word;
  if (IsTable(level, found.word)) {
    step.denies_user = !walk.one_privilege && (found.word & kTableNoUser);
    step.denies_write = found.word & kTableNoWrite;
  } else {
    step.denies_user = !walk.one_privilege && !(found.word & kUser);
    const bool becomes_dirty = table.dirty_state && (found.word & kDirtyModifier);
    step.denies_write = (found.word & kReadOnly) && !becomes_dirty;
  }
  walk.trace->push_back(step);
}

Fault ReadDescriptor(const Walk& walk, const TranslationTable& table, uint64_t address, int level,
                     Found* found) {
  if (const Fault fault = Locate(walk, false, found); !fault.none()) return fault;
  const absl::optional<uint64_t> word = walk.memory.Load64(found->place);
  found->word = word.value_or(0);
  Note(walk, table, address, level, *found);
  if (!word.has_value()) {
    return Fault{kWalkAbort, false, EventClass::kTable, found->place.value, true};
  }
  return Fault{};
}

void Narrow(uint64_t word, CachedTable* at) {
  at->no_user = at->no_user || (word & kTableNoUser);
  at->no_write = at->no_write || (word & kTableNoWrite);
  at->no_user_execute = at->no_user_execute || (word & kTableUserExecuteNever);
  at->no_privileged_execute = at->no_privileged_execute || (word & kTablePrivilegedExecuteNever);
}

void SetPermissions(const Walk& walk, uint64_t word, const CachedTable& at, bool writable,
                    Leaf* leaf) {
  if (walk.one_privilege) {
    leaf->privileged = {true, writable, !(word & kUserExecuteNever) && !at.no_user_execute};
    leaf->user = leaf->privileged;
    return;
  }
  const bool user = (word & kUser) && !at.no_user;
  // What users may not read they may still execute.
  leaf->user = {user, user && writable, !(word & kUserExecuteNever) && !at.no_user_execute};
  const bool reachable = !(user && walk.context->privileged_never);
  leaf->privileged = {
      reachable, reachable && writable,
      !(word & kPrivilegedExecuteNever) && !at.no_privileged_execute && !leaf->user.write};
}

Leaf LeafOf(const Walk& walk, const TranslationTable& table, int level, uint64_t word,
            const CachedTable& at) {
  Leaf leaf;
  leaf.shift = leaf.block_shift = LevelShift(table.granule_shift, level);
  const uint64_t address = AddressOf(walk.spec, table.granule_shift, word);
  leaf.page = PhysAddr{address >> leaf.shift << leaf.shift};
  leaf.ipa = leaf.page.value;
  leaf.granule_shift = table.granule_shift;
  leaf.level = level;
  const bool becomes_dirty = table.dirty_state && (word & kDirtyModifier) && !at.no_write;
  const bool dirty = !(word & kReadOnly);
  SetPermissions(walk, word, at, (dirty && !at.no_write) || becomes_dirty, &leaf);
  leaf.dirty = !becomes_dirty || dirty;
  return leaf;
}

Fault CheckOwn(const Walk& walk, const Leaf& leaf) {
  const bool privileged = walk.privileged || walk.one_privilege;
  const Permissions& permissions = privileged ? leaf.privileged : leaf.user;
  bool permitted = walk.write ? permissions.write : permissions.read;
  if (walk.instruction) permitted = permissions.execute;
  return permitted ? Fault{} : FaultOf(kPermissionFault);
}

Stage2Access OutputAccess(const Walk& walk) {
  return {EventClass::kInput, walk.write, walk.instruction};
}

// Of a remembered leaf: stage 1 first.
Fault CheckBoth(const Walk& walk, uint64_t address, const Leaf& leaf) {
  const Fault fault = CheckOwn(walk, leaf);
  if (!fault.none() || !walk.stream.stage2) return fault;
  return CheckStage2(walk, leaf.ipa | (address & (Bit(leaf.shift) - 1)), OutputAccess(walk), leaf);
}

// Puts the page that stage 1 found through stage 2.
Fault Nest(const Walk& walk, uint64_t address, Leaf* leaf) {
  const uint64_t ipa = leaf->page.value | (address & (Bit(leaf->shift) - 1));
  Leaf inner;
  const Fault fault = TranslateStage2(walk, ipa, OutputAccess(walk), &inner);
  if (!fault.none()) return fault;
  leaf->shift = std::min(leaf->shift, inner.shift);
  const uint64_t in_inner = ipa & (Bit(inner.shift) - 1);
  leaf->page = inner.page + (in_inner >> leaf->shift << leaf->shift);
  leaf->ipa = ipa >> leaf->shift << leaf->shift;
  leaf->stage2 = inner.stage2;
  leaf->dirty = leaf->dirty && inner.dirty;
  return Fault{};
}

// What has to be marked in a descriptor before the request may use it.
uint64_t Marked(const Walk& walk, const TranslationTable& table, const Leaf& leaf, uint64_t word) {
  if (table.access_flags) word |= kAccessFlag;
  if (walk.write && !leaf.dirty) word &= ~kReadOnly;
  return word;
}

void Remember(const Walk& walk, uint64_t address, uint64_t word, const Leaf& leaf) {
  if (walk.tlb == nullptr) return;
  const bool global = walk.one_privilege || !(word & kNotGlobal);
  walk.tlb->InsertStage1(walk.asid(), global, address, leaf);
}

// What the descriptor of a page or block makes of the request. Marks it last, once nothing can
// refuse the request any more. Sets `*again` when it changed meanwhile.
Fault TakeLeaf(const Walk& walk, const TranslationTable& table, uint64_t address, int level,
               const CachedTable& at, Found* found, Leaf* leaf, bool* again) {
  *leaf = LeafOf(walk, table, level, found->word, at);
  if (leaf->page.value >> table.output_bits) return FaultOf(kAddressSizeFault);
  const bool accessed = found->word & kAccessFlag;
  if (!accessed && !table.access_flags && !table.ignores_access) return FaultOf(kAccessFault);
  if (const Fault fault = CheckOwn(walk, *leaf); !fault.none()) {
    // A unit may remember what it found even if it is not what this request may do.
    const bool usable = accessed || !table.access_flags;
    if (usable && !walk.stream.stage2) Remember(walk, address, found->word, *leaf);
    return fault;
  }
  const uint64_t marked = Marked(walk, table, *leaf, found->word);
  leaf->dirty = leaf->dirty || walk.write;
  if (walk.stream.stage2) {
    if (const Fault fault = Nest(walk, address, leaf); !fault.none()) return fault;
  }
  if (marked != found->word) {
    if (walk.mode == WalkMode::kSpeculate) return FaultOf(kAccessFault);
    if (const Fault fault = Locate(walk, true, found); !fault.none()) return fault;
    *again = !MarkDescriptor(walk, found->place, marked, &found->word);
    if (*again) return Fault{};
  }
  Remember(walk, address, found->word, *leaf);
  return Fault{};
}

Fault WalkTables(const Walk& walk, const TranslationTable& table, uint64_t address, Leaf* leaf) {
  if (table.disabled || !InRange(table, address)) return FaultOf(kTranslationFault);
  CachedTable at;
  int level = StartOfWalk(walk, table, address, &at);
  while (true) {
    Found found;
    found.entry = DescriptorAddress(table, level, at.table.value, address);
    const Fault unread = ReadDescriptor(walk, table, address, level, &found);
    if (!unread.none()) return unread;
    if (!IsValid(walk.spec, table.granule_shift, level, found.word)) {
      return FaultOf(kTranslationFault);
    }
    if (!IsTable(level, found.word)) {
      bool again = false;
      const Fault fault = TakeLeaf(walk, table, address, level, at, &found, leaf, &again);
      if (!again) return fault;
      continue;
    }
    at.table = PhysAddr{AddressOf(walk.spec, table.granule_shift, found.word)};
    if (at.table.value >> table.output_bits) return FaultOf(kAddressSizeFault);
    Narrow(found.word, &at);
    ++level;
    if (walk.tlb == nullptr) continue;
    walk.tlb->InsertStage1Table(walk.asid(), table.granule_shift, level, address, at);
  }
}

}  // namespace

Fault TranslateStage1(const Walk& walk, uint64_t address, Leaf* leaf, bool* hit) {
  address = Canonical(walk, address);
  const Leaf* known = walk.tlb == nullptr ? nullptr : walk.tlb->FindStage1(walk.asid(), address);
  *hit = known != nullptr;
  if (*hit) {
    const Fault fault = CheckBoth(walk, address, *known);
    *hit = !fault.none() || !walk.write || known->dirty;
    if (*hit) {
      *leaf = *known;
      return fault;
    }
  }
  return WalkTables(walk, TableFor(walk, address), address, leaf);
}

}  // namespace viommu::hardware::smmu
