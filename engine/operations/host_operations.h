// engine/operations/host_operations.h -- The host's own use of devices, and their health
// (simulation).
//
// HostMap and HostUnmap stand for the host's DMA API: the engine chooses the IOVA in the group's
// DMA default domain; under IDENTITY the IOVA is the physical address. Under DMA_FQ what is
// unmapped waits in the group's flush queue with its place and its memory. They are not journalled
// state: the host's mappings die with the host. What is mapped is charged to the host's own account
// (Ledger::host), whichever operator asked. Errors: those of Engine::HostMap, HostUnmap,
// SetDeviceHealth.
#ifndef VIOMMU_ENGINE_OPERATIONS_HOST_OPERATIONS_H_
#define VIOMMU_ENGINE_OPERATIONS_HOST_OPERATIONS_H_

#include <string>
#include <vector>

#include "engine/operations/claim_operations.h"
#include "engine/operations/flush_step.h"
#include "engine/pipeline/operation.h"

namespace viommu {

class HostMapOperation : public AnsweringOperation<Iova> {
 public:
  struct Source {
    ObjectRef region;
    uint64_t offset_bytes = 0;
    uint64_t length_bytes = 0;
    Permission permission = Permission::kReadWrite;
  };

  HostMapOperation(CallContext context, std::string device, Source source)
      : AnsweringOperation(std::move(context)),
        device_id_(std::move(device)),
        source_(std::move(source)) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  absl::Status Plan(Model& model) override;
  void Unplan(Model& model) override;
  LogicalOperation Logical() const override;
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 private:
  absl::Status CheckSource(uint64_t region_bytes) const;
  absl::StatusOr<Iova> Choose(Model& model, Group& group, const MemoryRegion& region) const;

  const std::string device_id_;
  const Source source_;
  DeviceIndex device_ = 0;
  bool translated_ = true;
  MemoryRegion* region_ = nullptr;
  PlacedArea area_;
};

class HostUnmapOperation : public Operation {
 public:
  HostUnmapOperation(CallContext context, std::string device, Iova iova, uint64_t length_bytes)
      : Operation(std::move(context)),
        device_id_(std::move(device)),
        iova_(iova),
        length_bytes_(length_bytes) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  bool revokes() const override { return true; }
  absl::Status Plan(Model& model) override;
  void Unplan(Model& model) override;
  LogicalOperation Logical() const override;
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

  // The range waits in the flush queue.
  bool deferred() const { return committed_ && type_ == DefaultDomainType::kDmaFq; }

 private:
  const std::string device_id_;
  const Iova iova_;
  const uint64_t length_bytes_;
  DeviceIndex device_ = 0;
  DefaultDomainType type_ = DefaultDomainType::kDma;
  FlushStep flush_;  // Makes room in the queue.
  PlacedArea area_;
  bool committed_ = false;
};

class SetHealthOperation : public GroupOperation {
 public:
  // A healthy device has neither cause nor reason, an unhealthy one some cause.
  SetHealthOperation(CallContext context, std::string device, DeviceHealth health,
                     HealthReason cause, std::string reason)
      : GroupOperation(std::move(context), std::move(device)),
        health_(health),
        cause_(health == DeviceHealth::kHealthy ? HealthReason::kNone
               : cause == HealthReason::kNone   ? HealthReason::kInjected
                                                : cause),
        reason_(std::move(reason)) {}

  absl::Status Plan(Model& model) override;
  LogicalOperation Logical() const override {
    return record::SetHealth{device_id(), health_ == DeviceHealth::kHealthy};
  }
  absl::Status Apply(Backend&) override { return absl::OkStatus(); }
  void Commit(Model& model) override;

 private:
  const DeviceHealth health_;
  const HealthReason cause_;
  const std::string reason_;
  DeviceIndex device_ = 0;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_HOST_OPERATIONS_H_
