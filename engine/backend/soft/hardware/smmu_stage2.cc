#include "engine/backend/soft/hardware/smmu_stage2.h"

#include "absl/types/optional.h"
#include "engine/backend/soft/hardware/smmu_trace.h"

namespace viommu::hardware::smmu {
namespace {

constexpr uint64_t kReadable = Bit(6);       // S2AP[0]
constexpr uint64_t kWritable = Bit(7);       // S2AP[1]
constexpr uint64_t kExecuteNever = Bit(54);  // XN

Fault FaultOf(EventId id, uint64_t ipa, const Stage2Access& access) {
  const bool table_read = access.event_class == EventClass::kTable && !access.write;
  return Fault{id, true, access.event_class, ipa, table_read};
}

bool IsDevice(const Walk& walk, uint64_t word) {
  return walk.stream.force_write_back ? !(word & Bit(4)) : !(word & Bits(5, 4));
}

// Where the walk starts: the deepest remembered table, else the top one.
int StartOfWalk(const Walk& walk, uint64_t ipa, uint64_t* base) {
  const TranslationTable& table = walk.stream.table;
  *base = table.base.value;
  if (walk.tlb == nullptr) return table.start_level;
  for (int level = 3; level > table.start_level; --level) {
    if (const auto* known = walk.tlb->FindStage2Table(table.granule_shift, level, ipa)) {
      *base = known->table.value;
      return level;
    }
  }
  return table.start_level;
}

Leaf LeafOf(const Walk& walk, uint64_t ipa, int level, uint64_t word) {
  const TranslationTable& table = walk.stream.table;
  Leaf leaf;
  leaf.shift = leaf.block_shift = LevelShift(table.granule_shift, level);
  const uint64_t address = AddressOf(walk.spec, table.granule_shift, word);
  leaf.page = PhysAddr{address >> leaf.shift << leaf.shift};
  leaf.ipa = ipa >> leaf.shift << leaf.shift;
  leaf.granule_shift = table.granule_shift;
  leaf.level = level;
  const bool becomes_dirty = table.dirty_state && (word & kDirtyModifier);
  leaf.stage2 = {(word & kReadable) != 0, (word & kWritable) || becomes_dirty,
                 !(word & kExecuteNever)};
  leaf.dirty = !becomes_dirty || (word & kWritable);
  leaf.device = IsDevice(walk, word);
  return leaf;
}

// What the descriptor of a page or block makes of the access. Sets `*again` when it changed
// meanwhile.
Fault TakeLeaf(const Walk& walk, uint64_t ipa, const Stage2Access& access, int level,
               PhysAddr place, uint64_t word, Leaf* leaf, bool* again) {
  const TranslationTable& table = walk.stream.table;
  *leaf = LeafOf(walk, ipa, level, word);
  if (leaf->page.value >> table.output_bits) return FaultOf(kAddressSizeFault, ipa, access);
  uint64_t marked = word;
  if (!(word & kAccessFlag)) {
    if (table.access_flags) {
      marked |= kAccessFlag;
    } else if (!table.ignores_access) {
      return FaultOf(kAccessFault, ipa, access);
    }
  }
  const Fault fault = CheckStage2(walk, ipa, access, *leaf);
  if (fault.none() && access.write && !leaf->dirty) marked |= kWritable;
  if (marked != word) {
    // What is not marked is not remembered either.
    if (!fault.none()) return fault;
    if (walk.mode == WalkMode::kSpeculate) return FaultOf(kAccessFault, ipa, access);
    *again = !MarkDescriptor(walk, place, marked, &word);
    if (*again) return Fault{};
    leaf->dirty = leaf->dirty || access.write;
  }
  if (walk.tlb != nullptr) walk.tlb->InsertStage2(ipa, *leaf);
  return fault;
}

void Note(const Walk& walk, uint64_t ipa, const Stage2Access& access, int level, PhysAddr place,
          uint64_t word) {
  if (walk.trace == nullptr) return;
  TraceStep step;
  step.table = TraceStep::Table::kStage2;
  step.address = place;
  step.level = level;
  step.granule_shift = walk.stream.table.granule_shift;
  step.input = ipa;
  step.word = word;
  step.nested =
      walk.stream.stage1 && (walk.context != nullptr || access.event_class != EventClass::kInput);
  step.purpose = access.event_class;
  step.marks = access.write && access.event_class == EventClass::kTable;
  walk.trace->push_back(step);
}

Fault WalkTables(const Walk& walk, uint64_t ipa, const Stage2Access& access, Leaf* leaf) {
  const TranslationTable& table = walk.stream.table;
  if (ipa >> table.input_bits) return FaultOf(kTranslationFault, ipa, access);
  uint64_t base = 0;
  int level = StartOfWalk(walk, ipa, &base);
  while (true) {
    const PhysAddr place{DescriptorAddress(table, level, base, ipa)};
    const absl::optional<uint64_t> word = walk.memory.Load64(place);
    Note(walk, ipa, access, level, place, word.value_or(0));
    if (!word.has_value()) return FaultOf(kWalkAbort, place.value, access);
    if (!IsValid(walk.spec, table.granule_shift, level, *word)) {
      return FaultOf(kTranslationFault, ipa, access);
    }
    if (!IsTable(level, *word)) {
      bool again = false;
      const Fault fault = TakeLeaf(walk, ipa, access, level, place, *word, leaf, &again);
      if (!again) return fault;
      continue;
    }
    base = AddressOf(walk.spec, table.granule_shift, *word);
    if (base >> table.output_bits) return FaultOf(kAddressSizeFault, ipa, access);
    ++level;
    if (walk.tlb == nullptr) continue;
    walk.tlb->InsertStage2Table(table.granule_shift, level, ipa, CachedTable{PhysAddr{base}});
  }
}

}  // namespace

Fault CheckStage2(const Walk& walk, uint64_t ipa, const Stage2Access& access, const Leaf& leaf) {
  const bool walks = access.event_class != EventClass::kInput;
  bool permitted = access.write ? leaf.stage2.write : leaf.stage2.read;
  if (access.instruction) permitted = leaf.stage2.execute;
  if (walks && walk.stream.protected_walks && leaf.device) permitted = false;
  return permitted ? Fault{} : FaultOf(kPermissionFault, ipa, access);
}

Fault TranslateStage2(const Walk& walk, uint64_t ipa, const Stage2Access& access, Leaf* leaf) {
  const Leaf* known = walk.tlb == nullptr ? nullptr : walk.tlb->FindStage2(ipa);
  if (known == nullptr) return WalkTables(walk, ipa, access, leaf);
  const Fault fault = CheckStage2(walk, ipa, access, *known);
  if (fault.none() && access.write && !known->dirty) return WalkTables(walk, ipa, access, leaf);
  *leaf = *known;
  return fault;
}

}  // namespace viommu::hardware::smmu
