// tests/conformance/domain_cases.cc -- PAGING domains: making, deleting, using with other devices.
#include "tests/conformance/cases.h"
#include "tests/conformance/verbs.h"
#include "viommu/v1/domain.grpc.pb.h"

namespace viommu::conformance {
namespace {

std::vector<Step> Claimed(const std::string& device) { return {NewIoas("a"), Claim(device)}; }

v1::Domain On(const std::string& ioas, const std::string& device) {
  v1::Domain domain;
  domain.mutable_paging()->set_ioas(ioas);
  domain.mutable_paging()->set_device(device);
  return domain;
}

// SendNewDomain looks parts up; this device is nobody's.
Step NewDomainForNobody() {
  return [](World& world) {
    v1::CreateDomainRequest request;
    request.set_domain_id(World::Id("d"));
    *request.mutable_domain() = On(World::Ioas("a"), "devices/conf-none");
    return world.Call(&v1::DomainService::Stub::CreateDomain, std::move(request)).status();
  };
}

std::vector<Case> Making() {
  return {
      {"4.2/1", "no kind of domain", Claimed("plain"), SendNewDomain("d", v1::Domain()),
       Invalid("MISSING_FIELD")},
      {"4.2/3",
       "a device that is not there",
       {NewIoas("a")},
       NewDomainForNobody(),
       NotFound("DEVICE_NOT_FOUND").Blames("devices/conf-none")},
      {"4.2/3",
       "a device that the host has",
       {NewIoas("a")},
       NewDomain("d", "a", "plain"),
       Precondition("DEVICE_NOT_CLAIMED", "EPERM").Blames("plain")},
      {"4.2/4", "an address space that is not there", Claimed("plain"),
       NewDomain("d", "none", "plain"), NotFound("IOAS_NOT_FOUND").Blames("ioas/conf-none")},
      {"4.2/4", "a name that is no address space's", Claimed("plain"),
       SendNewDomain("d", On("domains/conf-a", "plain")), Invalid("MALFORMED_NAME")},
      {"4.2/7", "the same name twice", DomainFor("plain"), NewDomain("d", "a", "plain"),
       Exists("DOMAIN_EXISTS").Blames("domains/conf-d")},
      {"4.2/7", "the name of a static domain", Claimed("plain"), NewDomain("blocked", "a", "plain"),
       Exists("DOMAIN_EXISTS").Field("domain_id").Says("blocked")},
      {"4.3",
       "a domain that nobody is attached to",
       Claimed("plain"),
       NewDomain("d", "a", "plain"),
       {},
       {DomainSays("d", "type: DOMAIN_TYPE_PAGING"), DomainSays("d", "levels: 4")}},
      {"4.3",
       "the device fixes the depth",
       Claimed("narrow"),
       NewDomain("d", "a", "narrow"),
       {},
       {DomainSays("d", "levels: 3")}},
      OnVtd({"4.3",
             "and the widest where there are several",
             Claimed("wide"),
             NewDomain("d", "a", "wide"),
             {},
             {DomainSays("d", "levels: 5")}}),
      OnVtd({"4.3/6",
             "snooping is forced where it can be",
             Claimed("plain"),
             NewDomain("d", "a", "plain"),
             {},
             {DomainSays("d", "enforces_cache_coherency: true")}}),
      {"4.3/7",
       "a second domain over the same address space",
       DomainFor("plain"),
       NewDomain("e", "a", "plain"),
       {},
       {}},
  };
}

std::vector<Case> Deleting() {
  return {
      {"4.7",
       "one that is not there",
       {},
       DeleteDomain("none"),
       NotFound("DOMAIN_NOT_FOUND").Blames("domains/conf-none")},
      {"4.7", "a static domain", {}, DeleteDomain("identity"), Invalid("STATIC_DOMAIN")},
      {"4.7", "one to which a device is attached", Attached("plain"), DeleteDomain("d"),
       Precondition("IN_USE", "EBUSY").Blames("plain")},
      {"4.7", "one to which a member of a group is still attached",
       Attached("pair.a") + std::vector<Step>{Attach("pair.b", "d"), Detach("pair.a")},
       DeleteDomain("d"), Precondition("IN_USE", "EBUSY").Blames("pair.b")},
      {"4.7",
       "one that was left",
       Attached("plain") + std::vector<Step>{Detach("plain")},
       DeleteDomain("d"),
       {},
       {DeleteIoas("a")}},
      {"4.7",
       "one whose device went back to the host",
       DomainFor("plain") + std::vector<Step>{Release("plain")},
       DeleteDomain("d"),
       {},
       {}},
  };
}

std::vector<Case> Sharing() {
  const auto with = [](const std::string& maker, const std::string& user) {
    return DomainFor(maker) + std::vector<Step>{Map("a", {At(0x10000)}), Claim(user)};
  };
  const Refusal incompatible = Precondition("INCOMPATIBLE_DOMAIN", "EINVAL");
  return {
      {"4.8",
       "another device of the unit",
       with("plain", "second"),
       Attach("second", "d"),
       {},
       {Reads("second", 0x10000, 1)}},
      OnVtd({"4.8",
             "a device of another unit that can do the same",
             with("plain", "elsewhere"),
             Attach("elsewhere", "d"),
             {},
             {Reads("elsewhere", 0x10000, 1)}}),
      OnVtd({"4.8",
             "a device whose unit walks 4 levels and 5",
             with("plain", "wide"),
             Attach("wide", "d"),
             {},
             {Reads("wide", 0x10000, 1)}}),
      {"4.8", "a unit that does not walk 4 levels", with("plain", "narrow"), Attach("narrow", "d"),
       incompatible},
      {"4.8", "a unit that does not walk 5 levels", with("wide", "plain"), Attach("plain", "d"),
       incompatible},
      {"4.8", "a unit that does not walk 3 levels", with("narrow", "plain"), Attach("plain", "d"),
       incompatible},
      {"4.8", "moving to one that the unit can not use",
       with("narrow", "plain") + std::vector<Step>{NewIoas("b"), NewDomain("e", "b", "plain"),
                                                   Map("b", {At(0x10000, kPage, kPage)}),
                                                   Attach("plain", "e")},
       Replace("plain", "d"), incompatible},
  };
}

}  // namespace

std::vector<Case> DomainCases() {
  std::vector<Case> all;
  for (auto* const part : {Making, Deleting, Sharing}) {
    for (Case& row : part()) all.push_back(std::move(row));
  }
  return all;
}

}  // namespace viommu::conformance
