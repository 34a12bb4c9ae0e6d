// engine/backend/soft/smmu_translation.h -- What a stream's requests are to meet, as the context
// descriptors and the stream table entry that say it (iommufd-semantics.md 17.3, 17.7).
//
// A first stage is a descriptor, that of SSID 0 for requests without PASID. While PASIDs are in
// use, or requests without PASID are on a first stage, the stream's entry leads to the descriptors
// and S1DSS says what requests without PASID get; else the entry says it alone.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_SMMU_TRANSLATION_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_SMMU_TRANSLATION_H_

#include <cstdint>
#include <memory>

#include "absl/container/btree_map.h"
#include "engine/backend/soft/smmu_cd_table.h"
#include "engine/backend/soft/unit_port.h"
#include "engine/backend/topology.h"
#include "engine/entries/smmu_cd.h"
#include "engine/entries/smmu_ste.h"

namespace viommu {

inline bool IsFirstStage(TranslationKind kind) {
  return kind == TranslationKind::kFirstStage || kind == TranslationKind::kProcess;
}

// One stream and what its requests meet. Thread-compatible: the SmmuUnit holds its lock.
struct SmmuStream {
  uint32_t id = 0;
  int pasid_bits = 0;  // 0: its requests with PASID are refused.
  bool device_tlb = false;
  bool stalls = false;         // Its faulting requests wait for an answer.
  bool page_requests = false;  // It asks for pages, and wants its PASID in answers.
  // By PASID, kRidPasid for requests without one. What is not there is blocked.
  absl::btree_map<uint32_t, UnitTranslation> translations = {};
  std::unique_ptr<SmmuCdTable> cds = nullptr;  // While one of them needs it.
  bool ats_on = false;                         // The device asks for translations now.
  bool quarantined = false;  // Its requests are refused, whatever they are to meet.

  UnitTranslation At(uint32_t pasid) const;
  void Put(uint32_t pasid, const UnitTranslation& translation);
  bool HasPasids() const;
  // Whether the entry leads to descriptors.
  bool NeedsCds() const;
};

namespace smmu {

// Pure. The descriptor for requests of `stream` that are to meet `translation`; invalid unless it
// is a first stage, whose root and tag may be placeholders.
Cd CdFor(const IommuSpec& unit, const SmmuStream& stream, const UnitTranslation& translation);

// Pure. The entry of a stream whose requests meet what it says.
Ste SteFor(const IommuSpec& unit, const SmmuStream& stream);

// Pure. Whether the device may ask for translations under such an entry.
inline bool AllowsAts(const Ste& ste) { return AtsTreatmentOf(ste) == AtsTreatment::kTranslate; }

}  // namespace smmu
}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SMMU_TRANSLATION_H_
