#include "engine/backend/soft/pasid_tables.h"

#include <utility>

#include "engine/base/status_macros.h"
#include "engine/pagetable/store.h"

namespace viommu {

absl::StatusOr<PasidTables> PasidTables::Create(int pasid_bits, TableArena* arena) {
  const int pages_log2 = vtd::PasidDirectoryPagesLog2(vtd::PdtsFor(pasid_bits));
  ASSIGN_OR_RETURN(const PhysAddr directory, arena->AllocateBlock(pages_log2));
  PasidTables tables(pasid_bits, directory, arena);
  RETURN_IF_ERROR(tables.Prepare(0));
  return tables;
}

PasidTables::PasidTables(int pasid_bits, PhysAddr directory, TableArena* arena)
    : pasid_bits_(pasid_bits),
      pdts_(vtd::PdtsFor(pasid_bits)),
      directory_(directory),
      arena_(arena) {}

PasidTables::PasidTables(PasidTables&& other) noexcept
    : pasid_bits_(other.pasid_bits_),
      pdts_(other.pdts_),
      directory_(other.directory_),
      arena_(std::exchange(other.arena_, nullptr)),
      tables_(std::move(other.tables_)) {}

PasidTables::~PasidTables() {
  if (arena_ == nullptr) return;
  for (const auto& [index, table] : tables_) arena_->Free(table);
  arena_->FreeBlock(directory_, vtd::PasidDirectoryPagesLog2(pdts_));
}

absl::Status PasidTables::Prepare(uint32_t pasid) {
  const uint32_t index = pasid >> vtd::kPasidDirectoryShift;
  if (tables_.contains(index)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const PhysAddr table, arena_->AllocateZeroed());
  tables_[index] = table;
  PlainStore().Store64(arena_->WordsAt(directory_) + index, vtd::MakePasidDirectoryEntry(table));
  return absl::OkStatus();
}

std::shared_ptr<const void> PasidTables::Unlink(uint32_t pasid) {
  const uint32_t index = pasid >> vtd::kPasidDirectoryShift;
  const auto found = tables_.find(index);
  if (index == 0 || found == tables_.end()) return nullptr;
  const PhysAddr table = found->second;
  const uint64_t* words = arena_->WordsAt(table);
  for (size_t entry = 0; entry < vtd::kPasidTableEntries; ++entry) {
    const uint64_t* word = words + entry * vtd::PasidEntry().size();
    // Hardware may be reading the entry at the same time.
    if ((__atomic_load_n(word, __ATOMIC_RELAXED) & vtd::kPresent) != 0) return nullptr;
  }
  PlainStore().Store64(arena_->WordsAt(directory_) + index, 0);
  tables_.erase(found);
  return std::shared_ptr<const void>(words,
                                     [arena = arena_, table](const void*) { arena->Free(table); });
}

vtd::PasidEntry PasidTables::Read(uint32_t pasid) const {
  vtd::PasidEntry entry = vtd::MakeBlockedEntry();
  const uint64_t* words = Words(pasid);
  if (words == nullptr) return entry;
  for (size_t i = 0; i < entry.size(); ++i) entry[i] = __atomic_load_n(words + i, __ATOMIC_RELAXED);
  return entry;
}

uint64_t* PasidTables::Words(uint32_t pasid) const {
  const auto table = tables_.find(pasid >> vtd::kPasidDirectoryShift);
  if (table == tables_.end()) return nullptr;
  return arena_->WordsAt(table->second) +
         pasid % vtd::kPasidTableEntries * vtd::PasidEntry().size();
}

}  // namespace viommu
