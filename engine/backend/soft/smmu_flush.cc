// engine/backend/soft/smmu_flush.cc -- What an SmmuUnit makes caches drop, and in which order.

#include <algorithm>

#include "engine/backend/soft/smmu_unit.h"
#include "engine/entries/smmu_range.h"

namespace viommu {
namespace {

// More ranges than this go with one flush of everything.
constexpr size_t kMaxRanges = 16;

constexpr uint16_t kNoVmid = 0;  // Of first stages without a second.

// The space of ids that a tag is from.
bool SameTag(const UnitTag& tag, const UnitTranslation& translation) {
  return tag.id == translation.tag && translation.properties != nullptr &&
         IsFirstStage(tag.kind) == IsFirstStage(translation.kind);
}

smmu::TlbTag AsidTag(uint32_t asid) { return {kNoVmid, static_cast<uint16_t>(asid)}; }

// Everything under a tag. What guests' stages combine of a second stage goes with its VMID.
smmu::Command WholeTag(const UnitTag& tag) {
  if (IsFirstStage(tag.kind)) return smmu::InvalidateAsid(AsidTag(tag.id));
  return smmu::InvalidateVmid(static_cast<uint16_t>(tag.id));
}

smmu::TlbScope ScopeOf(const UnitTag& tag) {
  if (IsFirstStage(tag.kind)) return {smmu::TlbScope::Stage::kStage1, AsidTag(tag.id)};
  return {smmu::TlbScope::Stage::kStage2, {static_cast<uint16_t>(tag.id), 0}};
}

smmu::Command AtcInvalidation(uint32_t stream_id, uint32_t pasid, const smmu::AtcBlock& block) {
  return pasid == kRidPasid ? smmu::InvalidateAtc(stream_id, block)
                            : smmu::InvalidateAtcOfSsid(stream_id, pasid, block);
}

}  // namespace

absl::Status SmmuUnit::SubmitInOrder(const Commands& tlb, const Commands& devices) {
  RETURN_IF_ERROR(queue_->Submit(tlb));
  return SubmitToDevices(devices);
}

absl::Status SmmuUnit::FlushOld(const SmmuStream& stream, uint32_t pasid,
                                const UnitTranslation& old) {
  Commands tlb, devices;
  if (old.properties != nullptr) tlb.push_back(WholeTag({old.kind, old.tag}));
  if (stream.ats_on && old.kind != TranslationKind::kBlocked) {
    devices.push_back(AtcInvalidation(stream.id, pasid, smmu::kWholeAtc));
  }
  return SubmitInOrder(tlb, devices);
}

absl::Status SmmuUnit::FlushEverything() {
  Commands devices;
  for (const auto& [id, stream] : streams_) {
    if (stream.ats_on) devices.push_back(smmu::InvalidateAtc(id, smmu::kWholeAtc));
  }
  absl::Status status =
      SubmitInOrder({smmu::InvalidateAllStes(), smmu::InvalidateAllTlbs()}, devices);
  flush_owed_ = !status.ok();
  if (status.ok()) kept_.clear();
  return status;
}

absl::Status SmmuUnit::FlushWhatIsOwed() {
  return flush_owed_ ? FlushEverything() : absl::OkStatus();
}

absl::Status SmmuUnit::Settle() {
  absl::MutexLock lock(&mutex_);
  return FlushWhatIsOwed();
}

void SmmuUnit::KeepUntilFlushed(std::shared_ptr<const void> tables) {
  absl::MutexLock lock(&mutex_);
  kept_.push_back(std::move(tables));
  flush_owed_ = true;
}

void SmmuUnit::AppendRange(const TagUse& use, const IovaRange& range, bool leaves_only,
                           Commands* batch) const {
  smmu::TlbRange where{range, static_cast<smmu::Granule>(use.page_shift), 0, leaves_only};
  smmu::RangeInvalidation commands(ScopeOf(use.tag), where, spec_.smmu_v3.range_invalidation);
  for (auto command = commands.Next(); command.has_value(); command = commands.Next()) {
    batch->push_back(*command);
  }
}

bool SmmuUnit::IsNestedOn(uint32_t vmid) const {
  return std::any_of(streams_.begin(), streams_.end(), [vmid](const auto& entry) {
    const auto& translations = entry.second.translations;
    const auto rid = translations.find(kRidPasid);
    return rid != translations.end() && rid->second.kind == TranslationKind::kNested &&
           rid->second.tag == vmid;
  });
}

void SmmuUnit::AppendDevices(const UnitTag& tag, absl::Span<const IovaRange> ranges,
                             Commands* batch) const {
  for (const auto& [id, stream] : streams_) {
    if (!stream.ats_on) continue;
    for (const auto& [pasid, translation] : stream.translations) {
      if (!SameTag(tag, translation)) continue;
      // A nested stream's device knows the guest's addresses, not those of the second stage.
      const bool whole = translation.kind == TranslationKind::kNested || ranges.size() > kMaxRanges;
      if (whole) batch->push_back(AtcInvalidation(id, pasid, smmu::kWholeAtc));
      for (const IovaRange& range : whole ? absl::Span<const IovaRange>() : ranges) {
        batch->push_back(AtcInvalidation(id, pasid, smmu::CoveringAtcBlock(range)));
      }
    }
  }
}

absl::Status SmmuUnit::Flush(const TagUse& use, absl::Span<const IovaRange> ranges,
                             bool leaves_only) {
  // An entry that appears between the unit's flush and a look at who uses the tag could let a
  // device keep what the flush was to remove: so both are one step to whoever changes entries.
  absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(FlushWhatIsOwed());
  if (ranges.empty()) return absl::OkStatus();
  Commands tlb, devices;
  if (ranges.size() > kMaxRanges) {
    tlb.push_back(WholeTag(use.tag));
  } else {
    for (const IovaRange& range : ranges) AppendRange(use, range, leaves_only, &tlb);
  }
  if (!IsFirstStage(use.tag.kind) && IsNestedOn(use.tag.id)) {
    tlb.push_back(smmu::InvalidateStage1(static_cast<uint16_t>(use.tag.id)));
  }
  AppendDevices(use.tag, ranges, &devices);
  return SubmitInOrder(tlb, devices);
}

absl::Status SmmuUnit::FlushTag(const UnitTag& tag) {
  absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(FlushWhatIsOwed());
  const IovaRange everything = {0, kMaxAddress};
  Commands devices;
  AppendDevices(tag, absl::MakeConstSpan(&everything, 1), &devices);
  return SubmitInOrder({WholeTag(tag)}, devices);
}

absl::Status SmmuUnit::Execute(absl::Span<const smmu::Command> commands, size_t* handled) {
  absl::MutexLock lock(&mutex_);
  *handled = 0;
  RETURN_IF_ERROR(FlushWhatIsOwed());
  const auto is_of_devices = [](const smmu::Command& command) {
    return smmu::OpcodeOf(command) == smmu::Opcode::kAtcInv;
  };
  while (*handled < commands.size()) {
    const auto rest = commands.subspan(*handled);
    size_t together = 1;
    while (together < rest.size() && is_of_devices(rest[together]) == is_of_devices(rest[0])) {
      ++together;
    }
    const auto batch = rest.first(together);
    RETURN_IF_ERROR(is_of_devices(batch[0]) ? SubmitToDevices(batch) : queue_->Submit(batch));
    *handled += together;
  }
  return absl::OkStatus();
}

}  // namespace viommu
