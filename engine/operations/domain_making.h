// engine/operations/domain_making.h -- A PAGING domain that comes, or goes, as a part of an
// operation.
#ifndef VIOMMU_ENGINE_OPERATIONS_DOMAIN_MAKING_H_
#define VIOMMU_ENGINE_OPERATIONS_DOMAIN_MAKING_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "engine/journal/record.h"
#include "engine/model/model.h"

namespace viommu {

// The making of a domain over an Ioas, asked for by name or, as an auto domain, by an attachment
// (iommufd-semantics.md sections 4.3, 4.6). The operation holds the Ioas's lane from Plan to the
// end, and calls these from the methods of the same names.
class DomainMaking {
 public:
  // Reserves the domain, charged to the Ioas's owner; with no `id` it gets one. The Ioas is that of
  // `spec`. An `automatic` one goes with its last attachment.
  // Errors: those of Engine::CreateDomain beyond names.
  absl::Status Plan(Model& model, Ioas& ioas, const std::string& id, const DomainSpec& spec,
                    bool automatic);
  // After Plan: its page faults go to a queue. Errors: as UseFaultQueue; nothing has changed.
  absl::Status TakeFaultQueue(const Model& model, const CallContext& context,
                              const ObjectRef& queue, absl::string_view field);
  // Nothing is left; except that a domain which the backend would not destroy is shown, so that
  // DeleteDomain can try again.
  void Unplan(Model& model);
  record::CreateDomain Logical() const;
  absl::Status Apply(Backend& backend);
  // After Apply, when a later step fails.
  void Undo(Backend& backend);
  void Commit(Model& model);

  bool planned() const { return domain_ != nullptr; }
  const Domain& domain() const { return *domain_; }

 private:
  Ioas* ioas_ = nullptr;
  Domain* domain_ = nullptr;  // Null: nothing is planned.
  std::string device_id_;
  std::vector<BackendMapping> existing_;
  bool left_behind_ = false;
};

// What a domain over `ioas` closes there: the addresses that it can not translate, what is not
// aligned to its pages, the permissions that its tables can not hold. All or nothing.
// kFailedPrecondition IOVA_CONFLICT: an area or an allowed range is in the way;
// PERMISSION_UNAVAILABLE: an area has such a permission.
absl::Status CloseForDomain(Ioas& ioas, const DomainProperties& properties, Uid domain);
// Takes that back.
void OpenForDomain(Ioas& ioas, const Domain& domain);

// The going of an auto domain with its last attachments.
class DomainLeaving {
 public:
  // `leavers` of the domain's attachments end; with none left after that, an auto domain goes.
  void Plan(const Model& model, const DomainTarget& target, size_t leavers);
  // Destroys it. A backend that can not keeps it: it is shown then without attachments, to be taken
  // by the next one, or deleted.
  void Apply(Backend& backend);
  // Nothing refers to it any more.
  void Commit(Model& model);

  Uid uid() const { return uid_; }  // 0: none goes.

 private:
  Uid uid_ = 0;
  bool destroyed_ = false;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_DOMAIN_MAKING_H_
