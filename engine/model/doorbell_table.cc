#include "engine/model/doorbell_table.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/types.h"

namespace viommu {
namespace {

constexpr uint64_t kPageBytes = 4096;

absl::Status Exhausted(PhysAddr doorbell, absl::string_view why) {
  return Error(absl::StatusCode::kOutOfRange, "DOORBELLS_EXHAUSTED",
               absl::StrCat("no page is left for the doorbell at ", Hex(doorbell.value), ": ", why))
      .Errno("EOVERFLOW")
      .Violation("delete domains: they keep the pages of devices that were attached to them");
}

}  // namespace

std::optional<Iova> DoorbellTable::LowestFree(const Pages& pages, const IovaRange& window) {
  Iova free = window.first;
  for (auto it = pages.lower_bound(free); it != pages.end() && it->first == free; ++it) {
    if (window.last - free < kPageBytes) return std::nullopt;
    free += kPageBytes;
  }
  return free;
}

absl::StatusOr<Iova> DoorbellTable::Take(absl::string_view owner, const IovaRange& window,
                                         PhysAddr doorbell) {
  static const Pages kNone;
  const auto found = owners_.find(owner);
  const Pages& pages = found == owners_.end() ? kNone : found->second;
  for (const auto& [iova, page] : pages) {
    if (page.doorbell != doorbell || !window.Contains(iova)) continue;
    ++found->second.at(iova).domains;
    return iova;
  }
  if (pages.size() >= kMaxDoorbellPages) {
    return Exhausted(doorbell, absl::StrCat("the owner has ", kMaxDoorbellPages));
  }
  const std::optional<Iova> free = LowestFree(pages, window);
  if (!free.has_value()) return Exhausted(doorbell, absl::StrCat(ToString(window), " is full"));
  owners_[owner].emplace(*free, Page{doorbell, 1});
  return *free;
}

void DoorbellTable::GiveBack(absl::string_view owner, Iova iova) {
  const auto found = owners_.find(owner);
  Pages& pages = found->second;
  const auto page = pages.find(iova);
  if (--page->second.domains > 0) return;
  pages.erase(page);
  if (pages.empty()) owners_.erase(found);
}

}  // namespace viommu
