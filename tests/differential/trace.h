// tests/differential/trace.h -- Running traces, and making a failing one as short as it can be.
#ifndef VIOMMU_TESTS_DIFFERENTIAL_TRACE_H_
#define VIOMMU_TESTS_DIFFERENTIAL_TRACE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/differential/step.h"
#include "tests/differential/world.h"

namespace viommu::differential {

// Where both sides went apart.
struct Difference {
  size_t steps = 0;  // That were taken, the last of them showed it.
  std::string what;
};

struct Tally {
  uint64_t steps = 0;
  uint64_t done = 0;
  uint64_t refused = 0;
  std::map<std::string, uint64_t> reasons;  // How often each was given.
  std::map<std::string, uint64_t> verbs;    // How often each was done.

  void Add(const World& world);
};

// Invents and takes up to `steps` steps in a new world; they are left in `trace`. nullopt: both
// sides agreed to the end.
std::optional<Difference> RunEpisode(const Setting& setting, uint64_t seed, size_t steps,
                                     std::vector<Step>* trace, Tally* tally);

// Takes the steps in a new world, and compares everything behind the last.
std::optional<Difference> Replay(const Setting& setting, const std::vector<Step>& trace);

// A part of a failing trace that still fails, in which no step can be left out (delta debugging).
std::vector<Step> Shrink(const Setting& setting, std::vector<Step> trace);

// What a person reads, and what Parse takes: the setting, then a line for each step.
std::string ToText(const Setting& setting, const std::vector<Step>& trace);
struct Script {
  Setting setting;
  std::vector<Step> trace;
};
// Lines that are empty or begin with '#' say nothing. kInvalidArgument: the first line that is
// none.
absl::StatusOr<Script> Parse(const std::string& text);

// The shrunk trace as text, with what went apart, in words.
std::string Explain(Setting setting, const std::vector<Step>& trace);

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_TRACE_H_
