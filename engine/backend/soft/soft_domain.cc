#include "engine/backend/soft/soft_domain.h"

#include <algorithm>
#include <utility>

#include "absl/numeric/bits.h"
#include "engine/backend/topology.h"

namespace viommu {
namespace {

PageAccess AccessOf(Permission permission) { return {CanRead(permission), CanWrite(permission)}; }

// Address bits below the last entry on the way to an address: what the tables were for to which it
// led once.
uint64_t BitsBelow(const PageTable& table, Iova iova) {
  return table.EntrySpan(table.PathTo(iova).back().level) - 1;
}

TranslationKind KindOf(const DomainProperties& properties) {
  if (properties.sva) return TranslationKind::kProcess;
  return IsFirstStage(properties) ? TranslationKind::kFirstStage : TranslationKind::kSecondStage;
}

bool MeetsAny(const IovaRange& range, const std::vector<IovaRange>& others) {
  return std::any_of(others.begin(), others.end(),
                     [&](const IovaRange& other) { return other.Overlaps(range); });
}

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

SoftDomain::SoftDomain(const DomainProperties& properties, PageTable table, TableArena* arena)
    : UnitDomain(KindOf(properties)),
      properties_(std::make_shared<const DomainProperties>(properties)),
      root_(table.root()),
      arena_(*arena),
      table_(std::move(table)) {}

SoftDomain::~SoftDomain() {
  const absl::Status flushed = FlushAbandoned();
  absl::MutexLock lock(&mutex_);
  if (flushed.ok()) {
    // Set aside by a failed flush; no unit uses the domain's id any more.
    arena_.Free(&unlinked_);
    return;
  }
  const auto left = std::make_shared<TablesLeft>(std::move(table_), std::move(unlinked_), &arena_);
  for (const Abandoned& use : TakeAbandoned()) use.unit->KeepUntilFlushed(left);
}

absl::Status SoftDomain::Map(absl::Span<const PhysicalMapping> mappings) {
  absl::MutexLock lock(&mutex_);
  for (const PhysicalMapping& m : mappings) {
    if (!MeetsAny(m.range(), shadows_)) continue;
    RETURN_IF_ERROR(FlushAllLocked());
    break;
  }
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
  if (flush_failed_ || flush_due_) ranges = absl::MakeConstSpan(&everything, 1);
  absl::Status result = FlushLocked(ranges, unlinked_.empty());
  flush_failed_ = !result.ok();
  if (!result.ok()) return result;
  flush_due_ = false;
  shadows_.clear();
  arena_.Free(&unlinked_);
  return result;
}

IovaRange SoftDomain::ShadowOf(const IovaRange& range) const {
  return {range.first & ~BitsBelow(table_, range.first),
          range.last | BitsBelow(table_, range.last)};
}

void SoftDomain::UnmapDeferred(const IovaRange& range) {
  absl::MutexLock lock(&mutex_);
  table_.Unmap(range.first, range.size_bytes(), &unlinked_);
  flush_due_ = true;
  const IovaRange shadow = ShadowOf(range);
  const bool is_wider = shadow.first != range.first || shadow.last != range.last;
  const bool is_known = std::any_of(shadows_.begin(), shadows_.end(), [&](const IovaRange& known) {
    return known.first <= shadow.first && shadow.last <= known.last;
  });
  if (is_wider && !is_known) shadows_.push_back(shadow);
}

absl::Status SoftDomain::FlushAll() {
  absl::MutexLock lock(&mutex_);
  return FlushAllLocked();
}

absl::Status SoftDomain::FlushAllLocked() {
  if (!flush_failed_ && !flush_due_) return FlushAbandoned();
  return UnmapLocked({});
}

absl::Status SoftDomain::FlushLocked(absl::Span<const IovaRange> ranges, bool leaves_only) {
  absl::Status result;
  // Before our own uses, because a child that goes meanwhile hands over what it owes.
  for (Child* child : children_) result.Update(child->FlushParentChange());
  const int page_shift = absl::countr_zero(properties_->page_sizes);
  result.Update(FlushUses([&](const UnitUse& use) {
    return use.unit->Flush({TagOf(use), use.pasids(), page_shift}, ranges, leaves_only);
  }));
  return result;
}

absl::Status SoftDomain::MapDoorbell(Iova iova, PhysAddr doorbell) {
  absl::MutexLock lock(&mutex_);
  const auto known = table_.Translate(iova);
  if (known.has_value() && known->address == doorbell) return absl::OkStatus();
  return table_.Map(iova, doorbell, TableArena::kPageBytes, AccessOf(Permission::kReadWrite),
                    MemoryType::kDevice);
}

absl::StatusOr<DirtyBitmap> SoftDomain::ReadDirty(const IovaRange& range, uint64_t page_bytes,
                                                  bool clear) {
  DirtyBitmap bitmap(range, page_bytes);
  absl::MutexLock lock(&mutex_);
  if (!table_.ReadDirty(clear, &bitmap)) return bitmap;
  absl::Status flushed = FlushLocked(absl::MakeConstSpan(&range, 1), /*leaves_only=*/true);
  if (flushed.ok()) return bitmap;
  // Nobody gets the answer; and what is cached as dirty is not marked again by itself.
  table_.MarkDirty(bitmap);
  return flushed;
}

absl::Status SoftDomain::ClearDirty() {
  absl::MutexLock lock(&mutex_);
  table_.ClearDirty();
  const IovaRange everything = table_.aperture();
  return FlushLocked(absl::MakeConstSpan(&everything, 1), /*leaves_only=*/true);
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

UnitTranslation SoftDomain::TranslationWith(uint32_t tag) const {
  return {kind(), properties_, root_, tag, {}, tracked()};
}

UnitTranslation SoftDomain::TranslationToCome(const DomainProperties& properties,
                                              const UnitPort& unit) {
  // The last page of all is no table: the arena lies below.
  const PhysAddr last_page{(uint64_t{1} << PhysicalAddressBits(unit.spec())) - 4096};
  const TranslationKind kind = KindOf(properties);
  return {kind, std::make_shared<const DomainProperties>(properties), last_page,
          unit.TagToCome(kind)};
}

}  // namespace viommu
