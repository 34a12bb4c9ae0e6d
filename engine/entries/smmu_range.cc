#include "engine/entries/smmu_range.h"

#include <algorithm>

#include "absl/numeric/bits.h"

namespace viommu::smmu {
namespace {

constexpr int kNumBits = 5;
constexpr int kMaxScale = 31;  // Without IDR5.DS.
// What the largest num and scale reach together; so much is not worth a range.
constexpr uint64_t kMaxGranules = uint64_t{1} << (kNumBits + kMaxScale);

// The level of leaves of this size, 3 for pages: each table holds 2^(granule - 3) entries.
uint8_t LevelOf(int leaf_log2, Granule granule) {
  return static_cast<uint8_t>(4 - (leaf_log2 - 3) / (Log2(granule) - 3));
}

// Without ranges: as many commands as a table has entries, or more than the bound.
uint64_t TooManySteps(Granule granule) {
  return std::min(uint64_t{1} << (Log2(granule) - 3), uint64_t{kMaxRangeCommands} + 1);
}

}  // namespace

RangeInvalidation::RangeInvalidation(const TlbScope& scope, const TlbRange& range,
                                     bool range_commands)
    : scope_(scope),
      granule_(range.granule),
      leaf_only_(range.leaf_only),
      range_commands_(range_commands),
      step_log2_(range_commands || range.leaf_log2 == 0 ? Log2(range.granule) : range.leaf_log2),
      address_(range.range.first >> step_log2_ << step_log2_),
      steps_left_((range.range.last >> step_log2_) - (range.range.first >> step_log2_) + 1) {
  if (range_commands && range.leaf_only && range.leaf_log2 != 0) {
    ttl_ = LevelOf(range.leaf_log2, range.granule);
  }
  whole_ = steps_left_ >= (range_commands ? kMaxGranules : TooManySteps(range.granule));
  if (whole_) steps_left_ = 1;
}

absl::optional<Command> RangeInvalidation::Next() {
  if (steps_left_ == 0) return absl::nullopt;
  if (whole_) {
    steps_left_ = 0;
    return Whole();
  }
  return At(NextChunk());
}

Command RangeInvalidation::Whole() const {
  return scope_.stage == TlbScope::Stage::kStage1 ? InvalidateAsid(scope_.tag)
                                                  : InvalidateVmid(scope_.tag.vmid);
}

Command RangeInvalidation::At(const TlbiAddress& where) const {
  return scope_.stage == TlbScope::Stage::kStage1 ? InvalidateVa(scope_.tag, where)
                                                  : InvalidateIpa(scope_.tag.vmid, where);
}

TlbiAddress RangeInvalidation::NextChunk() {
  TlbiAddress where;
  where.address = address_;
  where.leaf_only = leaf_only_;
  uint64_t steps = 1;
  if (range_commands_) {
    const int scale = std::min(absl::countr_zero(steps_left_), kMaxScale);
    const uint64_t chunks = steps_left_ >> scale & ((uint64_t{1} << kNumBits) - 1);
    steps = chunks << scale;
    // One granule at any level is no range: num, scale and ttl 0 are reserved together (IHI 0070
    // 4.4.1.1). The command without a range says the same.
    if (steps > 1 || ttl_ != 0) {
      where.num = static_cast<uint8_t>(chunks - 1);
      where.scale = static_cast<uint8_t>(scale);
      where.tg = static_cast<uint8_t>(RangeGranuleCode(granule_));
      where.ttl = ttl_;
    }
  }
  address_ += steps << step_log2_;
  steps_left_ -= steps;
  return where;
}

}  // namespace viommu::smmu
