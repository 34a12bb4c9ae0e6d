#include "engine/entries/smmu_ste.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace viommu::smmu {
namespace {

uint64_t ConfigWord(SteConfig config) {
  return kSteValid | kSteConfig.Put(static_cast<uint64_t>(config));
}

uint64_t Eats(bool ats) {
  return ats ? kSteEats.Put(static_cast<uint64_t>(AtsTreatment::kTranslate)) : 0;
}

// Without a first stage nothing else gives a request its shareability.
uint64_t IncomingShareability(bool attribute_overrides) {
  return attribute_overrides ? kSteShareabilityConfig.Put(kSteShareabilityIncoming) : 0;
}

// S2SL0 counts downwards, from another level in larger granules (VTCR_EL2.SL0).
uint64_t StartLevelCode(Granule granule, int level) {
  return static_cast<uint64_t>((granule == Granule::k4KiB ? 2 : 3) - level);
}

int StartLevelOf(const Ste& ste) {
  const bool small = kSteS2Granule.Get(ste[2]) == TableGranuleCode(Granule::k4KiB);
  return (small ? 2 : 3) - static_cast<int>(kSteS2StartLevel.Get(ste[2]));
}

uint64_t TableControl(const Stage2Fields& fields) {
  const uint64_t cache = fields.coherent_walks ? kWriteBackAllocate : kNonCacheable;
  return kSteS2InputSize.Put(static_cast<uint64_t>(64 - fields.input_bits)) |
         kSteS2StartLevel.Put(StartLevelCode(fields.granule, fields.start_level)) |
         kSteS2InnerCache.Put(cache) | kSteS2OuterCache.Put(cache) |
         kSteS2Shareability.Put(fields.coherent_walks ? kInnerShareable : kOuterShareable) |
         kSteS2Granule.Put(TableGranuleCode(fields.granule)) |
         kSteS2AddressSize.Put(AddressSizeCode(fields.output_bits));
}

const char* NameOf(DefaultSubstream without_ssid) {
  switch (without_ssid) {
    case DefaultSubstream::kTerminate:
      return "aborted";
    case DefaultSubstream::kBypass:
      return "not translated by it";
    case DefaultSubstream::kSsid0:
      return "by CD 0";
  }
  return "reserved";
}

const char* NameOf(CdTableFormat format) {
  switch (format) {
    case CdTableFormat::kLinear:
      return "linear";
    case CdTableFormat::kTwoLevel4KiB:
      return "two levels of 4 KiB";
    case CdTableFormat::kTwoLevel64KiB:
      return "two levels of 64 KiB";
  }
  return "reserved format";
}

const char* NameOf(SteConfig config) {
  switch (config) {
    case SteConfig::kAbort:
      return "abort";
    case SteConfig::kBypass:
      return "bypass";
    case SteConfig::kStage1:
      return "stage 1";
    case SteConfig::kStage2:
      return "stage 2";
    case SteConfig::kNested:
      return "stage 1 of a guest on stage 2";
  }
  return "abort (reserved code)";
}

std::string DescribeStage1(const Ste& ste) {
  std::string text = absl::StrFormat(", CD table 0x%x (%s, 2^%d CDs), without SSID %s",
                                     CdTableOf(ste), NameOf(CdTableFormatOf(ste)), CdsLog2Of(ste),
                                     NameOf(DefaultSubstreamOf(ste)));
  if ((ste[1] & kSteS1StallDisable) != 0) absl::StrAppend(&text, ", no stalls");
  return text;
}

std::string DescribeStage2(const Ste& ste) {
  std::string text =
      absl::StrFormat(", VMID %d, table 0x%x (%s, from level %d, %d to %d bits)", VmidOf(ste),
                      Stage2RootOf(ste).value, TableGranuleName(kSteS2Granule.Get(ste[2])),
                      StartLevelOf(ste), 64 - static_cast<int>(kSteS2InputSize.Get(ste[2])),
                      AddressBits(kSteS2AddressSize.Get(ste[2])));
  if ((ste[2] & kSteS2Stall) != 0) absl::StrAppend(&text, ", faults stall");
  if ((ste[2] & kSteS2RecordFaults) == 0) absl::StrAppend(&text, ", faults not recorded");
  if ((ste[1] & kSteS2ForceWriteBack) != 0) absl::StrAppend(&text, ", forced write-back");
  return text;
}

const char* DescribeAts(const Ste& ste) {
  switch (AtsTreatmentOf(ste)) {
    case AtsTreatment::kAbort:
      return "";
    case AtsTreatment::kTranslate:
      return ", ATS";
    case AtsTreatment::kSplitStage:
      return ", split-stage ATS";
  }
  return ", reserved ATS";
}

}  // namespace

Ste MakeAbortSte() { return {ConfigWord(SteConfig::kAbort)}; }

Ste MakeBypassSte(const BypassFields& fields) {
  return {ConfigWord(SteConfig::kBypass), IncomingShareability(fields.attribute_overrides)};
}

Ste MakeCdTableSte(const CdTableFields& fields) {
  const bool bypass = fields.without_ssid == DefaultSubstream::kBypass;
  return {ConfigWord(SteConfig::kStage1) | kSteS1Format.Put(static_cast<uint64_t>(fields.format)) |
              (fields.table.value & kSteCdTableMask) |
              kSteS1CdMax.Put(static_cast<uint64_t>(fields.cds_log2)),
          kSteS1Default.Put(static_cast<uint64_t>(fields.without_ssid)) |
              kSteS1InnerCache.Put(kWriteBackAllocate) | kSteS1OuterCache.Put(kWriteBackAllocate) |
              kSteS1Shareability.Put(kInnerShareable) | Eats(fields.ats) |
              (fields.stall_disable ? kSteS1StallDisable : 0) |
              IncomingShareability(bypass && fields.attribute_overrides)};
}

Ste MakeStage2Ste(const Stage2Fields& fields) {
  return {ConfigWord(SteConfig::kStage2),
          Eats(fields.ats) | (fields.force_write_back ? kSteS2ForceWriteBack : 0) |
              IncomingShareability(fields.attribute_overrides),
          kSteVmid.Put(fields.vmid) | TableControl(fields) | kSteS2Aarch64 | kSteS2ProtectWalks |
              (fields.stall ? kSteS2Stall : 0) | kSteS2RecordFaults,
          fields.root.value & kSteS2TableMask};
}

Ste MakeNestedSte(const Stage2Fields& parent, const GuestSteWords& guest) {
  Ste ste = MakeStage2Ste(parent);
  ste[0] = ConfigWord(SteConfig::kNested) | (guest[0] & kSteStage1Fields[0]);
  ste[1] |= (guest[1] & kSteStage1Fields[1]) | kSteMergeEvents;
  return ste;
}

Ste SteArchitecture::UsedBits(const Ste& entry) {
  Ste used = {kSteValid};
  if (!IsValid(entry)) return used;
  used[0] |= kSteConfig.mask();
  used[1] |= kStePageResponsePasid;
  // By the bit of each stage, whatever bit 2 says: of a reserved code rather too much.
  const uint64_t stages = kSteConfig.Get(entry[0]);
  if ((stages & 1) != 0) {
    used[0] |= kSteStage1Fields[0];
    used[1] |= kSteStage1Fields[1] | kSteStreamWorld.mask() | kSteEats.mask() | kSteMergeEvents;
    if (DefaultSubstreamOf(entry) == DefaultSubstream::kBypass) {
      used[1] |= kSteShareabilityConfig.mask();
    }
    used[2] |= kSteVmid.mask();
  }
  if ((stages & 2) != 0) {
    used[1] |=
        kSteS2ForceWriteBack | kSteEats.mask() | kSteShareabilityConfig.mask() | kSteMergeEvents;
    used[2] |= kSteVmid.mask() | kSteS2TableControl | kSteS2Aarch64 | kSteS2BigEndian |
               kSteS2ProtectWalks | kSteS2Stall | kSteS2RecordFaults;
    used[3] |= kSteS2TableMask;
  }
  if (ConfigOf(entry) == SteConfig::kBypass) used[1] |= kSteShareabilityConfig.mask();
  return used;
}

Ste SteArchitecture::SafeBits(const Ste& current, const Ste& target) {
  constexpr uint64_t kSplitStage = kSteEats.Put(static_cast<uint64_t>(AtsTreatment::kSplitStage));
  Ste safe = {};
  safe[1] = kSteMergeEvents;
  const bool split_stage = ((current[1] | target[1]) & kSplitStage) != 0;
  const bool stall = ((current[2] | target[2]) & kSteS2Stall) != 0;
  if (!split_stage && !stall) safe[1] |= Eats(true);
  return safe;
}

uint64_t MakeStreamL1Descriptor(PhysAddr table) {
  return kStreamL1Span.Put(kStreamTableSplit + 1) | (table.value & kStreamL1TableMask);
}

std::string DescribeSte(const Ste& ste) {
  if (!IsValid(ste)) return "not valid";
  const SteConfig config = ConfigOf(ste);
  std::string text = absl::StrCat("valid, ", NameOf(config));
  if (HasStage1(config)) absl::StrAppend(&text, DescribeStage1(ste));
  if (HasStage2(config)) absl::StrAppend(&text, DescribeStage2(ste));
  if (HasStage1(config) || HasStage2(config)) {
    absl::StrAppend(&text, DescribeAts(ste));
    if ((ste[1] & kSteMergeEvents) != 0) absl::StrAppend(&text, ", events merged");
  }
  if ((ste[1] & kStePageResponsePasid) != 0) absl::StrAppend(&text, ", page responses with PASID");
  return text;
}

std::string DescribeStreamL1Descriptor(uint64_t descriptor) {
  if (kStreamL1Span.Get(descriptor) == 0) return "not valid";
  const size_t entries = StreamL1EntriesOf(descriptor);
  if (entries == 0) return absl::StrCat("reserved span ", kStreamL1Span.Get(descriptor));
  return absl::StrFormat("valid, %d entries at 0x%x", entries, StreamL1TableOf(descriptor).value);
}

}  // namespace viommu::smmu
