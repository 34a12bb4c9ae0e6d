#include "engine/operations/doorbells.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"

namespace viommu {
namespace {

constexpr uint64_t kPageBytes = 4096;

IovaRange PageAt(Iova iova) { return {iova, iova + (kPageBytes - 1)}; }

// Under which a domain keeps the places of its doorbells: not its uid, under which it closes what
// it can not translate.
uint64_t HolderOf(const Domain& domain) { return domain.uid() | (uint64_t{1} << 62); }

void KeepPlaces(Model& model, const Domain& domain) {
  IovaSpace& space = model.Get<Ioas>(domain.ioas)->space();
  space.Unreserve(HolderOf(domain));
  for (const auto& [iova, doorbell] : domain.doorbells) {
    // It lies in a region that is closed, or has been kept since: nothing can be in the way.
    space.Reserve(PageAt(iova), HolderOf(domain), "doorbell mapped in a domain").IgnoreError();
  }
}

absl::Status CannotTranslate(const Device& device, const Domain& domain, Iova iova) {
  return Error(absl::StatusCode::kFailedPrecondition, "INCOMPATIBLE_DOMAIN",
               absl::StrCat("the doorbell of ", device.Name(), " would be mapped at ", Hex(iova),
                            "; the domain translates ", ToString(domain.properties.aperture)))
      .Errno("EINVAL")
      .Resource(device.Name())
      .Violation("attach the device to a domain that translates its SW_MSI region");
}

}  // namespace

absl::Status DoorbellPlacing::Add(Model& model, const Device& device) {
  const std::optional<IovaRange> window = DoorbellWindow(device.spec);
  const std::optional<PhysAddr> doorbell = device.spec.msi_doorbell;
  if (!doorbell.has_value() || !window.has_value()) return absl::OkStatus();
  if (const std::optional<Iova> known = domain_->DoorbellIn(*window, *doorbell)) {
    const bool is_here = std::any_of(pages_.begin(), pages_.end(),
                                     [&](const Page& page) { return page.iova == *known; });
    if (!is_here) pages_.push_back({*known, *doorbell});
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const Iova iova, model.doorbells.Take(domain_->owner(), *window, *doorbell));
  if (!domain_->properties.aperture.Contains(PageAt(iova))) {
    model.doorbells.GiveBack(domain_->owner(), iova);
    return CannotTranslate(device, *domain_, iova);
  }
  pages_.push_back({iova, *doorbell, /*is_new=*/true});
  domain_->doorbells.emplace(iova, *doorbell);
  KeepPlaces(model, *domain_);
  return absl::OkStatus();
}

absl::Status DoorbellPlacing::Plan(Model& model, const DomainTarget& target,
                                   absl::Span<const DeviceIndex> devices) {
  domain_ = model.PagingDomainOf(target);
  if (domain_ == nullptr) return absl::OkStatus();
  for (const DeviceIndex index : devices) {
    absl::Status added = Add(model, model.devices[index]);
    if (added.ok()) continue;
    Unplan(model);
    return added;
  }
  return absl::OkStatus();
}

void DoorbellPlacing::Unplan(Model& model) {
  bool changes = false;
  for (const Page& page : pages_) {
    if (!page.is_new || page.left_behind) continue;
    domain_->doorbells.erase(page.iova);
    model.doorbells.GiveBack(domain_->owner(), page.iova);
    changes = true;
  }
  if (changes) KeepPlaces(model, *domain_);
  pages_.clear();
}

std::vector<record::Doorbell> DoorbellPlacing::Logical() const {
  std::vector<record::Doorbell> added;
  for (const Page& page : pages_) {
    if (page.is_new) added.push_back({domain_->uid(), page.iova, page.doorbell.value});
  }
  return added;
}

absl::Status DoorbellPlacing::Apply(Backend& backend) {
  for (size_t i = 0; i < pages_.size(); ++i) {
    absl::Status mapped = backend.MapDoorbell(domain_->uid(), pages_[i].iova, pages_[i].doorbell);
    if (mapped.ok()) continue;
    Unmap(backend, i);
    return mapped;
  }
  return absl::OkStatus();
}

void DoorbellPlacing::Unmap(Backend& backend, size_t count) {
  for (size_t i = count; i > 0; --i) {
    Page& page = pages_[i - 1];
    if (page.is_new) page.left_behind = !backend.UnmapDoorbell(domain_->uid(), page.iova).ok();
  }
}

void DropDoorbells(Model& model, Domain& domain) {
  for (const auto& [iova, doorbell] : domain.doorbells) {
    model.doorbells.GiveBack(domain.owner(), iova);
  }
  domain.doorbells.clear();
  KeepPlaces(model, domain);
}

}  // namespace viommu
