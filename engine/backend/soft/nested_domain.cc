#include "engine/backend/soft/nested_domain.h"

#include <utility>
#include <vector>

#include "engine/base/address.h"

namespace viommu {
namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr IovaRange kEverything = {0, kMaxAddress};

IovaRange RangeOf(const VtdStage1Invalidation& invalidation) {
  const uint64_t pages_to_the_end = (kMaxAddress - invalidation.address) / kPageBytes + 1;
  if (invalidation.page_count >= pages_to_the_end) return {invalidation.address, kMaxAddress};
  return {invalidation.address, invalidation.address + (invalidation.page_count * kPageBytes - 1)};
}

}  // namespace

NestedDomain::NestedDomain(const VtdStage1& stage1, std::shared_ptr<SoftDomain> parent)
    : UnitDomain(TranslationKind::kNested), stage1_(stage1), parent_(std::move(parent)) {
  parent_->AddChild(this);
}

NestedDomain::~NestedDomain() {
  // First what is left, then away: a change of the parent in between finds it at either place.
  if (!FlushAbandoned().ok()) parent_->AdoptFromChild(TakeAbandoned());
  parent_->RemoveChild(this);
}

UnitTranslation NestedDomain::TranslationWith(uint32_t tag) const {
  return {kind(), parent_->shared_properties(), parent_->root(), tag, stage1_, parent_->tracked()};
}

absl::Status NestedDomain::Invalidate(absl::Span<const VtdStage1Invalidation> invalidations) {
  absl::MutexLock lock(&mutex_);
  std::vector<IovaRange> leaves, paths;
  for (const VtdStage1Invalidation& invalidation : invalidations) {
    if (invalidation.page_count == 0) continue;
    (invalidation.leaves_only ? leaves : paths).push_back(RangeOf(invalidation));
  }
  if (flush_failed_) paths = {kEverything};
  if (leaves.empty() && paths.empty()) return absl::OkStatus();
  absl::Status result = FlushUses([&](const UnitUse& use) {
    const TagUse tag_use{TagOf(use), use.pasids()};
    absl::Status status;
    for (const auto* ranges : {&paths, &leaves}) {
      if (ranges->empty()) continue;
      const bool leaves_only = ranges == &leaves;
      status.Update(use.unit->Flush(tag_use, *ranges, leaves_only));
    }
    return status;
  });
  flush_failed_ = !result.ok();
  return result;
}

absl::Status NestedDomain::FlushParentChange() {
  return FlushUses([this](const UnitUse& use) { return use.unit->FlushTag(TagOf(use)); });
}

}  // namespace viommu
