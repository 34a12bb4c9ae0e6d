#include "engine/backend/soft/vtd_translation.h"

#include <cstdint>
#include <variant>

#include "engine/backend/backend.h"
#include "engine/backend/soft/vtd_capability.h"

namespace viommu::vtd {
namespace {

constexpr bool kPageWalkSnoop = true;  // ECAP.SMPWC: every modelled unit has it.

PasidEntry FirstStageEntry(const IommuSpec& unit, const UnitTranslation& translation) {
  FirstStageFields fields;
  fields.root = translation.root;
  fields.levels = translation.properties->levels;
  fields.domain_id = static_cast<uint16_t>(translation.tag);
  fields.page_walk_snoop = kPageWalkSnoop;
  fields.force_snoop = translation.properties->enforces_cache_coherency;
  fields.unit_levels = DeepestLevels(unit);
  return MakeFirstStageEntry(fields);
}

PasidEntry SecondStageEntry(const UnitTranslation& translation) {
  SecondStageFields fields;
  fields.root = translation.root;
  fields.levels = translation.properties->levels;
  fields.domain_id = static_cast<uint16_t>(translation.tag);
  fields.page_walk_snoop = kPageWalkSnoop;
  fields.track_dirty = translation.tracked;
  return MakeSecondStageEntry(fields);
}

PasidEntry NestedEntry(const UnitTranslation& translation) {
  const auto& stage1 = std::get<VtdStage1>(translation.guest);
  NestedFields fields;
  fields.first_stage_root = stage1.table_address;
  fields.first_stage_levels = stage1.address_width_bits == 57 ? 5 : 4;
  fields.supervisor = stage1.supervisor_requests;
  fields.write_protect = stage1.write_protect;
  fields.extended_access = stage1.extended_accessed;
  fields.second_stage_root = translation.root;
  fields.second_stage_levels = translation.properties->levels;
  fields.domain_id = static_cast<uint16_t>(translation.tag);
  fields.page_walk_snoop = kPageWalkSnoop;
  fields.force_snoop = translation.properties->enforces_cache_coherency;
  fields.track_dirty = translation.tracked;
  return MakeNestedEntry(fields);
}

}  // namespace

PasidEntry EntryOf(const IommuSpec& unit, const UnitTranslation& translation) {
  switch (translation.kind) {
    case TranslationKind::kBlocked:
      return MakeBlockedEntry();
    case TranslationKind::kIdentity:
      return MakePassThroughEntry({DeepestLevels(unit), kPageWalkSnoop});
    case TranslationKind::kFirstStage:
    case TranslationKind::kProcess:
      return FirstStageEntry(unit, translation);
    case TranslationKind::kSecondStage:
      return SecondStageEntry(translation);
    case TranslationKind::kNested:
      return NestedEntry(translation);
  }
  return MakeBlockedEntry();
}

}  // namespace viommu::vtd
