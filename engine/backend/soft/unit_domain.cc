#include "engine/backend/soft/unit_domain.h"

#include <algorithm>
#include <utility>

#include "engine/base/status_macros.h"

namespace viommu {

std::vector<uint32_t> UnitDomain::UnitUse::pasids() const {
  std::vector<uint32_t> pasids;
  pasids.reserve(groups.size());
  for (const auto& [pasid, count] : groups) pasids.push_back(pasid);
  return pasids;
}

absl::StatusOr<UnitTranslation> UnitDomain::EnterUnit(UnitPort* unit, uint32_t pasid) {
  absl::MutexLock lock(&uses_mutex_);
  for (UnitUse& use : units_) {
    if (use.unit != unit) continue;
    ++use.groups[pasid];
    return TranslationWith(use.tag);
  }
  ASSIGN_OR_RETURN(const uint32_t tag, TakeTag(unit));
  units_.push_back({unit, tag, {{pasid, 1}}});
  return TranslationWith(tag);
}

std::optional<uint32_t> UnitDomain::DropGroup(UnitPort* unit, uint32_t pasid) {
  const auto use = std::find_if(units_.begin(), units_.end(),
                                [&](const UnitUse& candidate) { return candidate.unit == unit; });
  if (use == units_.end()) return std::nullopt;
  const auto groups = use->groups.find(pasid);
  if (groups == use->groups.end() || --groups->second > 0) return std::nullopt;
  use->groups.erase(groups);
  if (!use->groups.empty()) return std::nullopt;
  const uint32_t tag = use->tag;
  units_.erase(use);
  return tag;
}

void UnitDomain::LeaveUnit(UnitPort* unit, uint32_t pasid) {
  absl::MutexLock lock(&uses_mutex_);
  const std::optional<uint32_t> tag = DropGroup(unit, pasid);
  if (tag.has_value()) ReturnTag(unit, {kind_, *tag});
}

void UnitDomain::AbandonUnit(UnitPort* unit, uint32_t pasid) {
  absl::MutexLock lock(&uses_mutex_);
  const std::optional<uint32_t> tag = DropGroup(unit, pasid);
  if (tag.has_value()) abandoned_.push_back({unit, {kind_, *tag}});
}

absl::Status UnitDomain::FlushAbandoned() {
  absl::MutexLock lock(&uses_mutex_);
  return FlushAbandonedLocked();
}

absl::Status UnitDomain::FlushAbandonedLocked() {
  absl::Status result;
  std::vector<Abandoned> left;
  for (const Abandoned& use : abandoned_) {
    // What else the unit may hold, as the entry itself, is what it owes: it comes first.
    const absl::Status status = use.unit->FlushTag(use.tag);
    result.Update(status);
    if (status.ok()) {
      ReturnTag(use.unit, use.tag);
    } else {
      left.push_back(use);
    }
  }
  abandoned_ = std::move(left);
  return result;
}

absl::Status UnitDomain::FlushUses(absl::FunctionRef<absl::Status(const UnitUse&)> flush) {
  absl::MutexLock lock(&uses_mutex_);
  absl::Status result;
  for (const UnitUse& use : units_) result.Update(flush(use));
  result.Update(FlushAbandonedLocked());
  return result;
}

std::vector<UnitDomain::Abandoned> UnitDomain::TakeAbandoned() {
  absl::MutexLock lock(&uses_mutex_);
  return std::exchange(abandoned_, {});
}

void UnitDomain::Adopt(absl::Span<const Abandoned> abandoned) {
  absl::MutexLock lock(&uses_mutex_);
  abandoned_.insert(abandoned_.end(), abandoned.begin(), abandoned.end());
}

UnitTranslation UnitDomain::Preview(const UnitPort* unit) const {
  absl::MutexLock lock(&uses_mutex_);
  for (const UnitUse& use : units_) {
    if (use.unit == unit) return TranslationWith(use.tag);
  }
  return TranslationWith(TagToCome(unit));
}

}  // namespace viommu
