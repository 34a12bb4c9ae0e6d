// tests/conformance/memory_cases.cc -- Memory that is read-only or goes; regions that are loaded.
#include "tests/conformance/cases.h"
#include "tests/conformance/verbs.h"
#include "viommu/v1/common.pb.h"
#include "viommu/v1/ioas.grpc.pb.h"
#include "viommu/v1/memory.grpc.pb.h"
#include "viommu/v1/simulation.grpc.pb.h"

namespace viommu::conformance {
namespace {

using Steps = std::vector<Step>;
using IoasStub = v1::IoasService::Stub;
using Simulations = v1::SimulationService::Stub;

Step NewReadOnlyRegion() {
  return [](World& world) -> absl::Status {
    v1::CreateMemoryRegionRequest request;
    request.set_memory_region_id(World::Id("r"));
    request.mutable_memory_region()->set_size_bytes(kMiB);
    request.mutable_memory_region()->set_read_only(true);
    absl::Status made =
        world.Call(&v1::MemoryService::Stub::CreateMemoryRegion, std::move(request)).status();
    if (made.ok()) world.OnUndo([&world] { return DeleteRegion("r")(world); });
    return made;
  };
}

Step Revoke() {
  return [](World& world) {
    v1::RevokeMemoryRegionRequest request;
    request.set_name(World::Region("r"));
    return world.Call(&Simulations::RevokeMemoryRegion, std::move(request)).status();
  };
}

Step Resize(uint64_t size_bytes) {
  return [=](World& world) {
    v1::ResizeMemoryRegionRequest request;
    request.set_name(World::Region("r"));
    request.set_size_bytes(size_bytes);
    return world.Call(&Simulations::ResizeMemoryRegion, std::move(request)).status();
  };
}

Step Load(const std::string& ioas, const std::string& device) {
  return [=](World& world) {
    v1::LoadReservedRegionsRequest request;
    request.set_name(World::Ioas(ioas));
    request.set_device(world.Device(device));
    return world.Call(&IoasStub::LoadReservedRegions, std::move(request)).status();
  };
}

Step Unload(const std::string& ioas, const std::string& device) {
  return [=](World& world) {
    v1::UnloadReservedRegionsRequest request;
    request.set_name(World::Ioas(ioas));
    request.set_device(world.Device(device));
    return world.Call(&IoasStub::UnloadReservedRegions, std::move(request)).status();
  };
}

Copy OfPage() {
  Copy copy;
  copy.source_iova = 0x10000;
  return copy;
}

std::vector<Case> Memory() {
  const Steps read_only{NewReadOnlyRegion(), NewIoas("a"), NewIoas("b")};
  const Steps mapped =
      Attached("plain") + Steps{Map("a", {At(0x10000), At(0x20000, kPage, kPage)})};
  return {
      {"3.5/10", "read-only memory mapped for writing", read_only, Map("a", {At(0x10000)}),
       Denied("REGION_READ_ONLY").Field("mappings[0].permission").Index(0)},
      {"3.5/10", "read-only memory copied for writing",
       read_only + Steps{Map("a", {With(At(0x10000), v1::PERMISSION_READ)})},
       CopyMappings(OfPage()), Denied("REGION_READ_ONLY")},
      {"3.5/9b", "an address that is mapped is told before read-only memory",
       read_only + Steps{Map("a", {With(At(0x10000), v1::PERMISSION_READ)})},
       Map("a", {At(0x10000)}), Exists("IOVA_OCCUPIED")},
      {"3.5/10",
       "read-only memory mapped for reading",
       read_only,
       Map("a", {With(At(0x10000), v1::PERMISSION_READ)}),
       {},
       {}},
      {"3.5/11", "memory that was revoked", mapped + Steps{Revoke()}, Map("a", {At(0x40000)}),
       Precondition("REGION_SUSPENDED", "ENODEV").Index(0)},
      {"3.5/11",
       "revoked memory is reached no more, but keeps its place",
       mapped,
       Revoke(),
       {},
       {Faults("plain", 0x10000), Faults("plain", 0x20000),
        Maps("a", {"0x10000+0x1000@0x0", "0x20000+0x1000@0x1000"})}},
      {"3.5/11",
       "what shrinks goes",
       mapped,
       Resize(kPage),
       {},
       {Reads("plain", 0x10000, 1), Faults("plain", 0x20000)}},
      {"3.5/11", "a size that is not aligned", mapped, Resize(kPage + 1),
       Invalid("INVALID_SIZE").Field("size_bytes").Says("4097")},
      {"3.5/copy.5", "copying what is not in force", mapped + Steps{NewIoas("b"), Revoke()},
       CopyMappings(OfPage()), Precondition("MAPPING_SUSPENDED", "ENODEV").Says("0x10000")},
  };
}

std::vector<Case> Loading() {
  return {
      {"7/load",
       "an address space that is not there",
       {},
       Load("none", "plain"),
       NotFound("IOAS_NOT_FOUND")},
      {"7/load",
       "a mapping in the way",
       {NewRegion("r"), NewIoas("a"), Map("a", {At(0xfee00000)})},
       Load("a", "plain"),
       Conflict().Blames("0xfee00000")},
      {"7/load",
       "an allowed range in the way",
       {NewIoas("a"), Allow("a", {{0xfee00000, 0xfee00fff}})},
       Load("a", "plain"),
       Conflict().Blames("allowed range")},
      {"7/load",
       "the regions are reserved without an attachment",
       {NewIoas("a")},
       Load("a", "plain"),
       {},
       {Usable("a", {{0, 0xfedfffff}, {0xfef00000, kTop}})}},
      {"7/load",
       "loading again changes nothing",
       {NewIoas("a"), Load("a", "plain"), Remember()},
       Load("a", "plain"),
       {},
       {NothingChanged()}},
      {"7/load",
       "they are free when they are unloaded",
       {NewIoas("a"), Load("a", "plain")},
       Unload("a", "plain"),
       {},
       {Usable("a", {{0, kTop}})}},
      {"7/load",
       "unloading what is not loaded changes nothing",
       {NewIoas("a"), Remember()},
       Unload("a", "plain"),
       {},
       {NothingChanged()}},
      {"7/load", "what an attachment reserves stays",
       Attached("plain") + Steps{Load("a", "plain"), Unload("a", "plain")},
       Map("a", {At(0xfee00000)}), Invalid("IOVA_RESERVED")},
  };
}

}  // namespace

std::vector<Case> MemoryCases() {
  std::vector<Case> all = Memory();
  for (Case& row : Loading()) all.push_back(std::move(row));
  return all;
}

}  // namespace viommu::conformance
