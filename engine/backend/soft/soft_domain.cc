#include "engine/backend/soft/soft_domain.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"

namespace viommu {
namespace {

PageAccess AccessOf(Permission permission) { return {CanRead(permission), CanWrite(permission)}; }

// The tables of a domain that is gone, while hardware may still walk them.
struct TablesLeft {
  TablesLeft(PageTable linked, PageList set_aside, TableArena* its_arena)
      : table(std::move(linked)), unlinked(std::move(set_aside)), arena(*its_arena) {}
  ~TablesLeft() { arena.Free(&unlinked); }
  TablesLeft(const TablesLeft&) = delete;
  TablesLeft& operator=(const TablesLeft&) = delete;

  PageTable table;
  PageList unlinked;
  TableArena& arena;
};

}  // namespace

absl::StatusOr<VtdSecondStage> SoftDomain::FormatOf(const DomainProperties& properties,
                                                    int host_address_bits) {
  VtdSecondStage::Options options;
  options.levels = properties.levels;
  options.page_sizes = properties.page_sizes;
  options.host_address_bits = host_address_bits;
  options.force_snoop = properties.enforces_cache_coherency;
  return VtdSecondStage::Create(options);
}

SoftDomain::SoftDomain(const DomainProperties& properties, PageTable table, TableArena* arena)
    : properties_(properties), arena_(*arena), table_(std::move(table)) {}

SoftDomain::~SoftDomain() {
  absl::MutexLock lock(&mutex_);
  if (FlushAbandonedLocked().ok()) {
    // Set aside by a failed flush; no unit uses the domain's id any more.
    arena_.Free(&unlinked_);
    return;
  }
  const auto left = std::make_shared<TablesLeft>(std::move(table_), std::move(unlinked_), &arena_);
  for (const UnitUse& use : abandoned_) use.unit->KeepUntilFlushed(left);
}

absl::Status SoftDomain::Map(absl::Span<const PhysicalMapping> mappings) {
  absl::MutexLock lock(&mutex_);
  for (size_t i = 0; i < mappings.size(); ++i) {
    const PhysicalMapping& m = mappings[i];
    const absl::Status status = table_.Map(m.iova, m.to, m.size_bytes, AccessOf(m.permission));
    if (status.ok()) continue;
    // What was mapped a moment ago may be cached already: undoing it is an unmap like any other.
    std::vector<IovaRange> done;
    for (size_t k = i; k > 0; --k) done.push_back(mappings[k - 1].range());
    const absl::Status undone = UnmapLocked(done);
    return undone.ok() ? status : undone;
  }
  return absl::OkStatus();
}

void SoftDomain::SetLargePages(bool large_pages) {
  absl::MutexLock lock(&mutex_);
  table_.SetLargeLeaves(large_pages);
}

absl::Status SoftDomain::Unmap(absl::Span<const IovaRange> ranges) {
  absl::MutexLock lock(&mutex_);
  return UnmapLocked(ranges);
}

absl::Status SoftDomain::UnmapLocked(absl::Span<const IovaRange> ranges) {
  for (const IovaRange& range : ranges) {
    table_.Unmap(range.first, range.size_bytes(), &unlinked_);
  }
  const IovaRange everything = table_.aperture();
  if (flush_failed_) ranges = absl::MakeConstSpan(&everything, 1);
  absl::Status result;
  for (const UnitUse& use : units_) {
    // Every unit is flushed, also behind one that fails.
    result.Update(use.unit->Flush(use.domain_id, ranges, unlinked_.empty()));
  }
  result.Update(FlushAbandonedLocked());
  flush_failed_ = !result.ok();
  if (result.ok()) arena_.Free(&unlinked_);
  return result;
}

vtd::PasidEntry SoftDomain::EntryFor(uint16_t domain_id) const {
  vtd::SecondStageFields fields;
  fields.root = table_.root();
  fields.levels = properties_.levels;
  fields.domain_id = domain_id;
  fields.page_walk_snoop = true;  // ECAP.SMPWC: every modelled unit has it.
  return vtd::MakeSecondStageEntry(fields);
}

absl::StatusOr<vtd::PasidEntry> SoftDomain::EnterUnit(VtdUnit* unit) {
  absl::MutexLock lock(&mutex_);
  for (UnitUse& use : units_) {
    if (use.unit != unit) continue;
    ++use.groups;
    return EntryFor(use.domain_id);
  }
  ASSIGN_OR_RETURN(const uint16_t domain_id, unit->TakeDomainId());
  units_.push_back({unit, domain_id, 1});
  return EntryFor(domain_id);
}

std::optional<uint16_t> SoftDomain::DropGroup(VtdUnit* unit) {
  const auto it = std::find_if(units_.begin(), units_.end(),
                               [&](const UnitUse& use) { return use.unit == unit; });
  if (it == units_.end() || --it->groups > 0) return std::nullopt;
  const uint16_t domain_id = it->domain_id;
  units_.erase(it);
  return domain_id;
}

void SoftDomain::LeaveUnit(VtdUnit* unit) {
  absl::MutexLock lock(&mutex_);
  const std::optional<uint16_t> domain_id = DropGroup(unit);
  if (domain_id.has_value()) unit->ReturnDomainId(*domain_id);
}

void SoftDomain::AbandonUnit(VtdUnit* unit) {
  absl::MutexLock lock(&mutex_);
  const std::optional<uint16_t> domain_id = DropGroup(unit);
  if (domain_id.has_value()) abandoned_.push_back({unit, *domain_id, 0});
}

absl::Status SoftDomain::FlushAbandoned() {
  absl::MutexLock lock(&mutex_);
  return FlushAbandonedLocked();
}

absl::Status SoftDomain::FlushAbandonedLocked() {
  absl::Status result;
  std::vector<UnitUse> left;
  for (const UnitUse& use : abandoned_) {
    // What else the unit may hold, as the entry itself, is what it owes: it comes first.
    const absl::Status status = use.unit->FlushDomain(use.domain_id);
    result.Update(status);
    if (status.ok()) {
      use.unit->ReturnDomainId(use.domain_id);
    } else {
      left.push_back(use);
    }
  }
  abandoned_ = std::move(left);
  return result;
}

vtd::PasidEntry SoftDomain::PreviewEntry(const VtdUnit* unit) const {
  absl::MutexLock lock(&mutex_);
  for (const UnitUse& use : units_) {
    if (use.unit == unit) return EntryFor(use.domain_id);
  }
  return EntryFor(vtd::kFirstPagingDomainId);
}

}  // namespace viommu
