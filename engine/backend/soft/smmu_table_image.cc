#include "engine/backend/soft/smmu_table_image.h"

#include <algorithm>
#include <cstddef>

#include "absl/types/span.h"
#include "engine/backend/soft/smmu_registers.h"
#include "engine/base/status_macros.h"
#include "engine/entries/smmu_fields.h"

namespace viommu {
namespace {

constexpr uint64_t kPageBytes = TableImage::kPageBytes;
constexpr uint64_t kWordBytes = sizeof(uint64_t);
constexpr uint64_t kCommandBytes = 16;
constexpr uint64_t kEventBytes = 32;
constexpr uint64_t kPageRequestBytes = 16;
constexpr size_t kEntryWords = 8;  // Of STEs and CDs.

// Registers (IHI 0070 6.3).
constexpr smmu::BitField kQueueLog2{0, 5};
constexpr uint64_t kQueueAddress = smmu::Bits(51, 5);
constexpr smmu::BitField kStreamLog2{0, 6};
constexpr smmu::BitField kStreamSplit{6, 5};
constexpr uint64_t kStreamAddress = smmu::Bits(51, 6);
constexpr uint32_t kPageRequestsOffered = 1 << 16;  // IDR0.PRI

// Descriptors of page tables (DDI 0487 D8.3).
constexpr uint64_t kTableType = 3;  // Above the lowest level; there it is a page.
constexpr uint64_t kStage2Readable = smmu::Bit(6);
constexpr int kLowestLevel = 3;

// Of a CD, beyond what this project writes: TTB1, which guests may have.
constexpr smmu::BitField kCdInputSize1{16, 6};  // T1SZ
constexpr smmu::BitField kCdGranule1{22, 2};    // TG1
constexpr int kMaxInputSize = 39;               // T0SZ, T1SZ

// By TG0 and S2TG; 0: reserved. TG1 counts otherwise.
constexpr int kGranuleLog2[] = {12, 16, 14, 0};
constexpr int kGranule1Log2[] = {0, 14, 12, 16};

int MinInputSize(int granule_log2) { return granule_log2 == 16 ? 12 : 16; }

int Shift(int granule_log2, int level) {
  return granule_log2 + (granule_log2 - 3) * (kLowestLevel - level);
}

// Of stage 1: the widest table that has at least one bit of the input.
int StartLevel(int granule_log2, int input_bits) {
  int level = kLowestLevel;
  while (level > 0 && Shift(granule_log2, level - 1) < input_bits) --level;
  return level;
}

uint64_t NextTable(uint64_t word, int granule_log2) { return word & smmu::Bits(47, granule_log2); }

// Tables have no fewer than 16 bytes: their addresses no bits below those.
uint64_t TableBytes(uint64_t entries) { return std::max<uint64_t>(entries * kWordBytes, 16); }

// A table lies at a multiple of its size.
uint64_t AlignedTable(uint64_t address, uint64_t bytes) { return address & ~(bytes - 1); }

template <typename Entry>
Entry EntryAt(absl::Span<const uint64_t> words, size_t at) {
  Entry entry;
  std::copy_n(words.begin() + at, entry.size(), entry.begin());
  return entry;
}

}  // namespace

absl::Status SmmuTableCollector::Collect(const hardware::SmmuModel& unit) {
  RETURN_IF_ERROR(Queue(unit.Read64(smmu::kCommandQueueRegister), kCommandBytes));
  RETURN_IF_ERROR(Queue(unit.Read64(smmu::kEventQueueRegister), kEventBytes));
  const uint64_t requests = unit.Read64(smmu::kPageRequestQueueRegister);
  if ((requests & kQueueAddress) != 0) RETURN_IF_ERROR(Queue(requests, kPageRequestBytes));
  const uint32_t config = unit.Read32(smmu::kStreamTableConfigRegister);
  const uint64_t table = unit.Read64(smmu::kStreamTableRegister) & kStreamAddress;
  const uint64_t log2 = kStreamLog2.Get(config);
  if ((config & smmu::kStreamTableTwoLevel) == 0) {
    return StreamTable(PhysAddr{table}, uint64_t{1} << log2);
  }
  const uint64_t parts = uint64_t{1} << (log2 - std::min(log2, kStreamSplit.Get(config)));
  return ForEachPage(nullptr, table, parts, [this](absl::Span<const uint64_t> words) {
    for (const uint64_t word : words) {
      const size_t entries = smmu::StreamL1EntriesOf(word);
      if (entries != 0) RETURN_IF_ERROR(StreamTable(smmu::StreamL1TableOf(word), entries));
    }
    return absl::OkStatus();
  });
}

absl::Status SmmuTableCollector::Queue(uint64_t base, uint64_t entry_bytes) {
  const uint64_t words = (entry_bytes << kQueueLog2.Get(base)) / kWordBytes;
  return ForEachPage(nullptr, base & kQueueAddress, words,
                     [](absl::Span<const uint64_t>) { return absl::OkStatus(); });
}

absl::Status SmmuTableCollector::StreamTable(PhysAddr table, uint64_t entries) {
  return ForEachPage(nullptr, table.value, entries * kEntryWords,
                     [this](absl::Span<const uint64_t> words) {
                       for (size_t at = 0; at + kEntryWords <= words.size(); at += kEntryWords) {
                         RETURN_IF_ERROR(Stream(EntryAt<smmu::Ste>(words, at)));
                       }
                       return absl::OkStatus();
                     });
}

absl::Status SmmuTableCollector::Stream(const smmu::Ste& ste) {
  if (!smmu::IsValid(ste)) return absl::OkStatus();
  const smmu::SteConfig config = smmu::ConfigOf(ste);
  if (smmu::HasStage2(config)) RETURN_IF_ERROR(Root(nullptr, Stage2Of(ste)));
  if (!smmu::HasStage1(config)) return absl::OkStatus();
  return CdTables(ste, smmu::HasStage2(config) ? &ste : nullptr);
}

absl::Status SmmuTableCollector::CdTables(const smmu::Ste& ste, Space space) {
  const int log2 = smmu::CdsLog2Of(ste);
  const uint64_t table = smmu::CdTableOf(ste);
  const smmu::CdTableFormat format = smmu::CdTableFormatOf(ste);
  if (log2 == 0 || format == smmu::CdTableFormat::kLinear) {
    return CdTable(space, table, uint64_t{1} << log2);
  }
  const int split = format == smmu::CdTableFormat::kTwoLevel4KiB ? 6 : smmu::kCdTableSplit;
  const uint64_t parts = uint64_t{1} << std::max(log2 - split, 0);
  const uint64_t first = AlignedTable(table, parts * kWordBytes);
  return ForEachPage(space, first, parts, [&](absl::Span<const uint64_t> words) {
    for (const uint64_t word : words) {
      if (!smmu::IsValidCdL1(word)) continue;
      RETURN_IF_ERROR(CdTable(space, smmu::CdL1TableOf(word), uint64_t{1} << split));
    }
    return absl::OkStatus();
  });
}

absl::Status SmmuTableCollector::CdTable(Space space, uint64_t table, uint64_t cds) {
  const uint64_t first = AlignedTable(table, cds * sizeof(smmu::Cd));
  return ForEachPage(space, first, cds * kEntryWords, [&](absl::Span<const uint64_t> words) {
    for (size_t at = 0; at + kEntryWords <= words.size(); at += kEntryWords) {
      RETURN_IF_ERROR(Cd(space, EntryAt<smmu::Cd>(words, at)));
    }
    return absl::OkStatus();
  });
}

absl::Status SmmuTableCollector::Cd(Space space, const smmu::Cd& cd) {
  if (!smmu::IsValidCd(cd)) return absl::OkStatus();
  const struct {
    bool off;
    int size;
    int granule_log2;
    uint64_t root;
  } kHalves[] = {{(cd[0] & smmu::kCdNoTable0) != 0, static_cast<int>(smmu::kCdInputSize.Get(cd[0])),
                  kGranuleLog2[smmu::kCdGranule.Get(cd[0])], cd[1] & smmu::kCdTableMask},
                 {(cd[0] & smmu::kCdNoTable1) != 0, static_cast<int>(kCdInputSize1.Get(cd[0])),
                  kGranule1Log2[kCdGranule1.Get(cd[0])], cd[2] & smmu::kCdTableMask}};
  for (const auto& half : kHalves) {
    // The hardware refuses the descriptor then.
    const bool illegal = half.size < MinInputSize(half.granule_log2) || half.size > kMaxInputSize ||
                         half.granule_log2 == 0;
    if (half.off || illegal) continue;
    const int input_bits = 64 - half.size;
    const int level = StartLevel(half.granule_log2, input_bits);
    RETURN_IF_ERROR(Root(space, {half.granule_log2, input_bits, level, half.root}));
  }
  return absl::OkStatus();
}

SmmuTableCollector::Tables SmmuTableCollector::Stage2Of(const smmu::Ste& ste) {
  Tables tables;
  tables.granule_log2 = kGranuleLog2[smmu::kSteS2Granule.Get(ste[2])];
  tables.input_bits = 64 - static_cast<int>(smmu::kSteS2InputSize.Get(ste[2]));
  const int first = tables.granule_log2 == 12 ? 2 : kLowestLevel;
  tables.level = first - static_cast<int>(smmu::kSteS2StartLevel.Get(ste[2]));
  const int bits = tables.input_bits - Shift(tables.granule_log2, tables.level);
  tables.root = AlignedTable(smmu::Stage2RootOf(ste).value, TableBytes(uint64_t{1} << bits));
  return tables;
}

absl::Status SmmuTableCollector::Root(Space space, const Tables& tables) {
  const int bits = tables.input_bits - Shift(tables.granule_log2, tables.level);
  const uint64_t entries = uint64_t{1} << bits;
  return PageTable(space, tables, AlignedTable(tables.root, TableBytes(entries)), tables.level,
                   entries);
}

absl::Status SmmuTableCollector::PageTable(Space space, const Tables& tables, uint64_t table,
                                           int level, uint64_t entries) {
  const uint64_t through = space == nullptr ? 0 : smmu::Stage2RootOf(*space).value;
  const Role role{through, table, level, tables.granule_log2, entries};
  if (!seen_.insert(role).second) return absl::OkStatus();
  return ForEachPage(space, table, entries, [&](absl::Span<const uint64_t> words) {
    if (level == kLowestLevel) return absl::OkStatus();
    for (const uint64_t word : words) {
      if ((word & kTableType) != kTableType) continue;
      RETURN_IF_ERROR(PageTable(space, tables, NextTable(word, tables.granule_log2), level + 1,
                                uint64_t{1} << (tables.granule_log2 - 3)));
    }
    return absl::OkStatus();
  });
}

absl::Status SmmuTableCollector::ForEachPage(Space space, uint64_t table, uint64_t words,
                                             Visit visit) {
  const uint64_t end = table + words * kWordBytes;
  for (uint64_t at = table; at < end; at = (at / kPageBytes + 1) * kPageBytes) {
    std::optional<PhysAddr> place = PhysAddr{at};
    if (space != nullptr) {
      // Also those that are only named: looking for them takes as long.
      if (++guest_pages_ > guest_limit_) {
        complete_ = false;
        return absl::OkStatus();
      }
      ASSIGN_OR_RETURN(place, ThroughStage2(*space, at));
      if (!place.has_value()) continue;
    }
    const uint64_t offset = place->value % kPageBytes;
    ASSIGN_OR_RETURN(const ImagePages::Words* page, pages_.Copy(PhysAddr{place->value - offset}));
    if (page == nullptr) continue;
    const uint64_t count = std::min(end - at, kPageBytes - offset) / kWordBytes;
    RETURN_IF_ERROR(visit(absl::MakeConstSpan(page->data() + offset / kWordBytes, count)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<PhysAddr>> SmmuTableCollector::ThroughStage2(const smmu::Ste& ste,
                                                                          uint64_t address) {
  const Tables tables = Stage2Of(ste);
  if (address >> tables.input_bits != 0) return std::nullopt;
  uint64_t table = tables.root;
  uint64_t bits = tables.input_bits - Shift(tables.granule_log2, tables.level);
  for (int level = tables.level; level <= kLowestLevel; ++level) {
    const int shift = Shift(tables.granule_log2, level);
    const uint64_t place = table + (address >> shift & ((uint64_t{1} << bits) - 1)) * kWordBytes;
    ASSIGN_OR_RETURN(const ImagePages::Words* page,
                     pages_.Copy(PhysAddr{place / kPageBytes * kPageBytes}));
    if (page == nullptr) return std::nullopt;
    const uint64_t word = (*page)[place % kPageBytes / kWordBytes];
    if ((word & 1) == 0) return std::nullopt;
    const bool leads_on = level < kLowestLevel && (word & kTableType) == kTableType;
    if (!leads_on) {
      if ((word & kStage2Readable) == 0) return std::nullopt;
      const uint64_t rest = (uint64_t{1} << shift) - 1;
      return PhysAddr{(word & smmu::Bits(47, 12) & ~rest) | (address & rest)};
    }
    table = NextTable(word, tables.granule_log2);
    bits = tables.granule_log2 - 3;
  }
  return std::nullopt;
}

void AppendSmmuRegisters(const std::string& iommu, const hardware::SmmuModel& unit,
                         std::vector<TableImage::Register>* registers) {
  struct Register {
    const char* name;
    uint32_t offset;
    bool wide = false;
  };
  constexpr Register kRegisters[] = {{"IDR0", smmu::kIdr0Register},
                                     {"IDR1", smmu::kIdr0Register + 0x4},
                                     {"IDR2", smmu::kIdr0Register + 0x8},
                                     {"IDR3", smmu::kIdr0Register + 0xc},
                                     {"IDR4", smmu::kIdr0Register + 0x10},
                                     {"IDR5", smmu::kIdr0Register + 0x14},
                                     {"IIDR", smmu::kIidrRegister},
                                     {"AIDR", smmu::kAidrRegister},
                                     {"CR0", smmu::kControlRegister},
                                     {"CR0ACK", smmu::kControlAckRegister},
                                     {"CR1", smmu::kTableAttributesRegister},
                                     {"CR2", smmu::kControl2Register},
                                     {"GERROR", smmu::kGlobalErrorRegister},
                                     {"GERRORN", smmu::kGlobalErrorAckRegister},
                                     {"STRTAB_BASE", smmu::kStreamTableRegister, true},
                                     {"STRTAB_BASE_CFG", smmu::kStreamTableConfigRegister},
                                     {"CMDQ_BASE", smmu::kCommandQueueRegister, true},
                                     {"CMDQ_PROD", smmu::kCommandProducerRegister},
                                     {"CMDQ_CONS", smmu::kCommandConsumerRegister},
                                     {"EVENTQ_BASE", smmu::kEventQueueRegister, true},
                                     {"EVENTQ_PROD", smmu::kEventProducerRegister},
                                     {"EVENTQ_CONS", smmu::kEventConsumerRegister}};
  constexpr Register kPageRequests[] = {{"PRIQ_BASE", smmu::kPageRequestQueueRegister, true},
                                        {"PRIQ_PROD", smmu::kPageRequestProducerRegister},
                                        {"PRIQ_CONS", smmu::kPageRequestConsumerRegister}};
  const auto append = [&](const Register& r) {
    const uint64_t value = r.wide ? unit.Read64(r.offset) : unit.Read32(r.offset);
    registers->push_back({iommu, r.name, r.offset, value});
  };
  for (const Register& r : kRegisters) append(r);
  if ((unit.Read32(smmu::kIdr0Register) & kPageRequestsOffered) == 0) return;
  for (const Register& r : kPageRequests) append(r);
}

}  // namespace viommu
