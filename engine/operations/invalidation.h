// engine/operations/invalidation.h -- What invalidations of domains and of Viommus have in common.
#ifndef VIOMMU_ENGINE_OPERATIONS_INVALIDATION_H_
#define VIOMMU_ENGINE_OPERATIONS_INVALIDATION_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "engine/base/errors.h"
#include "engine/pipeline/operation.h"
#include "engine/types.h"

namespace viommu {

// kInvalidArgument BATCH_TOO_LARGE
absl::Status CheckInvalidationSize(const InvalidationBatch& batch);

// kUnimplemented COMMANDS_UNAVAILABLE, always.
absl::Status CommandsUnavailable(absl::string_view why);

// Carries a guest's commands of one kind out, up to the first that is wrong. The model does not
// change and nothing is journalled: after a restart no cache holds anything.
template <typename Command>
class Invalidation : public AnsweringOperation<InvalidateAnswer> {
 public:
  // `batch` outlives the operation: it may have thousands of commands. `only`: the uid that the
  // name must still mean; 0: whichever has the name.
  Invalidation(CallContext context, ObjectRef target, const InvalidationBatch* batch, Uid only)
      : AnsweringOperation(std::move(context)),
        ref_(std::move(target)),
        batch_(*batch),
        only_(only) {}

  bool revokes() const override { return true; }
  bool journalled() const override { return false; }
  bool nothing_to_do() const override { return commands_.empty(); }
  void Unplan(Model&) override {}
  LogicalOperation Logical() const override { return {}; }
  void Commit(Model&) override {}

 protected:
  const ObjectRef& ref() const { return ref_; }
  const InvalidationBatch& batch() const { return batch_; }
  Uid only() const { return only_; }
  // Those before the first that is wrong.
  absl::Span<const Command> commands() const { return commands_; }

  static std::string FieldAt(absl::string_view list, uint64_t index) {
    return absl::StrCat(list, "[", index, "]");
  }

  // Takes, for `target`, the commands before the first that `check` refuses, which the answer names
  // as one of `list`.
  template <typename Check>
  void Take(Uid target, const std::vector<Command>& all, absl::string_view list, Check check) {
    answer() = {0, absl::OkStatus(), target};
    for (const Command& command : all) {
      const absl::Status checked = check(command);
      const uint64_t index = answer().handled;
      if (!checked.ok()) {
        answer().first_error = AtIndex(checked, index, FieldAt(list, index));
        break;
      }
      ++answer().handled;
    }
    commands_ = absl::MakeConstSpan(all).first(answer().handled);
  }

 private:
  const ObjectRef ref_;
  const InvalidationBatch& batch_;
  const Uid only_;
  absl::Span<const Command> commands_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_INVALIDATION_H_
