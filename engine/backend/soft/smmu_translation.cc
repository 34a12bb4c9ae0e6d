#include "engine/backend/soft/smmu_translation.h"

#include <variant>

#include "engine/backend/backend.h"
#include "engine/backend/soft/smmu_capability.h"
#include "engine/entries/smmu_guest.h"

namespace viommu {

UnitTranslation SmmuStream::At(uint32_t pasid) const {
  const auto found = translations.find(pasid);
  return found == translations.end() ? UnitTranslation{} : found->second;
}

void SmmuStream::Put(uint32_t pasid, const UnitTranslation& translation) {
  if (translation.kind == TranslationKind::kBlocked) {
    translations.erase(pasid);
  } else {
    translations[pasid] = translation;
  }
}

bool SmmuStream::HasPasids() const {
  return !translations.empty() && translations.rbegin()->first != kRidPasid;
}

bool SmmuStream::NeedsCds() const { return HasPasids() || IsFirstStage(At(kRidPasid).kind); }

namespace smmu {
namespace {

Granule GranuleOf(const DomainProperties& properties) {
  return static_cast<Granule>(GranuleLog2(properties));
}

Ste CdTableSte(const IommuSpec& unit, const SmmuStream& stream, DefaultSubstream without_ssid) {
  CdTableFields fields;
  fields.table = stream.cds == nullptr ? PhysAddr{} : stream.cds->root();
  fields.format = CdTableFormatFor(stream.pasid_bits);
  fields.cds_log2 = stream.pasid_bits;
  fields.without_ssid = without_ssid;
  fields.ats = stream.device_tlb;
  fields.stall_disable = unit.smmu_v3.stall && !stream.stalls;
  return MakeCdTableSte(fields);
}

Stage2Fields Stage2Of(const IommuSpec& unit, const UnitTranslation& translation) {
  // Arm counts levels from the root's: 3 is that of the smallest leaves.
  constexpr int kLeafLevel = 3;
  const DomainProperties& properties = *translation.properties;
  Stage2Fields fields;
  fields.root = translation.root;
  fields.vmid = static_cast<uint16_t>(translation.tag);
  fields.input_bits = InputBits(properties);
  fields.start_level = kLeafLevel + 1 - properties.levels;
  fields.granule = GranuleOf(properties);
  fields.output_bits = unit.smmu_v3.oas_bits;
  fields.coherent_walks = unit.smmu_v3.coherent;
  fields.force_write_back = ForcesWriteBack(unit, properties);
  return fields;
}

Ste Stage2Ste(const IommuSpec& unit, const SmmuStream& stream, const UnitTranslation& translation) {
  Stage2Fields fields = Stage2Of(unit, translation);
  fields.ats = stream.device_tlb;
  return MakeStage2Ste(fields);
}

// The device's ATS follows the guest's.
Ste SteForGuest(const IommuSpec& unit, const SmmuStream& stream,
                const UnitTranslation& translation) {
  const auto& vste = std::get<ArmSmmuV3Stage1>(translation.guest);
  const auto guest = ValidateVste({vste.ste[0], vste.ste[1]});
  if (!guest.ok()) return MakeAbortSte();
  Stage2Fields parent = Stage2Of(unit, translation);
  parent.ats = guest->ats && stream.device_tlb;
  return MakeGuestSte(*guest, parent);
}

}  // namespace

Cd CdFor(const IommuSpec& unit, const SmmuStream& stream, const UnitTranslation& translation) {
  if (!IsFirstStage(translation.kind)) return Cd{};
  CdFields fields;
  fields.root = translation.root;
  fields.asid = static_cast<uint16_t>(translation.tag);
  fields.input_bits = InputBits(*translation.properties);
  fields.granule = GranuleOf(*translation.properties);
  fields.output_bits = unit.smmu_v3.oas_bits;
  fields.coherent_walks = unit.smmu_v3.coherent;
  fields.stall = stream.stalls;
  // Whether or not anybody wants to know: without it what is clean could not be written.
  fields.hardware_dirty = translation.properties->dirty_tracking;
  return MakeCd(fields);
}

namespace {

Ste TranslatingSte(const IommuSpec& unit, const SmmuStream& stream) {
  const UnitTranslation rid = stream.At(kRidPasid);
  switch (rid.kind) {
    case TranslationKind::kBlocked:
      return stream.HasPasids() ? CdTableSte(unit, stream, DefaultSubstream::kTerminate)
                                : MakeAbortSte();
    case TranslationKind::kIdentity:
      return stream.HasPasids() ? CdTableSte(unit, stream, DefaultSubstream::kBypass)
                                : MakeBypassSte({});
    case TranslationKind::kFirstStage:
    case TranslationKind::kProcess:
      return CdTableSte(unit, stream, DefaultSubstream::kSsid0);
    case TranslationKind::kSecondStage:
      return Stage2Ste(unit, stream, rid);
    case TranslationKind::kNested:
      return SteForGuest(unit, stream, rid);
  }
  return MakeAbortSte();
}

}  // namespace

Ste SteFor(const IommuSpec& unit, const SmmuStream& stream) {
  const Ste ste = stream.quarantined ? MakeAbortSte() : TranslatingSte(unit, stream);
  return stream.page_requests ? WithPageResponsePasid(ste) : ste;
}

}  // namespace smmu
}  // namespace viommu
