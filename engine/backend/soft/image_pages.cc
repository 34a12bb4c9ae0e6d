#include "engine/backend/soft/image_pages.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "engine/base/errors.h"

namespace viommu {

absl::StatusOr<const ImagePages::Words*> ImagePages::Copy(PhysAddr address) {
  const auto known = pages_.find(address.value);
  if (known != pages_.end()) return known->second.get();
  auto words = std::make_unique<Words>();
  const absl::Span<char> bytes(reinterpret_cast<char*>(words->data()), TableImage::kPageBytes);
  if (!memory_.Read(address, bytes)) return nullptr;
  if (pages_.size() >= limit_) {
    return Error(absl::StatusCode::kResourceExhausted, "IMAGE_TOO_LARGE",
                 absl::StrCat("there are more than ", limit_, " pages of tables"))
        .Errno("E2BIG");
  }
  return pages_.emplace(address.value, std::move(words)).first->second.get();
}

std::vector<TableImage::MemoryPage> ImagePages::Take() {
  std::vector<TableImage::MemoryPage> pages;
  pages.reserve(pages_.size());
  for (auto& [address, words] : pages_) pages.push_back({PhysAddr{address}, std::move(words)});
  pages_.clear();
  std::sort(pages.begin(), pages.end(),
            [](const auto& a, const auto& b) { return a.address < b.address; });
  return pages;
}

}  // namespace viommu
