#include "absl/strings/str_format.h"
#include "engine/base/address.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/entries/smmu_guest.h"

namespace viommu::smmu {
namespace {

constexpr GuestSteWords kAllowed = {kSteValid | kSteConfig.mask() | kSteStage1Fields[0],
                                    kSteStage1Fields[1] | kSteEats.mask()};

absl::Status Refusal(const char* reason, const std::string& message, int word, uint64_t value) {
  return Error(absl::StatusCode::kInvalidArgument, reason, message)
      .Errno("EIO")
      .Field(absl::StrFormat("ste[%d]", word))
      .Meta("value", Hex(value));
}

// The first of the host's fields of word 1 among `bits`.
const char* FieldOfWord1(uint64_t bits) {
  if ((bits & kSteMergeEvents) != 0) return "MEV";
  if ((bits & kSteS2ForceWriteBack) != 0) return "S2FWB";
  if ((bits & kSteStreamWorld.mask()) != 0) return "STRW";
  if ((bits & kSteShareabilityConfig.mask()) != 0) return "SHCFG";
  return "bits of no field of the guest's";
}

absl::Status CheckBits(const GuestSteWords& words) {
  for (int word = 0; word < 2; ++word) {
    const uint64_t excess = words[word] & ~kAllowed[word];
    if (excess == 0) continue;
    return Refusal("VSTE_FIELD_NOT_ALLOWED",
                   absl::StrFormat("word %d of the guest's entry sets %s: 0x%x", word,
                                   word == 0 ? "reserved bits" : FieldOfWord1(excess), excess),
                   word, excess);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GuestSte> ValidateVste(const GuestSteWords& words) {
  if ((words[0] & kSteValid) == 0) return GuestSte();
  RETURN_IF_ERROR(CheckBits(words));
  const auto config = SteConfig(kSteConfig.Get(words[0]));
  if (config != SteConfig::kAbort && config != SteConfig::kBypass && config != SteConfig::kStage1) {
    const uint64_t code = kSteConfig.Get(words[0]);
    return Refusal(
        "VSTE_CONFIG_NOT_ALLOWED",
        absl::StrFormat("Config %d is neither abort (0) nor bypass (4) nor stage 1 (5)", code), 0,
        code);
  }
  const auto eats = AtsTreatment(kSteEats.Get(words[1]));
  if (eats != AtsTreatment::kAbort && eats != AtsTreatment::kTranslate) {
    const uint64_t code = kSteEats.Get(words[1]);
    return Refusal("VSTE_EATS_NOT_ALLOWED",
                   absl::StrFormat("EATS %d is neither abort (0) nor full ATS (1)", code), 1, code);
  }
  if (config == SteConfig::kAbort) return GuestSte();
  const uint64_t head = words[0] & (kSteValid | kSteConfig.mask());
  if (config == SteConfig::kBypass) return GuestSte{GuestSteKind::kBypass, {head, 0}, false};
  return GuestSte{GuestSteKind::kTranslate,
                  {head | (words[0] & kSteStage1Fields[0]), words[1] & kSteStage1Fields[1]},
                  eats == AtsTreatment::kTranslate};
}

Ste MakeGuestSte(const GuestSte& guest, const Stage2Fields& parent) {
  switch (guest.kind) {
    case GuestSteKind::kTranslate:
      return MakeNestedSte(parent, guest.words);
    case GuestSteKind::kBypass:
      return MakeStage2Ste(parent);
    case GuestSteKind::kAbort:
      break;
  }
  return MakeAbortSte();
}

}  // namespace viommu::smmu
