#include "engine/backend/soft/soft_domain.h"

#include <utility>

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

absl::StatusOr<VtdSecondStage> SoftDomain::SecondStageOf(const DomainProperties& properties,
                                                         int host_address_bits) {
  VtdSecondStage::Options options;
  options.levels = properties.levels;
  options.page_sizes = properties.page_sizes;
  options.host_address_bits = host_address_bits;
  options.force_snoop = properties.enforces_cache_coherency;
  return VtdSecondStage::Create(options);
}

absl::StatusOr<X86FirstStage> SoftDomain::FirstStageOf(const DomainProperties& properties,
                                                       int host_address_bits) {
  X86FirstStage::Options options;
  options.levels = properties.levels;
  options.page_sizes = properties.page_sizes;
  options.host_address_bits = host_address_bits;
  return X86FirstStage::Create(options);
}

SoftDomain::SoftDomain(const DomainProperties& properties, PageTable table, TableArena* arena)
    : properties_(properties), root_(table.root()), arena_(*arena), table_(std::move(table)) {}

SoftDomain::~SoftDomain() {
  const absl::Status flushed = FlushAbandoned();
  absl::MutexLock lock(&mutex_);
  if (flushed.ok()) {
    // Set aside by a failed flush; no unit uses the domain's id any more.
    arena_.Free(&unlinked_);
    return;
  }
  const auto left = std::make_shared<TablesLeft>(std::move(table_), std::move(unlinked_), &arena_);
  for (const UnitUse& use : TakeAbandoned()) use.unit->KeepUntilFlushed(left);
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
  absl::Status result = FlushLocked(ranges, unlinked_.empty());
  flush_failed_ = !result.ok();
  if (result.ok()) arena_.Free(&unlinked_);
  return result;
}

absl::Status SoftDomain::FlushLocked(absl::Span<const IovaRange> ranges, bool leaves_only) {
  absl::Status result;
  // Before our own uses, because a child that goes meanwhile hands over what it owes.
  for (Child* child : children_) result.Update(child->FlushParentChange());
  const bool first_stage = properties_.format == vtd::kFirstStageFormat;
  result.Update(FlushUses([&](const UnitUse& use) {
    return first_stage ? use.unit->FlushFirstStage(use.domain_id, use.pasids(), ranges, leaves_only)
                       : use.unit->Flush(use.domain_id, ranges, leaves_only);
  }));
  return result;
}

void SoftDomain::AddChild(Child* child) {
  absl::MutexLock lock(&mutex_);
  children_.insert(child);
}

void SoftDomain::RemoveChild(Child* child) {
  absl::MutexLock lock(&mutex_);
  children_.erase(child);
}

bool SoftDomain::HasChildren() const {
  absl::MutexLock lock(&mutex_);
  return !children_.empty();
}

vtd::PasidEntry SoftDomain::EntryFor(const VtdUnit& unit, uint16_t domain_id) const {
  if (properties_.format == vtd::kFirstStageFormat) {
    vtd::FirstStageFields fields;
    fields.root = root_;
    fields.levels = properties_.levels;
    fields.domain_id = domain_id;
    fields.page_walk_snoop = true;  // ECAP.SMPWC: every modelled unit has it.
    fields.force_snoop = properties_.enforces_cache_coherency;
    fields.unit_levels = vtd::DeepestLevels(unit.spec());
    return vtd::MakeFirstStageEntry(fields);
  }
  vtd::SecondStageFields fields;
  fields.root = root_;
  fields.levels = properties_.levels;
  fields.domain_id = domain_id;
  fields.page_walk_snoop = true;  // ECAP.SMPWC, as above.
  return vtd::MakeSecondStageEntry(fields);
}

}  // namespace viommu
