// engine/entries/entry_plan_testing.h -- For tests: what a plan of 64-bit stores does, beside the
// algorithm as iommufd-semantics.md 17.5 words it.
#ifndef VIOMMU_ENGINE_ENTRIES_ENTRY_PLAN_TESTING_H_
#define VIOMMU_ENGINE_ENTRIES_ENTRY_PLAN_TESTING_H_

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "engine/entries/entry_writer.h"
#include "gtest/gtest.h"

namespace viommu {

// A way from one entry to another: the words stored before each sync, as "{1,2} {0}", and the entry
// after each sync.
template <typename A>
struct EntryWay {
  std::string phases;
  std::vector<typename A::Entry> states;
  bool hitless = true;

  // As KUnit counts: no entry on the way has a word 0 of zero.
  bool NeverZero() const {
    for (const auto& state : states) {
      if (state[0] == 0) return false;
    }
    return true;
  }

  void Close(const std::set<size_t>& words, const typename A::Entry& state) {
    if (words.empty()) return;
    phases += phases.empty() ? "{" : " {";
    for (const size_t word : words) {
      if (phases.back() != '{') phases += ",";
      phases += std::to_string(word);
    }
    phases += "}";
    states.push_back(state);
  }
};

// The way that the writer plans.
template <typename A>
EntryWay<A> PlannedWay(const typename A::Entry& from, const typename A::Entry& to) {
  static_assert(A::kUnitWords == 1);
  const auto plan = PlanEntry<A>(from, to);
  EntryWay<A> way;
  way.hitless = plan.hitless();
  auto state = from;
  std::set<size_t> words;
  for (const auto& step : plan) {
    EXPECT_NE(state[step.unit], step.words[0]) << "a store that changes nothing";
    state[step.unit] = step.words[0];
    words.insert(step.unit);
    if (!step.flush_after) continue;
    way.Close(words, state);
    words.clear();
  }
  EXPECT_TRUE(words.empty()) << "the last stores are not followed by a sync";
  return way;
}

// The way of section 17.5, written down again.
template <typename A>
EntryWay<A> WordedWay(const typename A::Entry& from, const typename A::Entry& to) {
  using Entry = typename A::Entry;
  const Entry cur_used = A::UsedBits(from), tgt_used = A::UsedBits(to);
  Entry safe = A::SafeBits(from, to), intermediate = {};
  std::vector<size_t> diff;
  for (size_t i = 0; i < A::kWords; ++i) {
    safe[i] &= tgt_used[i] & cur_used[i];
    const uint64_t keep = cur_used[i] & ~safe[i];
    intermediate[i] = (from[i] & keep) | (to[i] & ~keep);
    if ((intermediate[i] & tgt_used[i]) != to[i]) diff.push_back(i);
  }
  EntryWay<A> way;
  Entry state = from;
  const auto write = [&](const Entry& list) {
    std::set<size_t> words;
    for (size_t i = 0; i < A::kWords; ++i) {
      if (state[i] != list[i]) words.insert(i);
    }
    state = list;
    way.Close(words, state);
  };
  Entry list;
  if (diff.size() == 1) {
    list = intermediate;
    list[diff[0]] = state[diff[0]];
    write(list);
    list = state;
    list[diff[0]] = to[diff[0]];
    write(list);
  } else if (diff.size() > 1) {
    way.hitless = false;
    list = state;
    list[0] = 0;
    write(list);
    list = to;
    list[0] = 0;
    write(list);
  }
  write(to);
  return way;
}

// What the hardware makes of `entry` on the way between the two others: its used bits, without
// those that may change at any moment.
template <typename A>
typename A::Entry MeaningOf(const typename A::Entry& entry, const typename A::Entry& from,
                            const typename A::Entry& to) {
  auto meaning = A::UsedBits(entry);
  const auto safe = A::SafeBits(from, to);
  for (size_t i = 0; i < A::kWords; ++i) meaning[i] &= entry[i] & ~safe[i];
  return meaning;
}

// For every ordered pair of `entries`: the plan takes the way of 17.5, ends at the target, and
// whatever mixture of words the hardware holds between two syncs means the old entry, the new one,
// or - never on a hitless way between entries that block nothing - `blocked`, an entry that is not
// valid. Says how many ways are hitless.
template <typename A, typename IsValid>
size_t CheckEveryWay(const std::vector<typename A::Entry>& entries, const IsValid& is_valid) {
  using Entry = typename A::Entry;
  size_t hitless = 0;
  for (size_t f = 0; f < entries.size(); ++f) {
    for (size_t t = 0; t < entries.size(); ++t) {
      SCOPED_TRACE("from " + std::to_string(f) + " to " + std::to_string(t));
      const Entry &from = entries[f], &to = entries[t];
      const auto planned = PlannedWay<A>(from, to), worded = WordedWay<A>(from, to);
      EXPECT_EQ(planned.phases, worded.phases);
      EXPECT_EQ(planned.states, worded.states);
      EXPECT_EQ(planned.hitless, worded.hitless);
      EXPECT_LE(planned.states.size(), 3u);
      EXPECT_EQ(planned.states.empty() ? from : planned.states.back(), to);
      hitless += planned.hitless;
      Entry before = from;
      for (const Entry& after : planned.states) {
        std::vector<size_t> changed;
        for (size_t i = 0; i < A::kWords; ++i) {
          if (before[i] != after[i]) changed.push_back(i);
        }
        for (size_t choice = 0; choice < size_t{1} << changed.size(); ++choice) {
          Entry mixture = before;
          for (size_t i = 0; i < changed.size(); ++i) {
            if ((choice >> i & 1) != 0) mixture[changed[i]] = after[changed[i]];
          }
          const Entry seen = MeaningOf<A>(mixture, from, to);
          const bool old_or_new =
              seen == MeaningOf<A>(from, from, to) || seen == MeaningOf<A>(to, from, to);
          if (planned.hitless) {
            EXPECT_TRUE(old_or_new) << planned.phases;
            EXPECT_TRUE(is_valid(mixture) || !is_valid(from) || !is_valid(to)) << planned.phases;
          } else {
            EXPECT_TRUE(old_or_new || !is_valid(mixture)) << planned.phases;
          }
        }
        before = after;
      }
      if (testing::Test::HasFailure()) return hitless;
    }
  }
  return hitless;
}

}  // namespace viommu

#endif  // VIOMMU_ENGINE_ENTRIES_ENTRY_PLAN_TESTING_H_
