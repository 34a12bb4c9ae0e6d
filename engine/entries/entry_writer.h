// engine/entries/entry_writer.h -- Changes one table entry that a device may be reading (rule R3).
//
// An entry is wider than what the processor can store at once, so between two stores the hardware
// sees a mixture. The plan orders the stores such that each mixture means to the hardware exactly
// the old entry or exactly the new one ("hitless"); where the architecture allows no such order,
// the entry is blocked first and the new one appears with its last store. Nothing else is ever
// visible: never a torn entry, never identity on the way.
//
// The method follows SMMUv3's "used bits" (iommufd-semantics.md 17.4, 17.5; kernel:
// arm_smmu_write_entry), with the architecture's atomic unit in place of the 64-bit word:
// bits that the old entry does not use can be set beforehand, bits that the new one does not use
// can be cleaned up afterwards; if all that remains lies in one unit, a single store commits it.
//
// An Architecture is a struct with
//   static constexpr size_t kWords;      // 64-bit words of an entry.
//   static constexpr size_t kUnitWords;  // Words of an atomic unit: 1 or 2.
//   using Entry = std::array<uint64_t, kWords>;
//   static Entry UsedBits(const Entry& entry);  // What the hardware looks at, given this entry.
//   // Bits used by both that may change at any moment: either value is right meanwhile.
//   static Entry SafeBits(const Entry& current, const Entry& target);
//   // An entry whose unit 0 blocks every request, whatever the other units hold.
//   static Entry Blocked();
#ifndef VIOMMU_ENGINE_ENTRIES_ENTRY_WRITER_H_
#define VIOMMU_ENGINE_ENTRIES_ENTRY_WRITER_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "engine/base/status_macros.h"

namespace viommu {

// The stores of one change, in order. Plain value, never allocates: a change to BLOCKED cannot
// fail for lack of memory (R1).
template <typename Architecture>
class EntryPlan {
 public:
  static constexpr size_t kUnits = Architecture::kWords / Architecture::kUnitWords;
  static_assert(Architecture::kWords % Architecture::kUnitWords == 0);
  static_assert(Architecture::kUnitWords == 1 || Architecture::kUnitWords == 2);

  struct Step {
    size_t unit = 0;
    std::array<uint64_t, Architecture::kUnitWords> words = {};
    // The hardware's copies of the entry must go before the next step.
    bool flush_after = false;
  };

  const Step* begin() const { return steps_.data(); }
  const Step* end() const { return steps_.data() + size_; }
  size_t size() const { return size_; }

  // Every state on the way equals the old or the new entry for the hardware.
  bool hitless() const { return hitless_; }

 private:
  template <typename A>
  friend EntryPlan<A> PlanEntry(const typename A::Entry&, const typename A::Entry&);

  // Moves `state` to `to` in unit `unit`, when they differ there.
  void Change(size_t unit, const typename Architecture::Entry& to,
              typename Architecture::Entry* state) {
    Step step;
    step.unit = unit;
    bool differs = false;
    for (size_t i = 0; i < Architecture::kUnitWords; ++i) {
      const size_t word = unit * Architecture::kUnitWords + i;
      step.words[i] = to[word];
      differs |= (*state)[word] != to[word];
      (*state)[word] = to[word];
    }
    if (differs) steps_[size_++] = step;
  }

  // Ends a phase that began when the plan had `from` steps.
  void FlushSince(size_t from) {
    if (size_ > from) steps_[size_ - 1].flush_after = true;
  }

  std::array<Step, 2 * kUnits> steps_ = {};
  size_t size_ = 0;
  bool hitless_ = true;
};

// Pure. Plans the way from `current` to `target`. `target` sets only bits that it uses.
template <typename Architecture>
EntryPlan<Architecture> PlanEntry(const typename Architecture::Entry& current,
                                  const typename Architecture::Entry& target) {
  using Plan = EntryPlan<Architecture>;
  const auto current_used = Architecture::UsedBits(current);
  const auto target_used = Architecture::UsedBits(target);
  const auto safe = Architecture::SafeBits(current, target);

  // As far towards the target as the hardware, which reads `current`, can not tell.
  typename Architecture::Entry prepared = {};
  size_t critical_units = 0;
  size_t critical = 0;
  for (size_t word = 0; word < Architecture::kWords; ++word) {
    const uint64_t keep =
        current_used[word] & ~(safe[word] & current_used[word] & target_used[word]);
    prepared[word] = (current[word] & keep) | (target[word] & ~keep);
    if ((prepared[word] & target_used[word]) == target[word]) continue;
    const size_t unit = word / Architecture::kUnitWords;
    if (critical_units == 0 || critical != unit) ++critical_units;
    critical = unit;
  }

  Plan plan;
  auto state = current;
  // Runs one phase: the units for which `in_phase` holds go to `to`, then the caches are flushed.
  const auto phase = [&](const typename Architecture::Entry& to, auto in_phase) {
    const size_t from = plan.size();
    for (size_t unit = 0; unit < Plan::kUnits; ++unit) {
      if (in_phase(unit)) plan.Change(unit, to, &state);
    }
    plan.FlushSince(from);
  };
  const auto all = [](size_t) { return true; };
  if (critical_units == 1) {
    phase(prepared, [&](size_t unit) { return unit != critical; });
    phase(target, [&](size_t unit) { return unit == critical; });
  } else if (critical_units > 1) {
    plan.hitless_ = false;
    phase(Architecture::Blocked(), [](size_t unit) { return unit == 0; });
    phase(target, [](size_t unit) { return unit != 0; });
  }
  phase(target, all);
  return plan;
}

// Stores `plan` into the entry at `words`, calling `flush` where the plan asks for it. The caller
// is the entry's only writer.
// As `flush`: it failed; what was planned after it is not stored.
template <typename Architecture, typename Store>
absl::Status WriteEntry(const EntryPlan<Architecture>& plan, uint64_t* words, const Store& store,
                        absl::FunctionRef<absl::Status()> flush) {
  for (const auto& step : plan) {
    uint64_t* unit = words + step.unit * Architecture::kUnitWords;
    if constexpr (Architecture::kUnitWords == 1) {
      store.Store64(unit, step.words[0]);
    } else {
      store.Store128(unit, step.words[0], step.words[1]);
    }
    if (step.flush_after) RETURN_IF_ERROR(flush());
  }
  return absl::OkStatus();
}

}  // namespace viommu

#endif  // VIOMMU_ENGINE_ENTRIES_ENTRY_WRITER_H_
