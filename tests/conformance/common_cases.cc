// tests/conformance/common_cases.cc -- What holds for every object: ids, names, references, etags.
#include "tests/conformance/cases.h"
#include "tests/conformance/verbs.h"
#include "viommu/v1/domain.pb.h"
#include "viommu/v1/ioas.grpc.pb.h"

namespace viommu::conformance {
namespace {

using Steps = std::vector<Step>;

v1::Domain WithUnknownField() {
  v1::Domain domain;
  domain.mutable_paging()->set_ioas(World::Ioas("a"));
  domain.mutable_paging()->set_device("plain");
  domain.GetReflection()->MutableUnknownFields(&domain)->AddVarint(901, 1);
  return domain;
}

v1::MapRequest Naming(const std::string& ioas) {
  v1::MapRequest request = MapRequestFor("a", {At(0)});
  request.set_name(ioas);
  return request;
}

// Deletes an address space only as it was when it was made.
Step DeleteIoasAsMade(const std::string& id) {
  return [=](World& world) {
    v1::DeleteIoasRequest request;
    request.set_name(World::Ioas(id));
    request.set_etag("stale");
    return world.Call(&v1::IoasService::Stub::DeleteIoas, std::move(request)).status();
  };
}

// Keeps the uid of an address space among the addresses, or compares with the one that is kept.
Step UidOf(const std::string& id, bool must_differ) {
  return [=](World& world) -> absl::Status {
    v1::GetIoasRequest request;
    request.set_name(World::Ioas(id));
    const auto ioas = world.Call(&v1::IoasService::Stub::GetIoas, std::move(request));
    if (!ioas.ok()) return ioas.status();
    const bool differs = world.seen != std::vector<std::string>{ioas->uid()};
    world.seen = {ioas->uid()};
    return !must_differ || differs ? absl::OkStatus()
                                   : absl::InternalError("the uid was used before");
  };
}

}  // namespace

std::vector<Case> CommonCases() {
  return {
      {"1.2", "a field that nobody knows", DomainFor("plain"),
       SendNewDomain("e", WithUnknownField()),
       Invalid("UNKNOWN_FIELD", "E2BIG").Field("domain.901")},
      {"1.3",
       "no name",
       {NewRegion("r"), NewIoas("a")},
       SendMap(Naming("")),
       Invalid("MISSING_FIELD").Field("name")},
      {"1.3", "an object of another kind", DomainFor("plain"), SendMap(Naming("domains/conf-d")),
       Invalid("MALFORMED_NAME").Field("name").Says("domains/conf-d")},
      {"1.3", "the id of another kind of object", DomainFor("plain"), GetIoas("d"),
       NotFound("IOAS_NOT_FOUND").Blames("ioas/conf-d")},
      {"1.3",
       "a name that was deleted",
       {NewIoas("a"), DeleteIoas("a")},
       GetIoas("a"),
       NotFound("IOAS_NOT_FOUND")},
      {"1.3",
       "a name is free again, but it is another object",
       {NewIoas("a"), UidOf("a", false), DeleteIoas("a")},
       NewIoas("a"),
       {},
       {UidOf("a", true)}},
      {"1.4",
       "an object that changed meanwhile",
       {NewIoas("a")},
       DeleteIoasAsMade("a"),
       Refusal{absl::StatusCode::kAborted, "ETAG_MISMATCH", ""}.Blames("ioas/conf-a")},
      {"1.4",
       "a region that is mapped",
       {NewRegion("r"), NewIoas("a"), Map("a", {At(0)})},
       DeleteRegion("r"),
       Precondition("IN_USE", "EBUSY").Blames("ioas/conf-a")},
      {"1.4",
       "a region that was unmapped",
       {NewRegion("r"), NewIoas("a"), Map("a", {At(0)}), UnmapAll("a")},
       DeleteRegion("r"),
       {},
       {}},
      {"1.4",
       "a region that is not there",
       {},
       DeleteRegion("none"),
       NotFound("MEMORY_REGION_NOT_FOUND").Blames("memoryRegions/conf-none")},
  };
}

}  // namespace viommu::conformance
