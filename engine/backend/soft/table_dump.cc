#include "engine/backend/soft/table_dump.h"

#include <array>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/entries/vtd_entries.h"

namespace viommu {
namespace {

constexpr uint64_t kWordBytes = sizeof(uint64_t);
constexpr uint64_t kTableAddressMask = 0x000f'ffff'ffff'f000;
constexpr uint64_t kSecondStagePresentMask = 3;  // R and W.
constexpr uint64_t kFirstStagePresent = 1;
constexpr uint64_t kPageSize = uint64_t{1} << 7;  // Of both stages.

// Reads entries of kWords words and appends what they say to a list.
class Reader {
 public:
  Reader(const PhysicalMemory& memory, std::vector<TableEntryDump>* dumps)
      : memory_(memory), dumps_(*dumps) {}

  // `describe` takes the array. What no memory backs reads as zero, that is, not present.
  template <size_t kWords, typename Describe>
  std::array<uint64_t, kWords> Read(std::string table, PhysAddr address, Describe describe) {
    std::array<uint64_t, kWords> words;
    for (size_t i = 0; i < kWords; ++i) {
      words[i] = memory_.Load64(address + i * kWordBytes).value_or(0);
    }
    dumps_.push_back({std::move(table), address, {words.begin(), words.end()}, describe(words)});
    return words;
  }

 private:
  const PhysicalMemory& memory_;
  std::vector<TableEntryDump>& dumps_;
};

void DumpSecondStage(const vtd::PasidEntry& entry, Iova iova, Reader* reader) {
  PhysAddr table = vtd::PointerIn(entry[0]);
  for (int level = vtd::LevelsOf(entry); level >= 1; --level) {
    const uint64_t index = iova >> (12 + 9 * (level - 1)) & 511;
    const uint64_t word = reader->Read<1>(
        absl::StrCat("second-stage level ", level), table + index * kWordBytes,
        [&](const auto& w) { return vtd::DescribeSecondStageEntry(w[0], level); })[0];
    if ((word & kSecondStagePresentMask) == 0 || (word & kPageSize) != 0) return;
    table = PhysAddr{word & kTableAddressMask};
  }
}

// Where the second stage puts `address`; nullopt where it leads nowhere.
std::optional<PhysAddr> ThroughSecondStage(const PhysicalMemory& memory,
                                           const vtd::PasidEntry& entry, uint64_t address) {
  PhysAddr table = vtd::PointerIn(entry[0]);
  for (int level = vtd::LevelsOf(entry); level >= 1; --level) {
    const int shift = 12 + 9 * (level - 1);
    const uint64_t index = address >> shift & 511;
    const uint64_t word = memory.Load64(table + index * kWordBytes).value_or(0);
    if ((word & kSecondStagePresentMask) == 0) return std::nullopt;
    table = PhysAddr{word & kTableAddressMask};
    if (level > 1 && (word & kPageSize) == 0) continue;
    return table + (address & ((uint64_t{1} << shift) - 1));
  }
  return std::nullopt;
}

// The entries of the first stage; of a nested one also what the second stage makes of the page.
void DumpFirstStage(const PhysicalMemory& memory, const vtd::PasidEntry& entry, Iova iova,
                    Reader* reader) {
  const bool nested = vtd::HasSecondStage(vtd::TypeOf(entry));
  PhysAddr table = vtd::PointerIn(entry[2]);
  for (int level = vtd::FirstStageLevelsOf(entry); level >= 1; --level) {
    const int shift = 12 + 9 * (level - 1);
    const PhysAddr wanted = table + (iova >> shift & 511) * kWordBytes;
    const std::optional<PhysAddr> place =
        nested ? ThroughSecondStage(memory, entry, wanted.value) : wanted;
    if (!place.has_value()) return DumpSecondStage(entry, wanted.value, reader);
    const uint64_t word = reader->Read<1>(
        absl::StrCat("first-stage level ", level), *place,
        [&](const auto& w) { return vtd::DescribeFirstStageEntry(w[0], level); })[0];
    if ((word & kFirstStagePresent) == 0) return;
    table = PhysAddr{word & kTableAddressMask};
    if (level > 1 && (word & kPageSize) == 0) continue;
    const uint64_t offset = (uint64_t{1} << shift) - 1;
    if (nested) DumpSecondStage(entry, (table.value & ~offset) | (iova & offset), reader);
    return;
  }
}

}  // namespace

std::vector<TableEntryDump> DumpPath(const PhysicalMemory& memory, PhysAddr root_table,
                                     uint16_t source_id, std::optional<uint32_t> pasid, Iova iova) {
  std::vector<TableEntryDump> dumps;
  Reader reader(memory, &dumps);
  const uint64_t half = source_id / vtd::kContextEntries;  // The word of the root table.
  const auto root = reader.Read<1>("root", root_table + half * kWordBytes,
                                   [](const auto& w) { return vtd::DescribeRootHalf(w[0]); });
  if ((root[0] & vtd::kPresent) == 0) return dumps;

  const uint64_t index = source_id % vtd::kContextEntries;
  const vtd::ContextEntry context =
      reader.Read<4>("context", vtd::PointerIn(root[0]) + index * sizeof(vtd::ContextEntry),
                     vtd::DescribeContextEntry);
  if ((context[0] & vtd::kPresent) == 0) return dumps;

  if (pasid.has_value() && (context[0] & vtd::kContextPasids) == 0) return dumps;
  const uint64_t number = pasid.value_or(context[1] & vtd::kContextRidPasidMask);
  const uint64_t entries = uint64_t{128} << (context[0] >> vtd::kContextPdtsShift & 7);
  const uint64_t place = number >> vtd::kPasidDirectoryShift;
  if (place >= entries) return dumps;
  const auto directory =
      reader.Read<1>("pasid-directory", vtd::PointerIn(context[0]) + place * kWordBytes,
                     [](const auto& w) { return vtd::DescribePasidDirectoryEntry(w[0]); });
  if ((directory[0] & vtd::kPresent) == 0) return dumps;

  const uint64_t slot = number % vtd::kPasidTableEntries;
  const vtd::PasidEntry entry =
      reader.Read<8>("pasid", vtd::PointerIn(directory[0]) + slot * sizeof(vtd::PasidEntry),
                     vtd::DescribePasidEntry);
  if (!vtd::IsPresent(entry)) return dumps;
  if (vtd::HasFirstStage(vtd::TypeOf(entry))) {
    DumpFirstStage(memory, entry, iova, &reader);
  } else if (vtd::HasSecondStage(vtd::TypeOf(entry))) {
    DumpSecondStage(entry, iova, &reader);
  }
  return dumps;
}

}  // namespace viommu
