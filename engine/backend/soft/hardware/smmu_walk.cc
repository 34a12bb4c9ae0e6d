#include "engine/backend/soft/hardware/smmu_walk.h"

#include <algorithm>

namespace viommu::hardware::smmu {
namespace {

bool HasBlocks(const Spec& spec, int granule_shift, int level) {
  if (level == 2) return true;
  if (level != 1) return false;
  return granule_shift == 12 || (granule_shift == 16 && spec.output_address_bits == 52);
}

}  // namespace

bool IsValid(const Spec& spec, int granule_shift, int level, uint64_t word) {
  if (!(word & kValid)) return false;
  if (level == 3) return word & kTableOrPage;
  return IsTable(level, word) || HasBlocks(spec, granule_shift, level);
}

uint64_t AddressOf(const Spec& spec, int granule_shift, uint64_t word) {
  uint64_t address = word & Bits(47, granule_shift);
  if (granule_shift == 16 && spec.output_address_bits == 52) address |= Field(word, 15, 12) << 48;
  return address;
}

uint64_t DescriptorAddress(const TranslationTable& table, int level, uint64_t base,
                           uint64_t address) {
  const int shift = LevelShift(table.granule_shift, level);
  const bool top = level == table.start_level;
  const int index_bits = top ? table.input_bits - shift : table.granule_shift - 3;
  const uint64_t index = (address >> shift) & ((uint64_t{1} << index_bits) - 1);
  // A table lies at a multiple of its size, and of 64 bytes where addresses have 52 bits.
  const int least = table.output_bits == 52 ? 6 : 4;
  const int alignment = std::max(least, index_bits + 3);
  return (base >> alignment << alignment) + index * 8;
}

bool MarkDescriptor(const Walk& walk, PhysAddr address, uint64_t marked, uint64_t* word) {
  if (walk.mode == WalkMode::kUse) {
    if (!walk.memory.Exchange64(address, *word, marked)) return false;
    ++walk.counters->entries_marked;
  }
  *word = marked;
  return true;
}

}  // namespace viommu::hardware::smmu
