#include "engine/backend/soft/smmu_stream_table.h"

#include <algorithm>

#include "engine/backend/soft/smmu_registers.h"
#include "engine/base/status_macros.h"
#include "engine/pagetable/store.h"

namespace viommu {
namespace {

constexpr int kSecondLevelPagesLog2 = TableArena::PagesLog2(smmu::kStreamL2Bytes);

// Nobody reads the entries yet.
void FillWithAbort(uint64_t* words, size_t entries) {
  const smmu::Ste abort = smmu::MakeAbortSte();
  for (size_t i = 0; i < entries; ++i)
    std::copy(abort.begin(), abort.end(), words + i * abort.size());
}

}  // namespace

absl::StatusOr<std::unique_ptr<SmmuStreamTable>> SmmuStreamTable::Create(const SmmuV3Spec& spec,
                                                                         TableArena* arena) {
  // A unit whose StreamIDs all fit into one table of the second level needs no first.
  const bool two_level =
      spec.two_level_stream_table && spec.stream_id_bits > smmu::kStreamTableSplit;
  const int bits = std::min(spec.stream_id_bits, kMaxStreamTableBits);
  const uint64_t bytes =
      two_level ? sizeof(uint64_t) << (bits - smmu::kStreamTableSplit) : sizeof(smmu::Ste) << bits;
  const int pages_log2 = TableArena::PagesLog2(bytes);
  ASSIGN_OR_RETURN(const PhysAddr root, arena->AllocateBlock(pages_log2));
  if (!two_level) FillWithAbort(arena->WordsAt(root), size_t{1} << bits);
  return std::unique_ptr<SmmuStreamTable>(
      new SmmuStreamTable(two_level, bits, pages_log2, root, arena));
}

SmmuStreamTable::~SmmuStreamTable() {
  for (const auto& [index, table] : tables_) arena_.FreeBlock(table, kSecondLevelPagesLog2);
  arena_.FreeBlock(root_, pages_log2_);
}

absl::Status SmmuStreamTable::AddStream(uint32_t stream_id) {
  const uint32_t index = smmu::StreamL1Index(stream_id);
  if (!two_level_ || tables_.contains(index)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const PhysAddr table, arena_.AllocateBlock(kSecondLevelPagesLog2));
  tables_.emplace(index, table);
  FillWithAbort(arena_.WordsAt(table), smmu::kStreamL2Entries);
  PlainStore().Store64(arena_.WordsAt(root_) + index, smmu::MakeStreamL1Descriptor(table));
  return absl::OkStatus();
}

uint64_t* SmmuStreamTable::Words(uint32_t stream_id) const {
  constexpr size_t kWords = smmu::SteArchitecture::kWords;
  if (!two_level_) return arena_.WordsAt(root_) + stream_id * kWords;
  const PhysAddr table = tables_.at(smmu::StreamL1Index(stream_id));
  return arena_.WordsAt(table) + smmu::StreamL2Index(stream_id) * kWords;
}

smmu::Ste SmmuStreamTable::Read(uint32_t stream_id) const {
  smmu::Ste ste;
  const uint64_t* words = Words(stream_id);
  std::copy(words, words + ste.size(), ste.begin());
  return ste;
}

uint64_t SmmuStreamTable::base() const { return root_.value | smmu::kBaseReadAllocate; }

uint32_t SmmuStreamTable::config() const {
  const auto size = static_cast<uint32_t>(bits_);
  if (!two_level_) return size;
  return size | smmu::kStreamTableSplit << smmu::kStreamTableSplitShift |
         smmu::kStreamTableTwoLevel;
}

}  // namespace viommu
