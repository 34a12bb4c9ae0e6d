#include "engine/entries/smmu_named_fields.h"

#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "engine/entries/smmu_fields.h"

namespace viommu::smmu {
namespace {

enum class Shown : uint8_t { kNumber, kHex, kAddress };  // An address where it would lie as one.

struct NamedField {
  const char* name;
  size_t word;
  int last;
  int first;
  Shown shown = Shown::kNumber;
};

constexpr NamedField kSteFields[] = {
    {"V", 0, 0, 0},
    {"Config", 0, 3, 1},
    {"S1Fmt", 0, 5, 4},
    {"S1ContextPtr", 0, 55, 6, Shown::kAddress},
    {"S1CDMax", 0, 63, 59},
    {"S1DSS", 1, 1, 0},
    {"S1CIR", 1, 3, 2},
    {"S1COR", 1, 5, 4},
    {"S1CSH", 1, 7, 6},
    {"DRE", 1, 12, 12},
    {"CONT", 1, 16, 13},
    {"DCP", 1, 17, 17},
    {"PPAR", 1, 18, 18},
    {"MEV", 1, 19, 19},
    {"S2FWB", 1, 25, 25},
    {"S1MPAM", 1, 26, 26},
    {"S1STALLD", 1, 27, 27},
    {"EATS", 1, 29, 28},
    {"STRW", 1, 31, 30},
    {"MemAttr", 1, 35, 32},
    {"MTCFG", 1, 36, 36},
    {"ALLOCCFG", 1, 40, 37},
    {"SHCFG", 1, 45, 44},
    {"NSCFG", 1, 47, 46},
    {"PRIVCFG", 1, 49, 48},
    {"INSTCFG", 1, 51, 50},
    {"S2VMID", 2, 15, 0},
    {"S2T0SZ", 2, 37, 32},
    {"S2SL0", 2, 39, 38},
    {"S2IR0", 2, 41, 40},
    {"S2OR0", 2, 43, 42},
    {"S2SH0", 2, 45, 44},
    {"S2TG", 2, 47, 46},
    {"S2PS", 2, 50, 48},
    {"S2AA64", 2, 51, 51},
    {"S2ENDI", 2, 52, 52},
    {"S2AFFD", 2, 53, 53},
    {"S2PTW", 2, 54, 54},
    {"S2HD", 2, 55, 55},
    {"S2HA", 2, 56, 56},
    {"S2S", 2, 57, 57},
    {"S2R", 2, 58, 58},
    {"S2TTB", 3, 55, 4, Shown::kAddress},
};

constexpr NamedField kCdFields[] = {
    {"T0SZ", 0, 5, 0},
    {"TG0", 0, 7, 6},
    {"IR0", 0, 9, 8},
    {"OR0", 0, 11, 10},
    {"SH0", 0, 13, 12},
    {"EPD0", 0, 14, 14},
    {"ENDI", 0, 15, 15},
    {"T1SZ", 0, 21, 16},
    {"TG1", 0, 23, 22},
    {"IR1", 0, 25, 24},
    {"OR1", 0, 27, 26},
    {"SH1", 0, 29, 28},
    {"EPD1", 0, 30, 30},
    {"V", 0, 31, 31},
    {"IPS", 0, 34, 32},
    {"AFFD", 0, 35, 35},
    {"WXN", 0, 36, 36},
    {"UWXN", 0, 37, 37},
    {"TBI0", 0, 38, 38},
    {"TBI1", 0, 39, 39},
    {"PAN", 0, 40, 40},
    {"AA64", 0, 41, 41},
    {"HD", 0, 42, 42},
    {"HA", 0, 43, 43},
    {"S", 0, 44, 44},
    {"R", 0, 45, 45},
    {"A", 0, 46, 46},
    {"ASET", 0, 47, 47},
    {"ASID", 0, 63, 48},
    {"NSCFG0", 1, 0, 0},
    {"HAD0", 1, 1, 1},
    {"TTB0", 1, 55, 4, Shown::kAddress},
    {"NSCFG1", 2, 0, 0},
    {"HAD1", 2, 1, 1},
    {"TTB1", 2, 55, 4, Shown::kAddress},
    {"MAIR0", 3, 31, 0, Shown::kHex},
    {"MAIR1", 3, 63, 32, Shown::kHex},
    {"AMAIR0", 4, 31, 0, Shown::kHex},
    {"AMAIR1", 4, 63, 32, Shown::kHex},
};

constexpr NamedField kStreamL1Fields[] = {{"Span", 0, 4, 0}, {"L2Ptr", 0, 55, 6, Shown::kAddress}};
constexpr NamedField kCdL1Fields[] = {{"V", 0, 0, 0}, {"L2Ptr", 0, 55, 12, Shown::kAddress}};

constexpr NamedField kStage1Leaf[] = {
    {"AttrIndx", 0, 4, 2}, {"NS", 0, 5, 5},    {"AP[2:1]", 0, 7, 6}, {"SH", 0, 9, 8},
    {"AF", 0, 10, 10},     {"nG", 0, 11, 11},  {"DBM", 0, 51, 51},   {"Contiguous", 0, 52, 52},
    {"PXN", 0, 53, 53},    {"UXN", 0, 54, 54},
};
constexpr NamedField kStage1Table[] = {{"PXNTable", 0, 59, 59},
                                       {"UXNTable", 0, 60, 60},
                                       {"APTable", 0, 62, 61},
                                       {"NSTable", 0, 63, 63}};
constexpr NamedField kStage2Leaf[] = {
    {"MemAttr", 0, 5, 2}, {"S2AP", 0, 7, 6},         {"SH", 0, 9, 8},   {"AF", 0, 10, 10},
    {"DBM", 0, 51, 51},   {"Contiguous", 0, 52, 52}, {"XN", 0, 54, 53},
};

std::string Name(absl::Span<const NamedField> fields, absl::Span<const uint64_t> words) {
  std::string text;
  for (const NamedField& field : fields) {
    const uint64_t bits = words[field.word] & Bits(field.last, field.first);
    if (bits == 0) continue;
    absl::StrAppend(&text, text.empty() ? "" : " ", field.name, "=");
    const uint64_t value = field.shown == Shown::kAddress ? bits : bits >> field.first;
    if (field.shown == Shown::kNumber) {
      absl::StrAppend(&text, value);
    } else {
      absl::StrAppendFormat(&text, "0x%x", value);
    }
  }
  return text;
}

}  // namespace

std::string NameSteFields(const Ste& ste) { return Name(kSteFields, ste); }

std::string NameCdFields(const Cd& cd) { return Name(kCdFields, cd); }

std::string NameStreamL1Fields(uint64_t descriptor) { return Name(kStreamL1Fields, {descriptor}); }

std::string NameCdL1Fields(uint64_t descriptor) { return Name(kCdL1Fields, {descriptor}); }

std::string NameStage1Fields(uint64_t descriptor, bool leaf) {
  return leaf ? Name(kStage1Leaf, {descriptor}) : Name(kStage1Table, {descriptor});
}

std::string NameStage2Fields(uint64_t descriptor, bool leaf) {
  return leaf ? Name(kStage2Leaf, {descriptor}) : "";
}

}  // namespace viommu::smmu
