#include "engine/backend/soft/soft_ioas.h"

#include <algorithm>
#include <utility>

namespace viommu {

absl::Status SoftIoas::Map(absl::Span<const PhysicalMapping> mappings) {
  absl::MutexLock lock(&mutex_);
  for (size_t i = 0; i < domains_.size(); ++i) {
    absl::Status status = domains_[i]->Map(mappings);
    if (status.ok()) continue;
    std::vector<IovaRange> ranges;
    for (const PhysicalMapping& mapping : mappings) ranges.push_back(mapping.range());
    for (size_t k = i; k > 0; --k) {
      const absl::Status undone = domains_[k - 1]->Unmap(ranges);
      if (!undone.ok()) status = undone;  // Graver than why the map was refused.
    }
    return status;
  }
  return absl::OkStatus();
}

absl::Status SoftIoas::Unmap(absl::Span<const IovaRange> ranges) {
  absl::MutexLock lock(&mutex_);
  absl::Status result;
  for (const auto& domain : domains_) result.Update(domain->Unmap(ranges));
  return result;
}

void SoftIoas::SetLargePages(bool large_pages) {
  absl::MutexLock lock(&mutex_);
  large_pages_ = large_pages;
  for (const auto& domain : domains_) domain->SetLargePages(large_pages);
}

bool SoftIoas::large_pages() const {
  absl::MutexLock lock(&mutex_);
  return large_pages_;
}

void SoftIoas::Add(std::shared_ptr<SoftDomain> domain) {
  absl::MutexLock lock(&mutex_);
  domains_.push_back(std::move(domain));
}

void SoftIoas::Remove(const SoftDomain* domain) {
  absl::MutexLock lock(&mutex_);
  domains_.erase(std::remove_if(domains_.begin(), domains_.end(),
                                [&](const auto& d) { return d.get() == domain; }),
                 domains_.end());
}

}  // namespace viommu
