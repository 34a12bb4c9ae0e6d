// engine/pipeline/operation.h -- One mutation on its way: validate, plan, journal, apply, commit.
#ifndef VIOMMU_ENGINE_PIPELINE_OPERATION_H_
#define VIOMMU_ENGINE_PIPELINE_OPERATION_H_

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/journal/record.h"
#include "engine/model/model.h"
#include "engine/types.h"

namespace viommu {

// Subclasses hold the request, then what Plan decided, then the answer. The pipeline calls the
// methods in the order of their declaration; all but Apply under its lock.
class Operation {
 public:
  explicit Operation(CallContext context) : context_(std::move(context)) {}
  virtual ~Operation() = default;
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  const CallContext& context() const { return context_; }

  // The uids of the objects that the operation works on: operations that share one are applied in
  // the order in which they arrived. Errors: names that can not be looked up.
  virtual absl::StatusOr<std::vector<Uid>> Lanes(Model& model) = 0;

  // Whether it may be planned while earlier operations on its lanes are planned but not committed.
  // Only operations that are all stackable may be under way on a lane together.
  virtual bool stackable() const { return false; }

  // Whether it only takes away what somebody has. A revoke is never refused because of what its
  // caller has under way; everything else is a grant and is.
  virtual bool revokes() const { return false; }

  // Validates, decides, and reserves the outcome in the model, so that later plans see it. On an
  // error the model is as before.
  virtual absl::Status Plan(Model& model) = 0;

  // After Plan: there is nothing to change; the answer is ready.
  virtual bool nothing_to_do() const { return false; }

  // Takes back what Plan reserved. Later plans on the same lanes have been taken back before.
  virtual void Unplan(Model& model) = 0;

  // Whether it changes what must survive a restart. Logical is asked for no other.
  virtual bool journalled() const { return true; }
  virtual LogicalOperation Logical() const = 0;

  // Makes it real. On an error nothing has changed. No lock is held.
  virtual absl::Status Apply(Backend& backend) = 0;

  // Makes the outcome visible. Can not fail.
  virtual void Commit(Model& model) = 0;

 private:
  const CallContext context_;
};

// An operation that answers with a value, set by Commit (or by Plan for a dry run or when there is
// nothing to do).
template <typename T>
class AnsweringOperation : public Operation {
 public:
  using Answer = T;
  using Operation::Operation;
  T& answer() { return answer_; }

 private:
  T answer_{};
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_PIPELINE_OPERATION_H_
