// Which pages of a domain devices have written.
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "clients/viommuctl/commands.h"
#include "clients/viommuctl/values.h"
#include "viommu/v1/domain.grpc.pb.h"

namespace viommu {
namespace {

constexpr uint64_t kUsualPageBytes = 4096;

bool IsDirty(const v1::DirtyBitmap& bitmap, uint64_t page) {
  const uint64_t word = page / 64;
  return word < static_cast<uint64_t>(bitmap.words_size()) &&
         (bitmap.words(static_cast<int>(word)) >> (page % 64) & 1) != 0;
}

// A row for each run of dirty pages.
Table DirtyRuns(const v1::DirtyBitmap& bitmap) {
  const uint64_t page_bytes = bitmap.page_size_bytes();
  Table table({"RANGE", "SIZE", "PAGES"});
  for (uint64_t page = 0; page < bitmap.page_count(); ++page) {
    if (!IsDirty(bitmap, page)) continue;
    const uint64_t begin = page;
    while (page < bitmap.page_count() && IsDirty(bitmap, page)) ++page;
    const uint64_t first = bitmap.iova() + begin * page_bytes;
    const uint64_t size = (page - begin) * page_bytes;
    table.Add(
        {FormatRange(first, first + (size - 1)), FormatSize(size), absl::StrCat(page - begin)});
  }
  return table;
}

}  // namespace

absl::Status SetDirtyTracking(Invocation& call) {
  v1::SetDirtyTrackingRequest request;
  request.set_name(call.Name("DOMAIN"));
  request.set_enabled(call.Text("TRACKING") == "on");
  const auto domain = call.Call(&v1::DomainService::Stub::SetDirtyTracking, request);
  if (!domain.ok()) return domain.status();
  call.Did(*domain, request.name(), "changed",
           absl::StrCat("(dirty tracking ", call.Text("TRACKING"), ")"));
  return absl::OkStatus();
}

absl::Status DirtyPages(Invocation& call) {
  v1::ReadDirtyBitmapRequest request;
  request.set_name(call.Name("DOMAIN"));
  request.set_iova(call.Address("ADDRESS"));
  request.set_length(call.Size("size"));
  request.set_page_size_bytes(call.Has("page-size") ? call.Size("page-size") : kUsualPageBytes);
  request.set_no_clear(call.Has("keep"));
  const auto bitmap = call.Call(&v1::DomainService::Stub::ReadDirtyBitmap, request);
  if (!bitmap.ok()) return bitmap.status();
  call.Show(*bitmap, DirtyRuns(*bitmap));
  return absl::OkStatus();
}

}  // namespace viommu
