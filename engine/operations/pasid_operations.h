// engine/operations/pasid_operations.h -- Taking and freeing PASIDs of a device's group.
//
// Who has the device may, and an operator, whose PASIDs are then kept from who has it. The table is
// the engine's own: it never reaches a backend. Errors: those of Engine::AllocatePasid,
// ReservePasid and FreePasid.
#ifndef VIOMMU_ENGINE_OPERATIONS_PASID_OPERATIONS_H_
#define VIOMMU_ENGINE_OPERATIONS_PASID_OPERATIONS_H_

#include <optional>
#include <string>
#include <vector>

#include "engine/pipeline/operation.h"

namespace viommu {

// The lowest free one of a range, or a given one.
class TakePasidOperation : public AnsweringOperation<PasidView> {
 public:
  TakePasidOperation(CallContext context, std::string device, PasidRequest request)
      : AnsweringOperation(std::move(context)),
        device_id_(std::move(device)),
        request_(std::move(request)) {}
  TakePasidOperation(CallContext context, std::string device, uint32_t pasid, std::string label)
      : TakePasidOperation(std::move(context), std::move(device),
                           PasidRequest{pasid, pasid, std::move(label)}) {
    reserves_ = true;
  }

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  absl::Status Plan(Model& model) override;
  void Unplan(Model& model) override;
  LogicalOperation Logical() const override;
  absl::Status Apply(Backend&) override { return absl::OkStatus(); }
  void Commit(Model& model) override;

 private:
  absl::StatusOr<uint32_t> Choose(const Model& model, const Device& device) const;
  PasidEntry::Kind kind() const;

  const std::string device_id_;
  const PasidRequest request_;
  bool reserves_ = false;  // The number is given: a single one.
  DeviceIndex device_ = 0;
  uint32_t pasid_ = 0;
  Account* account_ = nullptr;
};

class FreePasidOperation : public Operation {
 public:
  // `owner`: who must have the device, as CheckHeldFor.
  FreePasidOperation(CallContext context, std::string device, uint32_t pasid, std::string owner)
      : Operation(std::move(context)),
        device_id_(std::move(device)),
        pasid_(pasid),
        owner_(std::move(owner)) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  bool revokes() const override { return true; }
  absl::Status Plan(Model& model) override;
  void Unplan(Model&) override {}
  LogicalOperation Logical() const override { return record::FreePasid{device_id_, pasid_}; }
  absl::Status Apply(Backend&) override { return absl::OkStatus(); }
  void Commit(Model& model) override;

 private:
  const std::string device_id_;
  const uint32_t pasid_;
  const std::string owner_;
  DeviceIndex device_ = 0;
};

// Frees every PASID of a group that nothing is attached at, and whose claim ends.
void FreeAllPasids(Model& model, Group& group);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_PASID_OPERATIONS_H_
