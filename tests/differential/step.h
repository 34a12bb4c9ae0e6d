// tests/differential/step.h -- One operation of a trace, and its line of text.
//
// A line is what a person reads and what is replayed:
//   alice map ioas=as1 region=r0 chosen=0x0 iova=0x1000 offset=0x0 length=0x2000 permission=0x3
// Behind the caller may stand `validate_only`, `late` (its deadline has passed) and `request=7`.
#ifndef VIOMMU_TESTS_DIFFERENTIAL_STEP_H_
#define VIOMMU_TESTS_DIFFERENTIAL_STEP_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace viommu::differential {

// What an argument names; it decides how the number is written.
enum class Sort {
  kNumber,
  kRegion,
  kIoas,
  kDomain,
  kDevice,
  kFaultQueue,
  kViommu,
  // What belongs to a Viommu, which is named beside it.
  kVdevice,
  kEventQueue,
};

struct Parameter {
  const char* name;
  Sort sort = Sort::kNumber;
};

// A verb's parameters; `entry` is repeated for each entry of a batch.
struct Syntax {
  const char* name;
  std::vector<Parameter> fixed;
  std::vector<Parameter> entry;
};

enum class Caller : uint8_t { kAlice, kBob, kRoot };  // Root is the operator.
inline constexpr int kCallers = 3;
const char* PrincipalOf(Caller caller);

// An object as an argument: `owner` is 0 (unsaid) or 1 + the Caller whose object is meant.
struct Naming {
  uint64_t owner = 0;
  uint64_t id = 0;

  static Naming Of(uint64_t argument) { return {argument >> 16, argument & 0xffff}; }
  uint64_t argument() const { return owner << 16 | id; }
};
// Ids that are no numbers.
inline constexpr uint64_t kIdentityId = 0x1000;
inline constexpr uint64_t kBlockedId = 0x1001;
inline constexpr uint64_t kMadeUpId = 0x1002;  // The engine is to make one up.
inline constexpr uint64_t kLatestId = 0x1003;  // The one that it made up last.

// "as1", "identity"; `latest` stands for kLatestId, nothing for kMadeUpId.
std::string IdOf(uint64_t id, Sort sort, absl::string_view latest);

struct Step {
  const Syntax* syntax = nullptr;
  Caller caller = Caller::kAlice;
  bool validate_only = false;
  bool late = false;
  uint32_t request = 0;  // Number of its request_id; 0: it has none.
  std::vector<uint64_t> arguments;

  size_t entries() const;
  // The argument of the parameter at `position` of the entry.
  uint64_t OfEntry(size_t entry, size_t position) const;
};

std::string ToLine(const Step& step);
// What the request is, whoever asks for it and under whatever request_id.
std::string Digest(const Step& step);
// nullopt: not a line of ToLine.
std::optional<Step> ParseLine(absl::string_view line, absl::Span<const Syntax* const> verbs);

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_STEP_H_
