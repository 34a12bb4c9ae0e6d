// engine/operations/dirty_operations.h -- Which pages of a domain devices write.
// Errors: those of Engine::SetDirtyTracking and ReadDirtyBitmap.
#ifndef VIOMMU_ENGINE_OPERATIONS_DIRTY_OPERATIONS_H_
#define VIOMMU_ENGINE_OPERATIONS_DIRTY_OPERATIONS_H_

#include <string>
#include <utility>
#include <vector>

#include "engine/base/dirty_bitmap.h"
#include "engine/pipeline/operation.h"

namespace viommu {

class SetDirtyTrackingOperation : public AnsweringOperation<DomainView> {
 public:
  SetDirtyTrackingOperation(CallContext context, ObjectRef domain, bool enabled, std::string etag)
      : AnsweringOperation(std::move(context)),
        ref_(std::move(domain)),
        enabled_(enabled),
        etag_(std::move(etag)) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  absl::Status Plan(Model& model) override;
  bool nothing_to_do() const override { return !changes_; }
  void Unplan(Model&) override {}
  LogicalOperation Logical() const override;
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 private:
  const ObjectRef ref_;
  const bool enabled_;
  const std::string etag_;
  Domain* domain_ = nullptr;  // Stays, as its lane is held.
  bool changes_ = false;
};

// The model does not change and nothing is journalled: what was marked does not survive a restart.
// The lane is the Ioas's, so that the range stays mapped meanwhile; the domain, which refers to it,
// is not deleted either.
class ReadDirtyOperation : public AnsweringOperation<DirtyBitmap> {
 public:
  ReadDirtyOperation(CallContext context, ObjectRef domain, const DirtyRequest& request)
      : AnsweringOperation(std::move(context)), ref_(std::move(domain)), request_(request) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  bool journalled() const override { return false; }
  absl::Status Plan(Model& model) override;
  void Unplan(Model&) override {}
  LogicalOperation Logical() const override { return {}; }
  absl::Status Apply(Backend& backend) override;
  void Commit(Model&) override {}

 private:
  IovaRange range() const { return {request_.iova, request_.iova + (request_.length_bytes - 1)}; }
  absl::Status CheckRange(uint64_t alignment_bytes) const;

  const ObjectRef ref_;
  const DirtyRequest request_;
  Uid domain_ = 0;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_DIRTY_OPERATIONS_H_
