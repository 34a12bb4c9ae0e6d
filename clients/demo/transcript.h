// clients/demo/transcript.h -- What the user reads: each step with its result and time, in columns.
#ifndef VIOMMU_CLIENTS_DEMO_TRANSCRIPT_H_
#define VIOMMU_CLIENTS_DEMO_TRANSCRIPT_H_

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace viommu {

// "1 GiB", "12 KiB", "100 B": in the largest unit that divides it.
std::string FormatBytes(uint64_t bytes);

// "17.2 ms"; of one width up to an hour or so.
std::string FormatMilliseconds(absl::Duration duration);

// Thread-compatible.
class Transcript {
 public:
  // What a step has to tell; each line after the first is printed below it.
  using Body = std::function<absl::StatusOr<std::string>()>;

  // Writes to `out`, which outlives it.
  Transcript(std::ostream* out, bool colours) : out_(*out), colours_(colours) {}

  // Runs a step and prints what came of it. False: it went wrong.
  bool Step(absl::string_view name, const Body& body);

  int steps() const { return steps_; }
  // Of the step that went wrong; empty while there is none.
  const std::string& failed_step() const { return failed_step_; }

 private:
  void Print(absl::string_view name, const absl::StatusOr<std::string>& told, absl::Duration took);

  std::ostream& out_;
  const bool colours_;
  int steps_ = 0;
  std::string failed_step_;
};

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEMO_TRANSCRIPT_H_
