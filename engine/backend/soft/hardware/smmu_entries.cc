#include "engine/backend/soft/hardware/smmu_entries.h"

#include <algorithm>

namespace viommu::hardware::smmu {
namespace {

constexpr int kMaxTableSize = 39;    // T0SZ, without small translation tables.
constexpr int kMaxConcatenated = 4;  // Log2 of the root tables that stage 2 may have side by side.

int Number(uint64_t word, int high, int low) { return static_cast<int>(Field(word, high, low)); }

// TG0 and S2TG; 0: none that the unit has.
int GranuleShift(const Spec& spec, int encoding) {
  if (encoding == 0 && spec.granule_4k) return 12;
  if (encoding == 1 && spec.granule_64k) return 16;
  if (encoding == 2 && spec.granule_16k) return 14;
  return 0;
}

// TG1 counts otherwise.
int HighGranuleShift(const Spec& spec, int encoding) {
  constexpr int kAsLow[] = {3, 2, 0, 1};
  return GranuleShift(spec, kAsLow[encoding]);
}

int OutputBits(const Spec& spec, int granule_shift, int encoding) {
  const int bits = std::min(AddressBitsOf(encoding), spec.output_address_bits);
  return granule_shift == 16 ? bits : std::min(bits, 48);
}

bool OutOfRange(uint64_t address, int bits) { return (address >> bits) != 0; }

// The level whose tables resolve the top bits of an input address.
int StartLevel(int granule_shift, int input_bits) {
  int level = 3;
  while (level > 0 && LevelShift(granule_shift, level - 1) < input_bits) --level;
  return level;
}

// Whether hardware updates are asked for that the unit does not make.
bool UpdatesIllegal(const Spec& spec, bool access, bool dirty) {
  return (access && spec.httu < 1) || (dirty && spec.httu < 2);
}

bool StallsIllegal(const Spec& spec, bool stalls) {
  return spec.stall_model == (stalls ? StallModel::kTerminateOnly : StallModel::kStallForced);
}

bool DecodeStage1Of(const Spec& spec, const EntryWords& words, StreamEntry* entry) {
  if (!spec.stage1) return false;
  entry->context_table = words[0] & Bits(55, 6);
  entry->default_substream = Number(words[1], 1, 0);
  entry->stalls_off = words[1] & Bit(27);
  if (entry->stalls_off && spec.stall_model != StallModel::kStallAndTerminate) return false;
  const int log2 = Number(words[0], 63, 59);
  if (spec.substream_id_bits > 0) {
    if (log2 > spec.substream_id_bits) return false;
    entry->context_log2 = log2;
  }
  constexpr int kSplits[] = {0, 6, 10, 0};
  if (entry->context_log2 > 0) entry->context_split = kSplits[Number(words[0], 5, 4)];
  if (entry->context_split > 0 && !spec.two_level_cd) return false;
  const int world = Number(words[1], 31, 30);
  if (entry->stage2 || !spec.el2) return true;
  entry->el2 = world == 2;
  return world == 0 || world == 2;
}

// Whether a walk that starts at `level` can resolve the input: at least one bit there, at most the
// table's and those that tell side by side ones apart.
bool StartLevelFits(const TranslationTable& table, int level) {
  const int bits = table.input_bits - LevelShift(table.granule_shift, level);
  return bits >= 1 && bits <= table.granule_shift - 3 + kMaxConcatenated;
}

// S2SL0, by granule: 4 KiB tables start at level 2 minus it, others at level 3 minus it.
int SelectedLevel(int granule_shift, int encoding) {
  if (encoding == 3) return -1;
  return (granule_shift == 12 ? 2 : 3) - encoding;
}

bool DecodeStage2Table(const Spec& spec, const EntryWords& words, TranslationTable* table) {
  table->granule_shift = GranuleShift(spec, Number(words[2], 47, 46));
  if (table->granule_shift == 0) return false;
  const int size = Number(words[2], 37, 32);
  const int widest = table->granule_shift == 16 ? 52 : 48;
  const int smallest = 64 - std::min(widest, spec.output_address_bits);
  if (size > kMaxTableSize || size < smallest) return false;
  table->input_bits = 64 - size;
  table->start_level = SelectedLevel(table->granule_shift, Number(words[2], 39, 38));
  if (table->start_level < 0 || !StartLevelFits(*table, table->start_level)) return false;
  // Level 0 of 4 KiB tables, and level 1 of the others, are for large physical addresses only.
  const bool tall = table->start_level == (table->granule_shift == 12 ? 0 : 1);
  if (tall && spec.output_address_bits < (table->granule_shift == 14 ? 42 : 44)) return false;
  table->output_bits = OutputBits(spec, table->granule_shift, Number(words[2], 50, 48));
  table->base = PhysAddr{words[3] & Bits(51, 4)};
  if (OutOfRange(table->base.value, table->output_bits)) return false;
  table->ignores_access = words[2] & Bit(53);
  table->access_flags = words[2] & Bit(56);
  table->dirty_state = table->access_flags && (words[2] & Bit(55));
  return !UpdatesIllegal(spec, table->access_flags, words[2] & Bit(55));
}

bool DecodeStage2Of(const Spec& spec, const EntryWords& words, StreamEntry* entry) {
  if (!spec.stage2) return false;
  const bool aarch64 = words[2] & Bit(51);
  const bool big_endian = words[2] & Bit(52);
  if (!aarch64 || big_endian) return false;
  entry->protected_walks = words[2] & Bit(54);
  entry->stage2_stalls = words[2] & Bit(57);
  entry->stage2_records = words[2] & Bit(58);
  entry->force_write_back = spec.force_write_back && (words[1] & Bit(25));
  if (StallsIllegal(spec, entry->stage2_stalls)) return false;
  return DecodeStage2Table(spec, words, &entry->table);
}

// EATS counts where a stage translates. 2 asks for split stages; 3 is reserved and means 0.
bool DecodeAts(const Spec& spec, const EntryWords& words, StreamEntry* entry) {
  if (!spec.ats || (!entry->stage1 && !entry->stage2)) return true;
  const int ats = Number(words[1], 29, 28);
  entry->full_ats = ats == 1;
  return ats != 2 && !(entry->full_ats && entry->stage2 && entry->stage2_stalls);
}

// The parts of a CD that say where one half of the address space is translated.
struct HalfFields {
  int size;
  int granule_shift;
  bool disabled;
  uint64_t base;
};

bool DecodeHalf(const Spec& spec, const HalfFields& fields, int output, TranslationTable* table) {
  table->disabled = fields.disabled;
  if (fields.disabled) return true;
  if (fields.granule_shift == 0) return false;
  const int smallest = spec.wide_input && fields.granule_shift == 16 ? 12 : 16;
  if (fields.size > kMaxTableSize || fields.size < smallest) return false;
  table->granule_shift = fields.granule_shift;
  table->input_bits = 64 - fields.size;
  table->start_level = StartLevel(table->granule_shift, table->input_bits);
  table->output_bits = OutputBits(spec, table->granule_shift, output);
  table->base = PhysAddr{fields.base & Bits(51, 4)};
  return !OutOfRange(table->base.value, table->output_bits);
}

}  // namespace

StreamEntry DecodeStream(const Spec& spec, const EntryWords& words) {
  StreamEntry entry;
  if (!(words[0] & Bit(0))) return entry;
  entry.response_pasid = spec.pri && spec.substream_id_bits > 0 && (words[1] & Bit(18));
  const int config = Number(words[0], 3, 1);
  if (config < 4) {
    entry.legal = entry.aborts = true;
    return entry;
  }
  entry.stage1 = config & 1;
  entry.stage2 = config & 2;
  entry.vmid = static_cast<uint16_t>(Field(words[2], 15, 0));
  const bool vmid_counts = spec.stage2 && (entry.stage1 || entry.stage2);
  if (vmid_counts && !spec.vmid16 && entry.vmid > 0xff) return entry;
  if (!spec.stage2) entry.vmid = 0;
  if (entry.stage1 && !DecodeStage1Of(spec, words, &entry)) return entry;
  if (entry.stage2 && !DecodeStage2Of(spec, words, &entry)) return entry;
  entry.legal = DecodeAts(spec, words, &entry);
  return entry;
}

ContextEntry DecodeContext(const Spec& spec, const StreamEntry& stream, const EntryWords& words) {
  ContextEntry entry;
  const uint64_t word = words[0];
  const bool aarch64 = word & Bit(41);
  if (!(word & Bit(31)) || !aarch64) return entry;
  const bool low_off = word & Bit(14);
  const bool high_off = word & Bit(30);
  const bool big_endian = word & Bit(15);
  if (big_endian && !(low_off && high_off)) return entry;
  const int output = Number(word, 34, 32);
  const HalfFields low = {Number(word, 5, 0), GranuleShift(spec, Number(word, 7, 6)), low_off,
                          words[1]};
  const HalfFields high = {Number(word, 21, 16), HighGranuleShift(spec, Number(word, 23, 22)),
                           high_off, words[2]};
  if (!DecodeHalf(spec, low, output, &entry.low)) return entry;
  if (!DecodeHalf(spec, high, output, &entry.high)) return entry;
  const bool access = word & Bit(43);
  const bool dirty = word & Bit(42);
  if (UpdatesIllegal(spec, access, dirty)) return entry;
  for (TranslationTable* table : {&entry.low, &entry.high}) {
    table->access_flags = access;
    table->dirty_state = access && dirty;
    table->ignores_access = word & Bit(35);
  }
  entry.ignores_top_low = word & Bit(38);
  entry.ignores_top_high = word & Bit(39);
  entry.privileged_never = word & Bit(40);
  entry.stalls = word & Bit(44);
  entry.records = word & Bit(45);
  entry.aborts = word & Bit(46);
  if (StallsIllegal(spec, entry.stalls) || (entry.stalls && stream.stalls_off)) return entry;
  entry.asid = static_cast<uint16_t>(Field(word, 63, 48));
  entry.legal = spec.asid16 || entry.asid <= 0xff;
  return entry;
}

}  // namespace viommu::hardware::smmu
