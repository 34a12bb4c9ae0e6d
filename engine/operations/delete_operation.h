// engine/operations/delete_operation.h -- What destroying an object of any kind has in common.
#ifndef VIOMMU_ENGINE_OPERATIONS_DELETE_OPERATION_H_
#define VIOMMU_ENGINE_OPERATIONS_DELETE_OPERATION_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/pipeline/operation.h"

namespace viommu {

inline constexpr size_t kMaxListedReferrers = 16;  // In an error message.

// kFailedPrecondition IN_USE, with the referrers, when there are any.
inline absl::Status CheckUnused(const Model& model, const Object& object,
                                const CallContext& context) {
  if (object.referrers().empty()) return absl::OkStatus();
  const std::vector<std::string> names = model.ReferrerNames(object, context, kMaxListedReferrers);
  const std::string name = object.NameFor(context.principal);
  Error error(absl::StatusCode::kFailedPrecondition, "IN_USE",
              absl::StrCat(name, " is in use by ", absl::StrJoin(names, ", ")));
  for (const std::string& referrer : names) error.Violation(referrer);
  return std::move(error).Errno("EBUSY").Resource(name).Meta(
      "referrer_count", absl::StrCat(object.referrers().size()));
}

// The object can not be found from Plan on; it is gone at Commit.
template <typename T>
class DeleteOperation : public Operation {
 public:
  DeleteOperation(CallContext context, ObjectRef ref, std::string etag)
      : Operation(std::move(context)), ref_(std::move(ref)), etag_(std::move(etag)) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override {
    ASSIGN_OR_RETURN(T * object, model.Find<T>(context(), ref_));
    std::vector<Uid> lanes = OtherLanes(model, *object);
    lanes.push_back(object->uid());
    return lanes;
  }

  absl::Status Plan(Model& model) override {
    ASSIGN_OR_RETURN(object_, model.Find<T>(context(), ref_));
    RETURN_IF_ERROR(
        Model::CheckEtag(etag_, object_->Etag(), object_->NameFor(context().principal)));
    RETURN_IF_ERROR(CheckUnused(model, *object_, context()));
    object_->state = Object::State::kDestroying;
    return absl::OkStatus();
  }

  bool revokes() const override { return true; }

  void Unplan(Model&) override { object_->state = Object::State::kLive; }

  LogicalOperation Logical() const override { return record::Destroy{object_->uid()}; }

  void Commit(Model& model) override {
    DropWhatItHolds(model);
    model.Discard(*object_);
  }

 protected:
  T& object() { return *object_; }

 private:
  virtual std::vector<Uid> OtherLanes(const Model&, const T&) { return {}; }
  // References and reservations that the object held.
  virtual void DropWhatItHolds(Model&) {}

  const ObjectRef ref_;
  const std::string etag_;
  T* object_ = nullptr;  // Stays, as its lane is held.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_DELETE_OPERATION_H_
