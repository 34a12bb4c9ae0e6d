#include "clients/demo/transcript.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "clients/client/call_error.h"

namespace viommu {
namespace {

constexpr int kNameColumns = 38;
// What stands before a step's result: number, name, verdict, time, and the gaps between them.
constexpr int kIndentColumns = 4 + kNameColumns + 6 + 12 + 2;

// "IN_USE: what the server said", without the reason when there is none.
std::string WhatWentWrong(const absl::Status& status) {
  const std::string reason = ReasonOf(status);
  return absl::StrCat(reason, reason.empty() ? "" : ": ", status.message());
}

}  // namespace

std::string FormatBytes(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (bytes != 0 && bytes % 1024 == 0 && unit + 1 < std::size(kUnits)) {
    bytes /= 1024;
    ++unit;
  }
  return absl::StrCat(bytes, " ", kUnits[unit]);
}

std::string FormatMilliseconds(absl::Duration duration) {
  return absl::StrFormat("%9.2f ms", absl::ToDoubleMilliseconds(duration));
}

bool Transcript::Step(absl::string_view name, const Body& body) {
  ++steps_;
  const absl::Time start = absl::Now();
  const absl::StatusOr<std::string> told = body();
  Print(name, told, absl::Now() - start);
  if (!told.ok()) failed_step_ = std::string(name);
  return told.ok();
}

void Transcript::Print(absl::string_view name, const absl::StatusOr<std::string>& told,
                       absl::Duration took) {
  const char* colour = told.ok() ? "\033[32m" : "\033[31m";
  const std::string text = told.ok() ? *told : WhatWentWrong(told.status());
  out_ << absl::StreamFormat("%2d  %-*s", steps_, kNameColumns, name) << (colours_ ? colour : "")
       << absl::StreamFormat("%-6s", told.ok() ? "ok" : "FAILED") << (colours_ ? "\033[0m" : "")
       << FormatMilliseconds(took) << "  "
       << absl::StrReplaceAll(text, {{"\n", absl::StrCat("\n", std::string(kIndentColumns, ' '))}})
       << std::endl;  // Flushed: the user watches.
}

}  // namespace viommu
