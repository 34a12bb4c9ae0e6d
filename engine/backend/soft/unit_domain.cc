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

absl::StatusOr<vtd::PasidEntry> UnitDomain::EnterUnit(VtdUnit* unit, uint32_t pasid) {
  absl::MutexLock lock(&uses_mutex_);
  for (UnitUse& use : units_) {
    if (use.unit != unit) continue;
    ++use.groups[pasid];
    return EntryFor(*unit, use.domain_id);
  }
  uint16_t domain_id = 0;
  if (const auto shared = SharedDomainId()) {
    domain_id = *shared;
  } else {
    ASSIGN_OR_RETURN(domain_id, unit->TakeDomainId());
  }
  units_.push_back({unit, domain_id, {{pasid, 1}}});
  return EntryFor(*unit, domain_id);
}

std::optional<uint16_t> UnitDomain::DropGroup(VtdUnit* unit, uint32_t pasid) {
  const auto use = std::find_if(units_.begin(), units_.end(),
                                [&](const UnitUse& candidate) { return candidate.unit == unit; });
  if (use == units_.end()) return std::nullopt;
  const auto groups = use->groups.find(pasid);
  if (groups == use->groups.end() || --groups->second > 0) return std::nullopt;
  use->groups.erase(groups);
  if (!use->groups.empty()) return std::nullopt;
  const uint16_t domain_id = use->domain_id;
  units_.erase(use);
  return domain_id;
}

void UnitDomain::GiveBackId(VtdUnit* unit, uint16_t domain_id) const {
  if (!SharedDomainId().has_value()) unit->ReturnDomainId(domain_id);
}

void UnitDomain::LeaveUnit(VtdUnit* unit, uint32_t pasid) {
  absl::MutexLock lock(&uses_mutex_);
  const std::optional<uint16_t> domain_id = DropGroup(unit, pasid);
  if (domain_id.has_value()) GiveBackId(unit, *domain_id);
}

void UnitDomain::AbandonUnit(VtdUnit* unit, uint32_t pasid) {
  absl::MutexLock lock(&uses_mutex_);
  const std::optional<uint16_t> domain_id = DropGroup(unit, pasid);
  if (domain_id.has_value()) abandoned_.push_back({unit, *domain_id, {}});
}

absl::Status UnitDomain::FlushAbandoned() {
  absl::MutexLock lock(&uses_mutex_);
  return FlushAbandonedLocked();
}

absl::Status UnitDomain::FlushAbandonedLocked() {
  absl::Status result;
  std::vector<UnitUse> left;
  for (UnitUse& use : abandoned_) {
    // What else the unit may hold, as the entry itself, is what it owes: it comes first.
    const absl::Status status = use.unit->FlushDomain(use.domain_id);
    result.Update(status);
    if (status.ok()) {
      GiveBackId(use.unit, use.domain_id);
    } else {
      left.push_back(std::move(use));
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

std::vector<UnitDomain::UnitUse> UnitDomain::TakeAbandoned() {
  absl::MutexLock lock(&uses_mutex_);
  return std::exchange(abandoned_, {});
}

void UnitDomain::Adopt(std::vector<UnitUse> abandoned) {
  absl::MutexLock lock(&uses_mutex_);
  for (UnitUse& use : abandoned) abandoned_.push_back(std::move(use));
}

vtd::PasidEntry UnitDomain::PreviewEntry(const VtdUnit* unit) const {
  absl::MutexLock lock(&uses_mutex_);
  for (const UnitUse& use : units_) {
    if (use.unit == unit) return EntryFor(*unit, use.domain_id);
  }
  // No entry of another domain has that id, as none has the one to come.
  return EntryFor(*unit, SharedDomainId().value_or(vtd::kUnusedDomainId));
}

}  // namespace viommu
