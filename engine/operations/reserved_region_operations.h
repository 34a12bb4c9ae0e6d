// engine/operations/reserved_region_operations.h -- Loading a device's reserved regions into an
// Ioas without attaching it, and unloading them. Errors: those of Engine::LoadReservedRegions and
// UnloadReservedRegions.
#ifndef VIOMMU_ENGINE_OPERATIONS_RESERVED_REGION_OPERATIONS_H_
#define VIOMMU_ENGINE_OPERATIONS_RESERVED_REGION_OPERATIONS_H_

#include <string>
#include <utility>
#include <vector>

#include "engine/pipeline/operation.h"

namespace viommu {

// What both share. What is loaded is kept apart from what an attachment of the same device
// reserves: each goes by itself.
class LoadedRegionsOperation : public AnsweringOperation<IoasView> {
 public:
  LoadedRegionsOperation(CallContext context, ObjectRef ioas, std::string device, std::string etag)
      : AnsweringOperation(std::move(context)),
        ref_(std::move(ioas)),
        device_id_(std::move(device)),
        etag_(std::move(etag)) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  absl::Status Plan(Model& model) override;
  bool nothing_to_do() const override { return !changes_; }
  // The engine alone chooses IOVAs: what is reserved never reaches a backend.
  absl::Status Apply(Backend&) override { return absl::OkStatus(); }
  void Commit(Model& model) override;

 protected:
  // Of the regions that an Ioas must stay clear of: all or none.
  static absl::Status Load(const Device& device, Ioas& ioas);
  static void Unload(const Device& device, Ioas& ioas);

  virtual bool IsWanted(bool loaded) const = 0;
  virtual absl::Status Change(const Device& device, Ioas& ioas) const = 0;

  const Device& device(const Model& model) const { return model.devices[device_]; }
  Ioas& ioas() const { return *ioas_; }
  const std::string& device_id() const { return device_id_; }

 private:
  const ObjectRef ref_;
  const std::string device_id_;
  const std::string etag_;
  Ioas* ioas_ = nullptr;  // Stays, as its lane is held.
  DeviceIndex device_ = 0;
  bool changes_ = false;
};

class LoadReservedRegionsOperation : public LoadedRegionsOperation {
 public:
  using LoadedRegionsOperation::LoadedRegionsOperation;
  void Unplan(Model& model) override { Unload(device(model), ioas()); }
  LogicalOperation Logical() const override {
    return record::LoadReservedRegions{ioas().uid(), device_id()};
  }

 private:
  bool IsWanted(bool loaded) const override { return !loaded; }
  absl::Status Change(const Device& device, Ioas& ioas) const override {
    return Load(device, ioas);
  }
};

class UnloadReservedRegionsOperation : public LoadedRegionsOperation {
 public:
  using LoadedRegionsOperation::LoadedRegionsOperation;
  bool revokes() const override { return true; }
  void Unplan(Model& model) override {
    // It was in force before, and its lane is held, so it can not be refused.
    Load(device(model), ioas()).IgnoreError();
  }
  LogicalOperation Logical() const override {
    return record::UnloadReservedRegions{ioas().uid(), device_id()};
  }

 private:
  bool IsWanted(bool loaded) const override { return loaded; }
  absl::Status Change(const Device& device, Ioas& ioas) const override {
    Unload(device, ioas);
    return absl::OkStatus();
  }
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_RESERVED_REGION_OPERATIONS_H_
