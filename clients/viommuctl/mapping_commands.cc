// IO address spaces: what they map, and what they could.
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "clients/viommuctl/columns.h"
#include "clients/viommuctl/commands.h"
#include "clients/viommuctl/values.h"
#include "viommu/v1/common.pb.h"
#include "viommu/v1/ioas.grpc.pb.h"

namespace viommu {
namespace {

// Of `length` bytes, which are not 0: the server has refused that.
std::string Place(uint64_t iova, uint64_t length) { return FormatRange(iova, iova + (length - 1)); }

absl::Status CheckUnmap(const Invocation& call) {
  const bool ranged = call.Has("iova") || call.Has("size");
  if (call.Has("all") && ranged) {
    return absl::InvalidArgumentError("--all stands alone, without --iova and --size");
  }
  if (!call.Has("all") && !(call.Has("iova") && call.Has("size"))) {
    return absl::InvalidArgumentError("say what: --iova and --size, or --all");
  }
  return absl::OkStatus();
}

// ", as 3 x 2M + 1 x 4K in domains/d" of a dry run; else nothing.
template <typename Response>
std::string Leaves(const Response& response) {
  std::string text;
  for (const v1::DomainLeaves& planned : response.planned_leaves()) {
    const std::string sizes =
        absl::StrJoin(planned.leaves(), " + ", [](std::string* out, const v1::LeafCount& leaf) {
          absl::StrAppend(out, leaf.count(), " x ", FormatSize(leaf.page_size_bytes()));
        });
    absl::StrAppend(&text, ", as ", sizes, " in ", planned.domain());
  }
  return text;
}

}  // namespace

absl::Status Map(Invocation& call) {
  v1::MapRequest request;
  request.set_name(call.Name("IOAS"));
  v1::MapEntry& entry = *request.add_mappings();
  if (call.Has("iova")) entry.set_iova(call.Address("iova"));
  entry.set_memory_region(call.Name("region"));
  entry.set_offset(call.Size("offset"));
  entry.set_length(call.Size("size"));
  entry.set_permission(call.PermissionOf("permission"));
  const auto done = call.Call(&v1::IoasService::Stub::Map, request);
  if (!done.ok()) return done.status();
  const uint64_t iova = done->iovas_size() == 0 ? entry.iova() : done->iovas(0);
  call.Did(
      *done, request.name(), "mapped",
      absl::StrCat(FormatSize(entry.length()), " at ", Place(iova, entry.length()), Leaves(*done)));
  return absl::OkStatus();
}

absl::Status Unmap(Invocation& call) {
  absl::Status checked = CheckUnmap(call);
  if (!checked.ok()) return checked;
  v1::UnmapRequest request;
  request.set_name(call.Name("IOAS"));
  request.set_all(call.Has("all"));
  if (!request.all()) {
    v1::UnmapEntry& range = *request.add_ranges();
    range.set_iova(call.Address("iova"));
    range.set_length(call.Size("size"));
  }
  const auto done = call.Call(&v1::IoasService::Stub::Unmap, request);
  if (!done.ok()) return done.status();
  call.Did(*done, request.name(), "unmapped",
           absl::StrCat(FormatSize(done->unmapped_bytes()), " in ", done->unmapped_count(),
                        done->unmapped_count() == 1 ? " mapping" : " mappings"));
  return absl::OkStatus();
}

absl::Status Copy(Invocation& call) {
  v1::CopyMappingsRequest request;
  request.set_name(call.Name("IOAS"));
  request.set_source(call.Has("from") ? call.Name("from") : request.name());
  request.set_source_iova(call.Address("source-iova"));
  request.set_length(call.Size("size"));
  if (call.Has("iova")) request.set_iova(call.Address("iova"));
  request.set_permission(call.PermissionOf("permission"));
  const auto done = call.Call(&v1::IoasService::Stub::CopyMappings, request);
  if (!done.ok()) return done.status();
  const uint64_t iova = done->iovas_size() == 0 ? request.iova() : done->iovas(0);
  call.Did(*done, request.name(), "mapped",
           absl::StrCat(FormatSize(request.length()), " at ", Place(iova, request.length()), " as ",
                        request.source(), " has it at ", FormatAddress(request.source_iova()),
                        Leaves(*done)));
  return absl::OkStatus();
}

absl::Status AllowRanges(Invocation& call) {
  const std::vector<std::string>& ranges = call.Texts("RANGE");
  if (ranges.empty() != call.Has("none")) {
    return absl::InvalidArgumentError("say which: one RANGE or several, or --none");
  }
  v1::SetAllowedIovaRangesRequest request;
  request.set_name(call.Name("IOAS"));
  for (const std::string& text : ranges) *request.add_ranges() = *ParseRange(text);
  const auto ioas = call.Call(&v1::IoasService::Stub::SetAllowedIovaRanges, request);
  if (!ioas.ok()) return ioas.status();
  const std::string list =
      absl::StrJoin(request.ranges(), ", ", [](std::string* out, const v1::IovaRange& range) {
        absl::StrAppend(out, FormatRange(range.first(), range.last()));
      });
  call.Did(*ioas, ioas->name(), "bound",
           ranges.empty() ? "to no range" : absl::StrCat("to keep usable ", list));
  return absl::OkStatus();
}

absl::Status Mappings(Invocation& call) {
  v1::ListMappingsRequest request;
  request.set_parent(call.Name("IOAS"));
  if (call.Has("first")) request.set_first_iova(call.Address("first"));
  if (call.Has("last")) request.set_last_iova(call.Address("last"));
  const auto listing =
      call.CallPages(&v1::IoasService::Stub::ListMappings, std::move(request), call.Limit());
  if (!listing.ok()) return listing.status();
  call.ShowListing(*listing, !listing->next_page_token().empty(), TableOf(listing->mappings()));
  return absl::OkStatus();
}

absl::Status IovaRanges(Invocation& call) {
  v1::ListIovaRangesRequest request;
  request.set_parent(call.Name("IOAS"));
  const auto listing = call.Call(&v1::IoasService::Stub::ListIovaRanges, request);
  if (!listing.ok()) return listing.status();
  call.ShowListing(*listing, /*is_cut=*/false, TableOf(listing->ranges()));
  return absl::OkStatus();
}

absl::Status Translate(Invocation& call) {
  v1::TranslateRequest request;
  request.set_name(call.Name("IOAS"));
  request.set_iova(call.Address("ADDRESS"));
  const auto found = call.Call(&v1::IoasService::Stub::Translate, request);
  if (!found.ok()) return found.status();
  Table table({"IOVA", "REGION", "OFFSET", "PERM", "CONTIGUOUS"});
  table.Add({FormatAddress(request.iova()), ShortName(found->memory_region()),
             FormatAddress(found->offset()), FormatPermission(found->permission()),
             FormatSize(found->contiguous_bytes())});
  call.Show(*found, table);
  return absl::OkStatus();
}

absl::Status SetLargePages(Invocation& call) {
  v1::SetLargePagesRequest request;
  request.set_name(call.Name("IOAS"));
  request.set_large_pages(call.Text("LARGE-PAGES") == "on");
  const auto ioas = call.Call(&v1::IoasService::Stub::SetLargePages, request);
  if (!ioas.ok()) return ioas.status();
  call.Did(*ioas, request.name(), "changed",
           absl::StrCat("(large pages ", call.Text("LARGE-PAGES"), ")"));
  return absl::OkStatus();
}

absl::Status LoadRegions(Invocation& call) {
  v1::LoadReservedRegionsRequest request;
  request.set_name(call.Name("IOAS"));
  request.set_device(call.Name("DEVICE"));
  const auto ioas = call.Call(&v1::IoasService::Stub::LoadReservedRegions, request);
  if (!ioas.ok()) return ioas.status();
  call.Did(*ioas, request.device(), "loaded", absl::StrCat("into ", request.name()));
  return absl::OkStatus();
}

absl::Status UnloadRegions(Invocation& call) {
  v1::UnloadReservedRegionsRequest request;
  request.set_name(call.Name("IOAS"));
  request.set_device(call.Name("DEVICE"));
  const auto ioas = call.Call(&v1::IoasService::Stub::UnloadReservedRegions, request);
  if (!ioas.ok()) return ioas.status();
  call.Did(*ioas, request.device(), "unloaded", absl::StrCat("from ", request.name()));
  return absl::OkStatus();
}

}  // namespace viommu
