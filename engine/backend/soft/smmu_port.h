// engine/backend/soft/smmu_port.h -- An SmmuUnit as a UnitPort.
//
// `Store` (engine/pagetable/store.h) is how entries are written that a device may be reading: the
// choice costs nothing per store.
//
// Thread-safe.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_SMMU_PORT_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_SMMU_PORT_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/smmu_capability.h"
#include "engine/backend/soft/smmu_unit.h"
#include "engine/backend/soft/unit_port.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"

namespace viommu {

template <typename Store>
class SmmuPort final : public UnitPort {
 public:
  // `unit` outlives the port.
  SmmuPort(SmmuUnit* unit, const Store& store) : unit_(*unit), store_(store) {}

  const IommuSpec& spec() const override { return unit_.spec(); }

  absl::Status CheckTogether(TranslationKind without_pasid,
                             absl::Span<const TranslationKind> with_pasids) const override {
    return smmu::CheckTogether(spec(), without_pasid, with_pasids);
  }
  absl::Status CheckPasid(uint32_t requester, uint32_t pasid) const override {
    return unit_.CheckPasid(requester, pasid);
  }
  absl::Status PrepareEntry(uint32_t requester, uint32_t pasid, TranslationKind kind) override {
    return unit_.PrepareEntry(requester, pasid, kind);
  }
  Transition PlanChange(uint32_t requester, uint32_t pasid,
                        const UnitTranslation& target) const override {
    return unit_.PlanChange(requester, pasid, target);
  }

  absl::Status SetEntry(uint32_t requester, uint32_t pasid,
                        const UnitTranslation& target) override {
    return unit_.SetEntry(store_, requester, pasid, target);
  }
  void ForceEntry(uint32_t requester, uint32_t pasid, const UnitTranslation& target) override {
    unit_.ForceEntry(store_, requester, pasid, target);
  }
  absl::Status BlockEntry(uint32_t requester, uint32_t pasid) override {
    return unit_.BlockEntry(store_, requester, pasid);
  }
  void ReleaseTable(uint32_t requester, uint32_t pasid) override {
    unit_.ReleaseTable(requester, pasid);
  }
  absl::Status Settle() override { return unit_.Settle(); }
  std::vector<uint32_t> Quarantined() const override { return unit_.Quarantined(); }
  absl::Status Readmit(uint32_t requester) override { return unit_.Readmit(requester); }

  absl::StatusOr<uint32_t> TakeTag(TranslationKind kind) override { return unit_.TakeTag(kind); }
  void ReturnTag(const UnitTag& tag) override { unit_.ReturnTag(tag); }
  uint32_t TagToCome(TranslationKind kind) const override { return unit_.TagToCome(kind); }

  absl::Status Flush(const TagUse& use, absl::Span<const IovaRange> ranges,
                     bool leaves_only) override {
    return unit_.Flush(use, ranges, leaves_only);
  }
  absl::Status FlushTag(const UnitTag& tag) override { return unit_.FlushTag(tag); }
  void KeepUntilFlushed(std::shared_ptr<const void> tables) override {
    unit_.KeepUntilFlushed(std::move(tables));
  }

 private:
  SmmuUnit& unit_;
  const Store store_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SMMU_PORT_H_
