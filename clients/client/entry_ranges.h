// clients/client/entry_ranges.h -- Which of many numbered entries something is true of.
#ifndef VIOMMU_CLIENTS_CLIENT_ENTRY_RANGES_H_
#define VIOMMU_CLIENTS_CLIENT_ENTRY_RANGES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace viommu {

// Entries `first` to `last`, both included.
struct EntryRange {
  uint64_t first = 0;
  uint64_t last = 0;

  uint64_t count() const { return last - first + 1; }
  friend bool operator==(EntryRange a, EntryRange b) {
    return a.first == b.first && a.last == b.last;
  }
};

// Ranges that come in ascending order, joined where they touch: it grows only where what is true of
// one entry is not of the next. Thread-compatible.
class EntryRanges {
 public:
  // Lies above all ranges added before.
  void Append(EntryRange range);
  const std::vector<EntryRange>& ranges() const { return ranges_; }

 private:
  std::vector<EntryRange> ranges_;
};

// "0 to 255, 512" or "none"; after some ranges how many more entries there are.
std::string Describe(absl::Span<const EntryRange> ranges);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_CLIENT_ENTRY_RANGES_H_
