#include <iterator>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "tests/faults/fault_world.h"
#include "tests/faults/small_host.h"

namespace viommu::faults {

Iova FaultWorld::RandomPlace() { return kPlaces[Random(std::size(kPlaces))]; }

FaultWorld::Verb FaultWorld::ObjectVerb() {
  const uint64_t n = Random(kNames);
  switch (Random(5)) {
    case 0:
      return {"create region", absl::StrCat("create r", n), [=] {
                return engine_
                    ->CreateMemoryRegion(me_, absl::StrCat("r", n), kRegionBytes, std::nullopt)
                    .status();
              }};
    case 1:
      return {"delete region", absl::StrCat("delete r", n),
              [=] { return engine_->DeleteMemoryRegion(me_, Named("r", n), ""); }};
    case 2:
      return {"delete space", absl::StrCat("delete as", n),
              [=] { return engine_->DeleteIoas(me_, Named("as", n), ""); }};
    default: {
      IoasOptions options;
      options.mode = static_cast<IoasMode>(Random(3));
      if (options.mode != IoasMode::kVfioType1 && Random(3) == 0) options.large_pages = false;
      return {absl::StrCat("create space of mode ", static_cast<int>(options.mode)),
              absl::StrCat("create as", n),
              [=] { return engine_->CreateIoas(me_, absl::StrCat("as", n), options).status(); }};
    }
  }
}

FaultWorld::Verb FaultWorld::DomainVerb() {
  const uint64_t n = Random(kNames);
  const bool nested = Random(2) == 0;
  const char* const kind = nested ? "n" : "d";
  const std::string id = absl::StrCat(kind, n);
  if (Random(8) == 0) {
    return {nested ? "delete NESTED domain" : "delete domain", absl::StrCat("delete ", id),
            [=] { return engine_->DeleteDomain(me_, Named(kind, n), ""); }};
  }
  // An SMMUv3's domain is of no use behind another: mostly the one with PASIDs.
  const bool near = IsArm() && Random(4) != 0;
  const std::string device = DeviceId(Random(near ? 3 : kDevices));
  if (nested) {
    NestedDomainRequest request;
    const ObjectRef base = Named(IsArm() ? "v" : "d", Random(kNames));
    request.device = DeviceId(Random(3));
    if (IsArm()) {
      request.viommu = base;
      request.stage1 = GuestEntry();
    } else {
      request.parent = base;
      request.pasid = Random(4) != 0;
      request.stage1 = VtdStage1{kGuestTable, 48};
    }
    return {"create NESTED domain",
            absl::StrCat("create ", id, " on ", base.id, " for ", request.device),
            [=] { return engine_->CreateDomain(me_, id, request).status(); }};
  }
  PagingDomainRequest request;
  request.ioas = Named("as", Random(kNames));
  request.device = device;
  request.nest_parent = (Random(3) != 0) != IsArm();
  // Behind an SMMUv3 no second stage serves PASIDs.
  request.pasid = Random(4) != 0 && !(IsArm() && request.nest_parent);
  return {request.nest_parent ? "create nest parent"
                              : (request.pasid ? "create domain for PASIDs" : "create domain"),
          absl::StrCat("create ", id, " over ", request.ioas.id, " for ", device),
          [=] { return engine_->CreateDomain(me_, id, request).status(); }};
}

FaultWorld::Verb FaultWorld::MapVerb() {
  MapBatch batch;
  std::string text = "map";
  const uint64_t ioas = Random(kNames);
  batch.regions = {Named("r", Random(kNames))};
  for (uint64_t entry = 0; entry <= Random(3); ++entry) {
    std::optional<Iova> iova;
    if (Random(4) != 0) iova = RandomPlace() + kPage * Random(4);
    const uint64_t length = kPage * (1 + Random(4));
    absl::StrAppend(&text, " ", iova.has_value() ? Hex(*iova) : "anywhere", "+", Hex(length));
    const auto permission =
        Random(2) == 0 ? Permission::kReadWrite : static_cast<Permission>(1 + Random(3));
    batch.entries.push_back({iova, kPage * Random(512), length, 0, permission});
  }
  if (Random(8) != 0) {
    return {"map", absl::StrCat(text, " in as", ioas),
            [=] { return engine_->Map(me_, Named("as", ioas), batch).status(); }};
  }
  CopyRequest copy;
  copy.source = Named("as", Random(kNames));
  copy.source_iova = batch.entries[0].iova.value_or(kPage);
  copy.length_bytes = batch.entries[0].length_bytes;
  return {"copy", absl::StrCat("copy ", copy.source.id, " ", Hex(copy.source_iova), " to as", ioas),
          [=] { return engine_->CopyMappings(me_, Named("as", ioas), copy).status(); }};
}

FaultWorld::Verb FaultWorld::MapGuestTableVerb() {
  const uint64_t ioas = Random(kNames);
  MapBatch batch;
  batch.regions = {{kGuestRegion, std::nullopt}};
  batch.entries = {{kGuestTable, 0, kPage, 0, Permission::kReadWrite}};
  return {"map guest's tables", absl::StrCat("map the guest's tables in as", ioas),
          [=] { return engine_->Map(me_, Named("as", ioas), batch).status(); }};
}

FaultWorld::Verb FaultWorld::UnmapVerb() {
  const uint64_t ioas = Random(kNames);
  UnmapBatch batch;
  std::string text = "unmap";
  batch.all = Random(8) == 0;
  for (uint64_t entry = 0; !batch.all && entry <= Random(2); ++entry) {
    const bool part = Random(3) == 0;  // What kVfioType1 alone does.
    const Iova iova = RandomPlace() + (part ? kPage * Random(4) : 0);
    batch.entries.push_back({iova, part ? kPage : kPage * 8});
    absl::StrAppend(&text, " ", Hex(iova), part ? " one page" : "");
  }
  return {"unmap", absl::StrCat(text, batch.all ? " all of as" : " in as", ioas),
          [=] { return engine_->Unmap(me_, Named("as", ioas), batch).status(); }};
}

FaultWorld::Verb FaultWorld::StreamVerb() {
  const uint64_t ioas = Random(kNames);
  const Iova iova = RandomPlace() + kPage * Random(8);
  StreamBatch batch;
  batch.sequence = 1;
  if (Random(2) == 0) {
    batch.map.emplace();
    batch.map->regions = {Named("r", Random(kNames))};
    batch.map->entries = {{iova, 0, kPage, 0, Permission::kReadWrite}};
  } else {
    batch.unmap.emplace();
    batch.unmap->entries = {{iova, 4 * kPage}};
  }
  return {"stream", absl::StrCat("stream over as", ioas), [=]() -> absl::Status {
            StreamOptions options;
            options.ioas = Named("as", ioas);
            ASSIGN_OR_RETURN(const auto stream, engine_->OpenMappingStream(me_, options));
            stream->Submit(batch);
            stream->CloseSubmissions();
            StreamReply reply;
            if (!stream->NextReply(&reply)) return absl::InternalError("no reply");
            return reply.status;
          }};
}

FaultWorld::Verb FaultWorld::SpaceVerb() {
  const uint64_t n = Random(kNames);
  const ObjectRef ref = Named("as", n);
  const std::string device = DeviceId(Random(kDevices));
  switch (Random(4)) {
    case 0: {
      const bool large = Random(2) == 0;
      return {large ? "large pages" : "small pages",
              absl::StrCat(large ? "large" : "small", " pages in as", n),
              [=] { return engine_->SetLargePages(me_, ref, large, "").status(); }};
    }
    case 1:
      return {"load regions", absl::StrCat("load regions of ", device, " in as", n),
              [=] { return engine_->LoadReservedRegions(me_, ref, device, "").status(); }};
    case 2:
      return {"unload regions", absl::StrCat("unload regions of ", device, " in as", n),
              [=] { return engine_->UnloadReservedRegions(me_, ref, device, "").status(); }};
    default: {
      const std::vector<IovaRange> allowed(Random(2), IovaRange{0, RandomPlace() + 16 * kPage});
      return {"allowed ranges", absl::StrCat("allowed ranges of as", n),
              [=] { return engine_->SetAllowedIovaRanges(me_, ref, allowed, "").status(); }};
    }
  }
}

FaultWorld::Verb FaultWorld::RegionLossVerb() {
  const uint64_t n = Random(kNames);
  if (Random(6) == 0) {
    return {"revoke region", absl::StrCat("revoke r", n),
            [=] { return engine_->RevokeMemoryRegion(me_, Named("r", n), "").status(); }};
  }
  const uint64_t size = Random(3) == 0 ? kRegionBytes : kPage * (1 + Random(600));
  return {"resize region", absl::StrCat("resize r", n, " to ", size),
          [=] { return engine_->ResizeMemoryRegion(me_, Named("r", n), size, "").status(); }};
}

}  // namespace viommu::faults
