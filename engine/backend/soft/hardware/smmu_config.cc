#include "engine/backend/soft/hardware/smmu_config.h"

#include <algorithm>
#include <optional>

#include "absl/types/optional.h"
#include "engine/backend/soft/hardware/smmu_stage2.h"

namespace viommu::hardware::smmu {
namespace {

constexpr uint64_t kEntryBytes = sizeof(EntryWords);
constexpr uint64_t kTablePointer = Bits(51, 6);
constexpr uint64_t kContextTablePointer = Bits(51, 12);
constexpr uint64_t kContextTableValid = Bit(0);
constexpr int kMinAlignment = 6;

// STRTAB_BASE_CFG.LOG2SIZE, as far as the unit has streams.
int StreamLog2(const ConfigLookup& lookup) {
  const int log2 = static_cast<int>(Field(lookup.registers.stream_table_config, 5, 0));
  return std::min(log2, lookup.spec.stream_id_bits);
}

bool TwoLevel(const ConfigLookup& lookup) {
  return lookup.spec.two_level_stream_table &&
         Field(lookup.registers.stream_table_config, 17, 16) == 1;
}

uint64_t Aligned(uint64_t address, int log2) {
  const int bits = std::max(log2, kMinAlignment);
  return address >> bits << bits;
}

Fault Only(EventId id, uint64_t address = 0) {
  return Fault{id, false, EventClass::kCd, address, false};
}

void Note(const ConfigLookup& lookup, TraceStep::Table table, PhysAddr place,
          std::optional<uint64_t> ipa = std::nullopt) {
  if (lookup.trace == nullptr) return;
  TraceStep step;
  step.table = table;
  step.address = place;
  step.ipa = ipa;
  lookup.trace->push_back(step);
}

// One word after the other, as single reads.
bool ReadEntry(const ConfigLookup& lookup, PhysAddr address, EntryWords* words) {
  for (size_t i = 0; i < words->size(); ++i) {
    const absl::optional<uint64_t> word = lookup.memory.Load64(address + 8 * i);
    if (!word.has_value()) return false;
    (*words)[i] = *word;
  }
  return true;
}

Fault FindStreamTable(const ConfigLookup& lookup, uint32_t part, uint64_t* descriptor) {
  if (lookup.cache != nullptr) {
    if (const uint64_t* known = lookup.cache->FindStreamTable(part)) {
      *descriptor = *known;
      return Fault{};
    }
  }
  const int log2 = StreamLog2(lookup) - StreamSplit(lookup.registers) + 3;
  const uint64_t base = Aligned(lookup.registers.stream_table & kTablePointer, log2);
  const PhysAddr place{base + uint64_t{part} * 8};
  Note(lookup, TraceStep::Table::kStreamL1, place);
  const absl::optional<uint64_t> word = lookup.memory.Load64(place);
  if (!word.has_value()) return Only(kSteFetch, place.value);
  *descriptor = *word;
  const bool has_table = Field(*word, 4, 0) != 0;
  if (lookup.cache != nullptr && has_table) lookup.cache->InsertStreamTable(part, *word);
  return Fault{};
}

Fault LocateStream(const ConfigLookup& lookup, uint32_t stream_id, PhysAddr* place) {
  const int log2 = StreamLog2(lookup);
  if (log2 < 32 && (stream_id >> log2) != 0) return Only(kBadStreamId);
  if (!TwoLevel(lookup)) {
    const uint64_t base = Aligned(lookup.registers.stream_table & kTablePointer, log2 + 6);
    *place = PhysAddr{base + stream_id * kEntryBytes};
    return Fault{};
  }
  const int split = StreamSplit(lookup.registers);
  uint64_t descriptor = 0;
  const Fault fault = FindStreamTable(lookup, stream_id >> split, &descriptor);
  if (!fault.none()) return fault;
  const int span = static_cast<int>(Field(descriptor, 4, 0));
  const uint32_t index = stream_id & ((1u << split) - 1);
  if (span == 0 || span > split + 1 || (index >> (span - 1)) != 0) return Only(kBadStreamId);
  const uint64_t base = Aligned(descriptor & kTablePointer, span - 1 + 6);
  *place = PhysAddr{base + index * kEntryBytes};
  return Fault{};
}

// Where a part of the CD tables is in memory, which is read next.
Fault LocateContextPart(const ConfigLookup& lookup, const Walk& walk, TraceStep::Table table,
                        uint64_t address, PhysAddr* place) {
  *place = PhysAddr{address};
  if (!walk.stream.stage2) {
    Note(lookup, table, *place);
    return Fault{};
  }
  Leaf leaf;
  const Fault fault = TranslateStage2(walk, address, Stage2Access{EventClass::kCd}, &leaf);
  if (!fault.none()) return fault;
  *place = leaf.page + (address & (Bit(leaf.shift) - 1));
  Note(lookup, table, *place, address);
  return Fault{};
}

Fault FindContextTable(const ConfigLookup& lookup, const Walk& walk, uint32_t stream_id,
                       uint32_t part, uint64_t* descriptor) {
  if (lookup.cache != nullptr) {
    if (const uint64_t* known = lookup.cache->FindContextTable(stream_id, part)) {
      *descriptor = *known;
      return Fault{};
    }
  }
  PhysAddr place;
  const int log2 = walk.stream.context_log2 - walk.stream.context_split + 3;
  const uint64_t address = Aligned(walk.stream.context_table, log2) + uint64_t{part} * 8;
  const Fault fault =
      LocateContextPart(lookup, walk, TraceStep::Table::kContextL1, address, &place);
  if (!fault.none()) return fault;
  const absl::optional<uint64_t> word = lookup.memory.Load64(place);
  if (!word.has_value()) return Only(kCdFetch, place.value);
  *descriptor = *word;
  if (lookup.cache != nullptr) lookup.cache->InsertContextTable(stream_id, part, *word);
  return Fault{};
}

Fault LocateContext(const ConfigLookup& lookup, const Walk& walk, uint32_t stream_id,
                    uint32_t index, PhysAddr* place) {
  const StreamEntry& stream = walk.stream;
  if (stream.context_split == 0) {
    const uint64_t base = Aligned(stream.context_table, stream.context_log2 + 6);
    return LocateContextPart(lookup, walk, TraceStep::Table::kContext, base + index * kEntryBytes,
                             place);
  }
  uint64_t descriptor = 0;
  const uint32_t part = index >> stream.context_split;
  const Fault fault = FindContextTable(lookup, walk, stream_id, part, &descriptor);
  if (!fault.none()) return fault;
  if (!(descriptor & kContextTableValid)) return Only(kBadSubstreamId);
  const uint64_t base = Aligned(descriptor & kContextTablePointer, stream.context_split + 6);
  const uint32_t rest = index & ((1u << stream.context_split) - 1);
  return LocateContextPart(lookup, walk, TraceStep::Table::kContext, base + rest * kEntryBytes,
                           place);
}

}  // namespace

int StreamSplit(const Registers& registers) {
  const int split = static_cast<int>(Field(registers.stream_table_config, 10, 6));
  return split == 8 || split == 10 ? split : 6;
}

Fault FindStream(const ConfigLookup& lookup, uint32_t stream_id, StreamEntry* entry) {
  const StreamEntry* known =
      lookup.cache == nullptr ? nullptr : lookup.cache->FindStream(stream_id);
  if (lookup.counters != nullptr) {
    ++(known != nullptr ? lookup.counters->ste_hits : lookup.counters->ste_misses);
  }
  if (known != nullptr) {
    *entry = *known;
  } else {
    PhysAddr place;
    EntryWords words;
    const Fault fault = LocateStream(lookup, stream_id, &place);
    if (!fault.none()) return fault;
    Note(lookup, TraceStep::Table::kStream, place);
    if (!ReadEntry(lookup, place, &words)) return Only(kSteFetch, place.value);
    *entry = DecodeStream(lookup.spec, words);
    if (lookup.cache != nullptr) lookup.cache->InsertStream(stream_id, *entry);
  }
  return entry->legal ? Fault{} : Only(kBadSte);
}

Fault FindContext(const ConfigLookup& lookup, const Walk& walk, uint32_t stream_id, uint32_t index,
                  ContextEntry* entry) {
  const ContextEntry* known =
      lookup.cache == nullptr ? nullptr : lookup.cache->FindContext(stream_id, index);
  if (lookup.counters != nullptr) {
    ++(known != nullptr ? lookup.counters->cd_hits : lookup.counters->cd_misses);
  }
  if (known != nullptr) {
    *entry = *known;
  } else {
    PhysAddr place;
    EntryWords words;
    const Fault fault = LocateContext(lookup, walk, stream_id, index, &place);
    if (!fault.none()) return fault;
    if (!ReadEntry(lookup, place, &words)) return Only(kCdFetch, place.value);
    *entry = DecodeContext(lookup.spec, walk.stream, words);
    if (lookup.cache != nullptr) lookup.cache->InsertContext(stream_id, index, *entry);
  }
  return entry->legal ? Fault{} : Only(kBadCd);
}

}  // namespace viommu::hardware::smmu
