#include "engine/backend/soft/vtd_unit.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/backend/soft/vtd_capability.h"
#include "engine/backend/soft/vtd_registers.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/entries/vtd_descriptors.h"
#include "engine/pagetable/store.h"

namespace viommu {
namespace {

// More ranges than this go with one flush of everything.
constexpr size_t kMaxPageFlushes = 16;

constexpr vtd::PageBlock kEverything = {0, 52};

// Whether a flush of the ranges is better one of everything: there are too many, or one of them
// needs a block of more than 2^`max_order` pages.
bool NeedWholeFlush(absl::Span<const IovaRange> ranges, int max_order) {
  return ranges.size() > kMaxPageFlushes ||
         std::any_of(ranges.begin(), ranges.end(), [&](const IovaRange& range) {
           return vtd::CoveringBlock(range).order > max_order;
         });
}

vtd::DeviceTlbTarget TargetOf(uint16_t source_id) {
  vtd::DeviceTlbTarget target;
  target.source_id = source_id;
  target.physical_function = source_id;
  return target;
}

}  // namespace

absl::StatusOr<std::unique_ptr<VtdUnit>> VtdUnit::Create(const IommuSpec& spec,
                                                         absl::Span<const Requester> requesters,
                                                         PhysicalMemory* memory,
                                                         TableArena* arena) {
  std::unique_ptr<VtdUnit> unit(new VtdUnit(spec, memory, arena));
  ASSIGN_OR_RETURN(unit->root_table_, unit->NewTablePage());
  for (const Requester& requester : requesters) RETURN_IF_ERROR(unit->AddRequester(requester));
  ASSIGN_OR_RETURN(unit->queue_, InvalidationQueue::Create(unit->hardware_.get(), arena));
  if (spec.page_requests) {
    ASSIGN_OR_RETURN(unit->page_requests_,
                     VtdPageRequestQueue::Create(unit->hardware_.get(), unit->queue_.get(), arena));
  }
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

absl::Status VtdUnit::AddRequester(const Requester& requester) {
  absl::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(const PhysAddr contexts, ContextTableFor(requester.source_id));
  ASSIGN_OR_RETURN(PasidTables tables, PasidTables::Create(requester.pasid_bits, &arena_));
  vtd::ContextFields fields;
  fields.pasid_directory = tables.directory();
  fields.pdts = tables.pdts();
  fields.pasids = requester.pasid_bits > 0;
  fields.device_tlb = requester.device_tlb;
  fields.page_requests = requester.page_requests;
  const vtd::ContextEntry context = vtd::MakeContextEntry(fields);
  const size_t index = requester.source_id % vtd::kContextEntries;
  uint64_t* words = arena_.WordsAt(contexts) + index * context.size();
  seats_.emplace(requester.source_id, Seat{std::move(tables), fields.pasids, requester.device_tlb,
                                           requester.page_requests, context, words});
  PlainStore().Store128(words + 2, context[2], context[3]);
  PlainStore().Store128(words, context[0], context[1]);
  // DTE stands before the device may ask (invariant I8).
  if (requester.device_tlb) hardware_->SetDeviceTlb(requester.source_id, true);
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

vtd::PasidEntry VtdUnit::EntryOf(uint16_t source_id, uint32_t pasid) const {
  absl::MutexLock lock(&mutex_);
  return seats_.at(source_id).tables.Read(pasid);
}

absl::Status VtdUnit::CheckPasid(uint16_t source_id, uint32_t pasid) const {
  absl::MutexLock lock(&mutex_);
  return CheckLocked(source_id, pasid);
}

absl::Status VtdUnit::CheckLocked(uint16_t source_id, uint32_t pasid) const {
  if (seats_.at(source_id).tables.Covers(pasid)) return absl::OkStatus();
  return Error(absl::StatusCode::kOutOfRange, "PASID_OUT_OF_RANGE",
               absl::StrCat("PASID ", pasid, " is more than the device behind iommu ", spec_.id,
                            " can issue"))
      .Errno("EINVAL")
      .Field("pasid");
}

absl::Status VtdUnit::PrepareEntry(uint16_t source_id, uint32_t pasid) {
  absl::MutexLock lock(&mutex_);
  return PrepareLocked(source_id, pasid);
}

absl::Status VtdUnit::PrepareLocked(uint16_t source_id, uint32_t pasid) {
  RETURN_IF_ERROR(CheckLocked(source_id, pasid));
  return seats_.at(source_id).tables.Prepare(pasid);
}

void VtdUnit::ReleaseTable(uint16_t source_id, uint32_t pasid) {
  absl::MutexLock lock(&mutex_);
  std::shared_ptr<const void> table = seats_.at(source_id).tables.Unlink(pasid);
  if (table == nullptr) return;
  // The hardware keeps with an entry where it found it.
  absl::Status status = FlushWhatIsOwed();
  if (status.ok()) status = queue_->Submit({vtd::InvalidateAllPasids()});
  if (status.ok()) return;
  kept_.push_back(std::move(table));
  flush_owed_ = true;
}

absl::Status VtdUnit::FlushEntry(uint16_t source_id, uint32_t pasid, const vtd::PasidEntry& old) {
  RETURN_IF_ERROR(FlushWhatIsOwed());
  // Without caching mode entries that are not present are not cached (VT-d 6.1, CAP.CM).
  if (!vtd::IsPresent(old)) return absl::OkStatus();
  const uint16_t id = vtd::DomainIdOf(old);
  std::vector<vtd::Descriptor> batch = {vtd::InvalidatePasid(id, pasid),
                                        vtd::HasSecondStage(vtd::TypeOf(old))
                                            ? vtd::InvalidateIotlbDomain(id)
                                            : vtd::InvalidatePasidIotlb(id, pasid)};
  if (seats_.at(source_id).device_tlb && !quarantined_.Has(source_id)) {
    AppendDeviceTlb({source_id, pasid}, kEverything, &batch);
  }
  return Submit(std::move(batch));
}

absl::Status VtdUnit::FlushEverything() {
  std::vector<vtd::Descriptor> batch = {vtd::InvalidateAllContexts(), vtd::InvalidateAllPasids(),
                                        vtd::InvalidateIotlb()};
  for (const auto& [source_id, seat] : seats_) {
    if (seat.device_tlb && !quarantined_.Has(source_id)) AppendWholeDeviceTlb(source_id, &batch);
  }
  absl::Status status = Submit(std::move(batch));
  flush_owed_ = !status.ok();
  if (status.ok()) kept_.clear();
  return status;
}

absl::Status VtdUnit::FlushWhatIsOwed() {
  return flush_owed_ ? FlushEverything() : absl::OkStatus();
}

absl::Status VtdUnit::Settle() {
  absl::MutexLock lock(&mutex_);
  return FlushWhatIsOwed();
}

void VtdUnit::KeepUntilFlushed(std::shared_ptr<const void> tables) {
  absl::MutexLock lock(&mutex_);
  kept_.push_back(std::move(tables));
  flush_owed_ = true;
}

bool VtdUnit::DifferInTracking(vtd::PasidEntry one, const vtd::PasidEntry& other) {
  if (!vtd::IsPresent(one)) return false;
  one[0] ^= vtd::kPasidSecondStageDirty;
  return one == other;
}

void VtdUnit::DropPageRequests(uint16_t source_id, uint32_t pasid) {
  const Seat& seat = seats_.at(source_id);
  if (!seat.page_requests) return;
  if (pasid != kRidPasid) return page_requests_->Drop(source_id, pasid);
  page_requests_->Drop(source_id, std::nullopt);
  if (seat.pasids) page_requests_->Drop(source_id, kRidPasid);
}

void VtdUnit::NoteUse(uint16_t source_id, uint32_t pasid, const vtd::PasidEntry& entry) {
  if (!seats_.at(source_id).device_tlb) return;
  const EntryKey key(source_id, pasid);
  if (vtd::IsPresent(entry)) {
    device_tlb_uses_.insert_or_assign(key, vtd::DomainIdOf(entry));
  } else {
    device_tlb_uses_.erase(key);
  }
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

void VtdUnit::AppendWholeDeviceTlb(uint16_t source_id, std::vector<vtd::Descriptor>* batch) {
  const vtd::DeviceTlbTarget target = TargetOf(source_id);
  batch->push_back(vtd::InvalidateDeviceTlb(target, kEverything));
  batch->push_back(vtd::InvalidateAllPasidsDeviceTlb(target, kEverything));
}

void VtdUnit::AppendDeviceTlb(const EntryKey& key, const vtd::PageBlock& block,
                              std::vector<vtd::Descriptor>* batch) const {
  const auto [source_id, pasid] = key;
  const vtd::DeviceTlbTarget target = TargetOf(source_id);
  const bool rid = pasid == kRidPasid;
  if (rid) batch->push_back(vtd::InvalidateDeviceTlb(target, block));
  // A device keeps what it asked for with PASID 0 apart from what it asked for without PASID.
  if (!rid || seats_.at(source_id).pasids) {
    batch->push_back(vtd::InvalidatePasidDeviceTlb(target, pasid, block));
  }
}

void VtdUnit::AppendDeviceTlbs(uint16_t domain_id, absl::Span<const IovaRange> ranges,
                               std::vector<vtd::Descriptor>* batch) const {
  const bool whole = NeedWholeFlush(ranges, kEverything.order);
  for (const auto& [key, used_id] : device_tlb_uses_) {
    if (used_id != domain_id || quarantined_.Has(key.first)) continue;
    if (whole) {
      AppendDeviceTlb(key, kEverything, batch);
      continue;
    }
    for (const IovaRange& range : ranges) {
      AppendDeviceTlb(key, vtd::CoveringBlock(range), batch);
    }
  }
}

absl::Status VtdUnit::SubmitFlush(uint16_t domain_id, absl::Span<const IovaRange> ranges,
                                  std::vector<vtd::Descriptor> batch) {
  // An entry that appears between the unit's flush and a look at the uses could let a device keep
  // what the flush was to remove: so both are one step to whoever changes entries.
  absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(FlushWhatIsOwed());
  AppendDeviceTlbs(domain_id, ranges, &batch);
  return Submit(std::move(batch));
}

absl::Status VtdUnit::Flush(uint16_t domain_id, absl::Span<const IovaRange> ranges,
                            bool leaves_only) {
  std::vector<vtd::Descriptor> batch;
  if (NeedWholeFlush(ranges, vtd::kMaxAddressMask)) {
    batch.push_back(vtd::InvalidateIotlbDomain(domain_id));
  } else {
    for (const IovaRange& range : ranges) {
      batch.push_back(vtd::InvalidateIotlbPages(domain_id, vtd::CoveringBlock(range), leaves_only));
    }
  }
  return SubmitFlush(domain_id, ranges, std::move(batch));
}

absl::Status VtdUnit::FlushFirstStage(uint16_t domain_id, absl::Span<const uint32_t> pasids,
                                      absl::Span<const IovaRange> ranges, bool leaves_only) {
  const bool whole = NeedWholeFlush(ranges, vtd::kMaxAddressMask);
  std::vector<vtd::Descriptor> batch;
  for (const uint32_t pasid : pasids) {
    if (whole) {
      batch.push_back(vtd::InvalidatePasidIotlb(domain_id, pasid));
      continue;
    }
    for (const IovaRange& range : ranges) {
      batch.push_back(
          vtd::InvalidatePasidIotlbPages(domain_id, pasid, vtd::CoveringBlock(range), leaves_only));
    }
  }
  return SubmitFlush(domain_id, ranges, std::move(batch));
}

absl::Status VtdUnit::FlushDomain(uint16_t domain_id) {
  const IovaRange everything = {0, kMaxAddress};
  return SubmitFlush(domain_id, absl::MakeConstSpan(&everything, 1),
                     {vtd::InvalidateIotlbDomain(domain_id)});
}

}  // namespace viommu
