// engine/operations/doorbells.h -- The interrupt doorbells of devices, mapped where the devices go
// before they get there, as a part of an operation.
//
// A page is recorded in its domain, and its place is kept in the Ioas apart from the devices'
// reserved regions, because it stays when they leave: until the domain goes.
#ifndef VIOMMU_ENGINE_OPERATIONS_DOORBELLS_H_
#define VIOMMU_ENGINE_OPERATIONS_DOORBELLS_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/journal/record.h"
#include "engine/model/model.h"

namespace viommu {

// The operation holds the domain's lane from Plan to the end, and calls these from the methods of
// the same names. Made anew, it maps nothing.
class DoorbellPlacing {
 public:
  // Finds a page for the doorbell of each device in the tables that requests on `target` meet,
  // where the devices' SW_MSI regions are closed. All or nothing.
  // kOutOfRange DOORBELLS_EXHAUSTED: the domain's owner has no page left.
  // kFailedPrecondition INCOMPATIBLE_DOMAIN: its tables can not translate the page.
  absl::Status Plan(Model& model, const DomainTarget& target,
                    absl::Span<const DeviceIndex> devices);
  // Nothing is left; except that a page which the backend would not take away keeps its place,
  // until the domain goes or a later attachment uses it.
  void Unplan(Model& model);
  std::vector<record::Doorbell> Logical() const;
  // As Backend::MapDoorbell; then nothing has changed.
  absl::Status Apply(Backend& backend);
  // After Apply, when a later step fails.
  void Undo(Backend& backend) { Unmap(backend, pages_.size()); }

 private:
  struct Page {
    Iova iova = 0;
    PhysAddr doorbell;
    bool is_new = false;  // The domain has not had it.
    bool left_behind = false;
  };

  absl::Status Add(Model& model, const Device& device);
  // Of the first `count` pages those that are new.
  void Unmap(Backend& backend, size_t count);

  Domain* domain_ = nullptr;  // Null: there is nothing to be mapped.
  std::vector<Page> pages_;
};

// Of a domain that goes: its pages are free for others.
void DropDoorbells(Model& model, Domain& domain);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_DOORBELLS_H_
