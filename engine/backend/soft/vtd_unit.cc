#include "engine/backend/soft/vtd_unit.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/backend/soft/vtd_capability.h"
#include "engine/backend/soft/vtd_registers.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/entries/vtd_descriptors.h"
#include "engine/pagetable/store.h"

namespace viommu {
namespace {

constexpr uint32_t kRidPasid = 0;  // The PASID that stands for requests without one.
constexpr int kPdts = 0;           // Directories of 128 entries: no PASIDs are handed out yet.

// More ranges than this go with one domain-selective flush.
constexpr size_t kMaxPageFlushes = 16;

}  // namespace

absl::StatusOr<std::unique_ptr<VtdUnit>> VtdUnit::Create(const IommuSpec& spec,
                                                         absl::Span<const uint16_t> requesters,
                                                         PhysicalMemory* memory,
                                                         TableArena* arena) {
  std::unique_ptr<VtdUnit> unit(new VtdUnit(spec, memory, arena));
  ASSIGN_OR_RETURN(unit->root_table_, unit->NewTablePage());
  for (const uint16_t source_id : requesters) RETURN_IF_ERROR(unit->AddRequester(source_id));
  ASSIGN_OR_RETURN(unit->queue_, InvalidationQueue::Create(unit->hardware_.get(), arena));
  RETURN_IF_ERROR(unit->SetRootTable());
  return unit;
}

VtdUnit::VtdUnit(const IommuSpec& spec, PhysicalMemory* memory, TableArena* arena)
    : spec_(spec),
      arena_(*arena),
      hardware_(std::make_unique<hardware::VtdModel>(
          hardware::VtdModel::Config{vtd::CapabilityOf(spec), vtd::ExtendedCapabilityOf(spec),
                                     spec.host_address_width_bits},
          memory)),
      domain_ids_(spec.domain_id_bits) {}

VtdUnit::~VtdUnit() {
  for (const PhysAddr page : table_pages_) arena_.Free(page);
}

absl::StatusOr<PhysAddr> VtdUnit::NewTablePage() {
  ASSIGN_OR_RETURN(const PhysAddr page, arena_.AllocateZeroed());
  table_pages_.push_back(page);
  return page;
}

absl::StatusOr<PhysAddr> VtdUnit::ContextTableFor(uint16_t source_id) {
  const size_t half = source_id / vtd::kContextEntries;  // Two per bus: the root table's words.
  uint64_t* word = arena_.WordsAt(root_table_) + half;
  if (*word == 0) {
    ASSIGN_OR_RETURN(const PhysAddr table, NewTablePage());
    PlainStore().Store64(word, vtd::MakeRootHalf(table));
  }
  return vtd::PointerIn(*word);
}

absl::Status VtdUnit::AddRequester(uint16_t source_id) {
  ASSIGN_OR_RETURN(const PhysAddr contexts, ContextTableFor(source_id));
  ASSIGN_OR_RETURN(const PhysAddr directory, NewTablePage());
  ASSIGN_OR_RETURN(const PhysAddr table, NewTablePage());
  pasid_tables_[source_id] = table;
  PlainStore().Store64(arena_.WordsAt(directory), vtd::MakePasidDirectoryEntry(table));
  const vtd::ContextEntry context = vtd::MakeContextEntry({directory, kPdts});
  const size_t index = source_id % vtd::kContextEntries;
  uint64_t* words = arena_.WordsAt(contexts) + index * context.size();
  PlainStore().Store128(words + 2, context[2], context[3]);
  PlainStore().Store128(words, context[0], context[1]);
  return absl::OkStatus();
}

absl::Status VtdUnit::SetRootTable() {
  hardware_->Write64(vtd::kRootTableRegister, root_table_.value | vtd::kRootTableScalable);
  RETURN_IF_ERROR(Command(vtd::kSetRootTable));
  return queue_->Submit(
      {vtd::InvalidateAllContexts(), vtd::InvalidateAllPasids(), vtd::InvalidateIotlb()});
}

absl::Status VtdUnit::EnableTranslation() { return Command(vtd::kTranslationEnable); }

absl::Status VtdUnit::Command(uint32_t command) {
  const uint32_t lasting = hardware_->Read32(vtd::kGlobalStatusRegister) & vtd::kLastingCommands;
  hardware_->Write32(vtd::kGlobalCommandRegister, lasting | command);
  if ((hardware_->Read32(vtd::kGlobalStatusRegister) & command) == command) {
    return absl::OkStatus();
  }
  return Error(absl::StatusCode::kInternal, "HARDWARE_ERROR",
               absl::StrCat("iommu ", spec_.id, " does not follow the command ", Hex(command)))
      .Errno("ETIMEDOUT");
}

uint64_t* VtdUnit::EntryWords(uint16_t source_id) const {
  return arena_.WordsAt(pasid_tables_.at(source_id)) + kRidPasid * vtd::PasidEntry().size();
}

vtd::PasidEntry VtdUnit::ReadEntry(uint16_t source_id) const {
  vtd::PasidEntry entry;
  const uint64_t* words = EntryWords(source_id);
  for (size_t i = 0; i < entry.size(); ++i) entry[i] = __atomic_load_n(words + i, __ATOMIC_RELAXED);
  return entry;
}

vtd::PasidEntry VtdUnit::RequesterEntry(uint16_t source_id) const {
  absl::MutexLock lock(&mutex_);
  return ReadEntry(source_id);
}

absl::Status VtdUnit::FlushEntry(const vtd::PasidEntry& old) {
  // Without caching mode entries that are not present are not cached (VT-d 6.1, CAP.CM).
  if (!vtd::IsPresent(old)) return absl::OkStatus();
  const uint16_t id = vtd::DomainIdOf(old);
  const bool pass_through = vtd::TypeOf(old) == vtd::PasidType::kPassThrough;
  return queue_->Submit(
      {vtd::InvalidatePasid(id, kRidPasid),
       pass_through ? vtd::InvalidatePasidIotlb(id, kRidPasid) : vtd::InvalidateIotlbDomain(id)});
}

void VtdUnit::FlushEverything() {
  queue_->Submit({vtd::InvalidateAllContexts(), vtd::InvalidateAllPasids(), vtd::InvalidateIotlb()})
      .IgnoreError();
}

absl::StatusOr<uint16_t> VtdUnit::TakeDomainId() {
  absl::MutexLock lock(&mutex_);
  const auto id = domain_ids_.Take();
  if (id.has_value()) return *id;
  return Error(absl::StatusCode::kResourceExhausted, "DOMAIN_IDS_EXHAUSTED",
               absl::StrCat("iommu ", spec_.id, " has no free domain id of ", spec_.domain_id_bits,
                            " bits"))
      .Errno("ENOSPC")
      .Meta("iommu", spec_.id);
}

void VtdUnit::ReturnDomainId(uint16_t id) {
  absl::MutexLock lock(&mutex_);
  domain_ids_.Return(id);
}

absl::Status VtdUnit::Flush(uint16_t domain_id, absl::Span<const IovaRange> ranges,
                            bool leaves_only) {
  std::vector<vtd::Descriptor> batch;
  bool whole_domain = ranges.size() > kMaxPageFlushes;
  for (size_t i = 0; i < ranges.size() && !whole_domain; ++i) {
    const vtd::PageBlock block = vtd::CoveringBlock(ranges[i]);
    whole_domain = block.order > vtd::kMaxAddressMask;
    batch.push_back(vtd::InvalidateIotlbPages(domain_id, block, leaves_only));
  }
  if (whole_domain) return queue_->Submit({vtd::InvalidateIotlbDomain(domain_id)});
  return queue_->Submit(batch);
}

}  // namespace viommu
