// engine/backend/soft/vtd_port.h -- A VtdUnit as a UnitPort.
//
// `Store` (engine/pagetable/store.h) is how entries are written that a device may be reading: the
// choice costs nothing per store.
//
// Thread-safe.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_VTD_PORT_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_VTD_PORT_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/unit_port.h"
#include "engine/backend/soft/vtd_translation.h"
#include "engine/backend/soft/vtd_unit.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/base/errors.h"
#include "engine/entries/entry_writer.h"
#include "engine/entries/vtd_entries.h"

namespace viommu {

static_assert(kRidPasid == VtdUnit::kRidPasid);

template <typename Store>
class VtdPort final : public UnitPort {
 public:
  // `unit` outlives the port.
  VtdPort(VtdUnit* unit, const Store& store) : unit_(*unit), store_(store) {}

  const IommuSpec& spec() const override { return unit_.spec(); }

  absl::Status CheckTogether(TranslationKind without_pasid,
                             absl::Span<const TranslationKind> with_pasids) const override {
    bool passes = without_pasid == TranslationKind::kIdentity;
    for (const TranslationKind kind : with_pasids) passes |= kind == TranslationKind::kIdentity;
    if (!passes || spec().pass_through) return absl::OkStatus();
    return Error(absl::StatusCode::kUnimplemented, "IDENTITY_UNAVAILABLE",
                 absl::StrCat("iommu ", spec().id, " cannot pass addresses through"))
        .Errno("EOPNOTSUPP");
  }

  absl::Status CheckPasid(uint32_t requester, uint32_t pasid) const override {
    return unit_.CheckPasid(SourceId(requester), pasid);
  }
  absl::Status PrepareEntry(uint32_t requester, uint32_t pasid, TranslationKind) override {
    return unit_.PrepareEntry(SourceId(requester), pasid);
  }

  Transition PlanChange(uint32_t requester, uint32_t pasid,
                        const UnitTranslation& target) const override {
    const auto plan = PlanEntry<vtd::PasidArchitecture>(unit_.EntryOf(SourceId(requester), pasid),
                                                        EntryFor(target));
    if (plan.hitless()) return {};
    return {false, "the PASID-table entry changes in more than one atomic store"};
  }

  absl::Status SetEntry(uint32_t requester, uint32_t pasid,
                        const UnitTranslation& target) override {
    return unit_.SetEntry(store_, SourceId(requester), pasid, EntryFor(target));
  }
  void ForceEntry(uint32_t requester, uint32_t pasid, const UnitTranslation& target) override {
    unit_.ForceEntry(store_, SourceId(requester), pasid, EntryFor(target));
  }
  absl::Status BlockEntry(uint32_t requester, uint32_t pasid) override {
    return unit_.BlockEntry(store_, SourceId(requester), pasid);
  }
  void ReleaseTable(uint32_t requester, uint32_t pasid) override {
    unit_.ReleaseTable(SourceId(requester), pasid);
  }
  absl::Status Settle() override { return unit_.Settle(); }
  std::vector<uint32_t> Quarantined() const override { return unit_.Quarantined(); }
  absl::Status Readmit(uint32_t requester) override { return unit_.Readmit(SourceId(requester)); }

  // All processes share one domain id: their entries differ by PASID.
  absl::StatusOr<uint32_t> TakeTag(TranslationKind kind) override {
    if (kind == TranslationKind::kProcess) return vtd::kSharedDomainId;
    return unit_.TakeDomainId();
  }
  void ReturnTag(const UnitTag& tag) override {
    if (tag.kind != TranslationKind::kProcess) unit_.ReturnDomainId(DomainId(tag));
  }
  uint32_t TagToCome(TranslationKind kind) const override {
    return kind == TranslationKind::kProcess ? vtd::kSharedDomainId : vtd::kUnusedDomainId;
  }

  absl::Status Flush(const TagUse& use, absl::Span<const IovaRange> ranges,
                     bool leaves_only) override {
    if (use.tag.kind == TranslationKind::kSecondStage) {
      return unit_.Flush(DomainId(use.tag), ranges, leaves_only);
    }
    return unit_.FlushFirstStage(DomainId(use.tag), use.pasids, ranges, leaves_only);
  }
  absl::Status FlushTag(const UnitTag& tag) override { return unit_.FlushDomain(DomainId(tag)); }

  void KeepUntilFlushed(std::shared_ptr<const void> tables) override {
    unit_.KeepUntilFlushed(std::move(tables));
  }

 private:
  static uint16_t SourceId(uint32_t requester) { return static_cast<uint16_t>(requester); }
  static uint16_t DomainId(const UnitTag& tag) { return static_cast<uint16_t>(tag.id); }
  vtd::PasidEntry EntryFor(const UnitTranslation& translation) const {
    return vtd::EntryOf(unit_.spec(), translation);
  }

  VtdUnit& unit_;
  const Store store_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_VTD_PORT_H_
