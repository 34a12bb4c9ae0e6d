// engine/operations/plug_operations.h -- Takes a device out of the host, and puts it in again
// (simulation).
//
// A device that is out keeps its place in the topology and in its group, blocked for the hardware;
// everything else about it is gone. Errors: those of Engine::UnplugDevice and PlugDevice.
#ifndef VIOMMU_ENGINE_OPERATIONS_PLUG_OPERATIONS_H_
#define VIOMMU_ENGINE_OPERATIONS_PLUG_OPERATIONS_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/operations/leaving.h"
#include "engine/operations/vdevices_leaving.h"
#include "engine/pipeline/operation.h"

namespace viommu {

class UnplugOperation : public Operation {
 public:
  UnplugOperation(CallContext context, std::string device)
      : Operation(std::move(context)), device_id_(std::move(device)) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  bool revokes() const override { return true; }
  absl::Status Plan(Model& model) override;
  void Unplan(Model& model) override;
  LogicalOperation Logical() const override {
    return record::Unplug{device_id_, vdevices_.Logical()};
  }
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 private:
  // With the device blocked: what becomes of its group.
  absl::Status Leave(Backend& backend);
  absl::Status Undo(Backend& backend);

  const std::string device_id_;
  DeviceIndex device_ = 0;
  std::vector<DeviceIndex> group_;
  std::vector<Leaving> leavings_;  // Of all that it is attached to.
  size_t left_ = 0;                // Those that the hardware has done.
  VdevicesLeaving vdevices_;
  DefaultDomainType default_domain_ = DefaultDomainType::kDma;
  bool held_back_ = false;   // It was blocked before.
  bool ends_claim_ = false;  // No other member is left.
  bool stuck_ = false;       // It could be neither taken out nor put back.
  Transition transition_;
};

class PlugOperation : public AnsweringOperation<DeviceView> {
 public:
  PlugOperation(CallContext context, std::string device)
      : AnsweringOperation(std::move(context)), device_id_(std::move(device)) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  absl::Status Plan(Model& model) override;
  void Unplan(Model&) override {}
  LogicalOperation Logical() const override { return record::Plug{device_id_}; }
  absl::Status Apply(Backend& backend) override { return backend.Unblock(device_); }
  void Commit(Model& model) override;

 private:
  const std::string device_id_;
  DeviceIndex device_ = 0;
  Uid uid_ = 0;  // That it gets.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_PLUG_OPERATIONS_H_
