#include "clients/client/entry_ranges.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/str_cat.h"

namespace viommu {
namespace {

constexpr size_t kMaxShown = 8;

}  // namespace

void EntryRanges::Append(EntryRange range) {
  if (!ranges_.empty() && ranges_.back().last + 1 == range.first) {
    ranges_.back().last = range.last;
  } else {
    ranges_.push_back(range);
  }
}

std::string Describe(absl::Span<const EntryRange> ranges) {
  if (ranges.empty()) return "none";
  std::string out;
  for (const EntryRange& range : ranges.subspan(0, kMaxShown)) {
    absl::StrAppend(&out, out.empty() ? "" : ", ", range.first);
    if (range.last != range.first) absl::StrAppend(&out, " to ", range.last);
  }
  uint64_t more = 0;
  for (size_t i = kMaxShown; i < ranges.size(); ++i) more += ranges[i].count();
  if (more > 0) absl::StrAppend(&out, " and ", more, " more");
  return out;
}

}  // namespace viommu
