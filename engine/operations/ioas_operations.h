// engine/operations/ioas_operations.h -- Creating, changing and destroying IO address spaces.
// Errors: those of Engine::CreateIoas, SetLargePages, SetAllowedIovaRanges and DeleteIoas.
#ifndef VIOMMU_ENGINE_OPERATIONS_IOAS_OPERATIONS_H_
#define VIOMMU_ENGINE_OPERATIONS_IOAS_OPERATIONS_H_

#include <string>
#include <vector>

#include "engine/operations/delete_operation.h"
#include "engine/pipeline/operation.h"

namespace viommu {

class CreateIoasOperation : public AnsweringOperation<IoasView> {
 public:
  CreateIoasOperation(CallContext context, std::string id, const IoasOptions& options)
      : AnsweringOperation(std::move(context)), id_(std::move(id)), options_(options) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model&) override { return std::vector<Uid>(); }
  absl::Status Plan(Model& model) override;
  void Unplan(Model& model) override;
  LogicalOperation Logical() const override;
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 private:
  const std::string id_;
  const IoasOptions options_;
  Ioas* ioas_ = nullptr;
};

class SetLargePagesOperation : public AnsweringOperation<IoasView> {
 public:
  SetLargePagesOperation(CallContext context, ObjectRef ioas, bool large_pages, std::string etag)
      : AnsweringOperation(std::move(context)),
        ref_(std::move(ioas)),
        large_pages_(large_pages),
        etag_(std::move(etag)) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  absl::Status Plan(Model& model) override;
  bool nothing_to_do() const override { return !changes_; }
  void Unplan(Model& model) override;
  LogicalOperation Logical() const override;
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 private:
  absl::Status CheckMayChange() const;

  const ObjectRef ref_;
  const bool large_pages_;
  const std::string etag_;
  Ioas* ioas_ = nullptr;
  bool changes_ = false;
};

class SetAllowedRangesOperation : public AnsweringOperation<IoasView> {
 public:
  SetAllowedRangesOperation(CallContext context, ObjectRef ioas, std::vector<IovaRange> ranges,
                            std::string etag)
      : AnsweringOperation(std::move(context)),
        ref_(std::move(ioas)),
        ranges_(std::move(ranges)),
        etag_(std::move(etag)) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  absl::Status Plan(Model& model) override;
  void Unplan(Model& model) override;
  LogicalOperation Logical() const override;
  // The engine alone chooses IOVAs: the list never reaches a backend.
  absl::Status Apply(Backend&) override { return absl::OkStatus(); }
  void Commit(Model& model) override;

 private:
  const ObjectRef ref_;
  const std::vector<IovaRange> ranges_;
  const std::string etag_;
  Ioas* ioas_ = nullptr;
  std::vector<IovaRange> previous_;
};

class DeleteIoasOperation : public DeleteOperation<Ioas> {
 public:
  using DeleteOperation::DeleteOperation;
  absl::Status Apply(Backend& backend) override { return backend.DestroyIoas(object().uid()); }

 private:
  void DropWhatItHolds(Model& model) override;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_IOAS_OPERATIONS_H_
