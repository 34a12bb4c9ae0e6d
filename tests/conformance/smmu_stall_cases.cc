// tests/conformance/smmu_stall_cases.cc -- Page faults of a device whose requests stall behind an
// SMMUv3: what it can not access waits for an answer, each access by itself.
#include "tests/conformance/cases.h"
#include "tests/conformance/fault_verbs.h"
#include "tests/conformance/nested_verbs.h"
#include "tests/conformance/pasid_verbs.h"
#include "tests/conformance/requests.h"
#include "tests/conformance/verbs.h"
#include "tests/conformance/viommu_verbs.h"
#include "viommu/v1/common.pb.h"
#include "viommu/v1/domain.pb.h"
#include "viommu/v1/fault.pb.h"
#include "viommu/v1/simulation.grpc.pb.h"

namespace viommu::conformance {
namespace {

using Steps = std::vector<Step>;

constexpr const char* kDevice = "stalling";
constexpr uint64_t kIova = 0x10000;  // Nothing is mapped there.

Flags WithQueue(Flags flags = ForPasids()) {
  flags.fault_queue = Queue("q");
  return flags;
}

// Queue "q" takes the faults of "d", for PASIDs, over "a"; "n" has none.
Steps Domains(uint32_t depth = 4) {
  return {NewQueue("q", depth),
          NewRegion("r"),
          NewIoas("a"),
          Claim(kDevice),
          NewPaging("d", "a", kDevice, WithQueue()),
          NewPaging("n", "a", kDevice, ForPasids())};
}

Steps OnQueue(uint32_t depth = 4) { return Domains(depth) + Steps{Attach(kDevice, "d")}; }
Steps Asked() { return OnQueue() + Steps{Ask(kDevice, kIova)}; }

Case WaitsForNothing(std::string name, Steps set_up, Step ask) {
  return Refused("11/2", std::move(name), std::move(set_up), std::move(ask),
                 Precondition("NO_PAGE_FAULT", "EINVAL").Field("iova").WhenDone());
}

std::vector<Case> Making() {
  const auto unavailable = [](const std::string& field) {
    return Unimplemented("FAULT_QUEUE_UNAVAILABLE").Field(field).Blames("hasty");
  };
  v1::Domain guest = OnViommu("v", "hasty", kBypass);
  guest.mutable_nested()->set_fault_queue(Queue("q"));
  return {
      Refused("4.2/6", "a domain with a queue, for a device whose requests do not stall",
              Domains() + Steps{Claim("hasty")}, NewPaging("e", "a", "hasty", WithQueue()),
              unavailable("domain.paging.fault_queue")),
      Refused("4.2/6", "a domain with a queue that is not there, for one whose requests do",
              {NewIoas("a"), Claim(kDevice)}, NewPaging("d", "a", kDevice, WithQueue()),
              NotFound("FAULT_QUEUE_NOT_FOUND").Blames(Queue("q"))),
      Refused("4.3", "a nest parent with a queue, where requests stall", Domains(),
              NewPaging("p", "a", kDevice, WithQueue({/*nest_parent=*/true})),
              Unimplemented("FAULT_QUEUE_ON_NEST_PARENT").Field("domain.paging.fault_queue")),
      Refused("4.5", "a guest's stage with a queue, for a device whose requests do not stall",
              Steps{NewQueue("q")} + Guest("hasty"), SendNewDomain("e", guest),
              unavailable("domain.nested.fault_queue")),
      Refused("11/7", "a device whose requests do not stall, a domain with a queue",
              Domains() + Steps{Claim("hasty")}, Attach("hasty", "d"),
              Precondition("PAGE_REQUESTS_UNAVAILABLE", "ENODEV").Blames("hasty")),
      Refused("11/7", "its PASID, a domain with a queue", Domains() + Steps{Claim("hasty")},
              AttachPasid("hasty", 5, "d"),
              Precondition("PAGE_REQUESTS_UNAVAILABLE", "ENODEV").Blames("hasty")),
      Refused("11/1", "a queue in which what stalls waits, and its domain with it, goes", Asked(),
              DeleteQueue("q"), Precondition("IN_USE", "EBUSY").Blames(World::Domain("d"))),
      Accepted("11/1", "a queue whose domain is gone goes",
               OnQueue() + Steps{Detach(kDevice), DeleteDomain("d")}, DeleteQueue("q"),
               {NewQueue("q")}),
  };
}

std::vector<Case> Delivery() {
  const Step ask = Ask(kDevice, kIova);
  return {
      Accepted("11/2", "an access in vain waits for an answer", OnQueue(), ask,
               {Waiting(1), AnswerSays("domain: \"domains/conf-d\""), AnswerSays("cookie: 1")}),
      Accepted("11/2", "each access is a group of its own", OnQueue(), ask,
               {ask, Waiting(2), AnswerSays("cookie: 1"), AnswerSays("cookie: 2")}),
      Accepted("11/2", "and whole, whatever else may follow", OnQueue(),
               Ask(kDevice, kIova, {}, /*more=*/true), {Waiting(1)}),
      Accepted("11/2", "as does a DMA that faults", OnQueue() + Steps{Map("a", {At(0x20000)})},
               Unmap("a", {{0x20000}}), {Faults(kDevice, 0x20000), Waiting(1)}),
      Accepted("11/2", "and a write to what may only be read", OnQueue(),
               Map("a", {With(At(kIova), v1::PERMISSION_READ)}),
               {Reads(kDevice, kIova, 1), FaultsAtWrite(kDevice, kIova), Waiting(1),
                AnswerLacks("read: true")}),
      WaitsForNothing("an access that passes", OnQueue() + Steps{Map("a", {At(kIova)})}, ask),
      WaitsForNothing("an access of what is attached to nothing", Domains(), ask),
      WaitsForNothing("an access in a second stage",
                      Domains() + Steps{NewParent("p", "a", kDevice), Attach(kDevice, "p")}, ask),
      WaitsForNothing("an access with a PASID that is attached to nothing", OnQueue(),
                      Ask(kDevice, kIova, 5)),
      Accepted("11/3", "an access with a PASID goes to its attachment",
               Domains() + Steps{Attach(kDevice, "n"), AttachPasid(kDevice, 5, "d")},
               Ask(kDevice, kIova, 5), {Waiting(1), AnswerSays("pasid: 5")}),
      Accepted("11/3", "and one without to the device's",
               Domains() + Steps{Attach(kDevice, "n"), AttachPasid(kDevice, 5, "d")}, ask,
               {Waiting(0), Resumed(kDevice, kInvalid)}),
      Accepted("11/3", "a domain without queue: the access is given up",
               Domains() + Steps{Attach(kDevice, "n")}, ask,
               {Waiting(0), Resumed(kDevice, kInvalid)}),
      Accepted("11/4", "one more than the queue holds is given up", OnQueue(1) + Steps{ask}, ask,
               {Waiting(1), AnswerSays("cookie: 1"), Resumed(kDevice, kInvalid), GetQueue("q"),
                AnswerSays("lost_groups: 1")}),
  };
}

std::vector<Case> Answers() {
  const Step ask = Ask(kDevice, kIova);
  const auto not_found = [](uint64_t index) {
    return NotFound("FAULT_NOT_FOUND").Index(index).Blames(Queue("q"));
  };
  return {
      Accepted("11/5", "an access is tried again once its page is there",
               Asked() + Steps{Map("a", {At(kIova)})}, Respond(1, kSuccess),
               {Resumed(kDevice, kSuccess), Waiting(0), Reads(kDevice, kIova, 1)}),
      Accepted("11/5", "one whose page can not be had is given up", Asked(), Respond(1, kInvalid),
               {Resumed(kDevice, kInvalid), Waiting(0)}),
      Accepted("11/5", "several at once, in any order", Asked() + Steps{ask},
               RespondAll({{2, kSuccess}, {1, kInvalid}}),
               {Resumed(kDevice, kInvalid), Waiting(0)}),
      Accepted("11/5", "a cookie is not given again", Asked() + Steps{Respond(1, kInvalid)}, ask,
               {Waiting(1), AnswerSays("cookie: 2")}),
      Refused("11/5", "a cookie that no access has", Asked(), Respond(2, kSuccess),
              not_found(0).Field("responses[0].cookie").Says("2")),
      Refused("11/5", "an access that was answered", Asked() + Steps{Respond(1, kSuccess)},
              Respond(1, kSuccess), not_found(0).Field("responses[0].cookie").Says("1")),
      Refused("11/5", "to what stalls a code that only the daemon gives", Asked(),
              Respond(1, v1::PAGE_RESPONSE_CODE_FAILURE),
              Invalid("INVALID_RESPONSE").Field("responses[0].code").Index(0)),
      Refused("11/5", "two answers to one access", Asked(),
              RespondAll({{1, kSuccess}, {1, kSuccess}}),
              Invalid("DUPLICATE_COOKIE").Field("responses[1].cookie").Index(1).Says("1")),
      Refused("11/5", "one wrong cookie behind a right one: neither access goes on", Asked(),
              RespondAll({{1, kSuccess}, {9, kSuccess}}),
              not_found(1).Field("responses[1].cookie").Says("9")),
  };
}

std::vector<Case> Leaving() {
  const Steps pasid = Domains() + Steps{Attach(kDevice, "d"), AttachPasid(kDevice, 5, "d"),
                                        Ask(kDevice, kIova), Ask(kDevice, kIova, 5)};
  const Steps told = {Resumed(kDevice, kInvalid), Waiting(0)};
  const Steps other_waits = {Resumed(kDevice, kInvalid), Waiting(1)};
  return {
      Accepted("11/6", "what stalls when the device is detached is given up", Asked(),
               Detach(kDevice), told),
      Accepted("11/6", "when it is replaced", Asked(), Replace(kDevice, "n"), told),
      Accepted("11/6", "and when the device is reset", Asked(), Reset(kDevice), told),
      Refused("11/6", "its cookie is void then", Asked() + Steps{Replace(kDevice, "n")},
              Respond(1, kSuccess), NotFound("FAULT_NOT_FOUND").Index(0)),
      Accepted("11/6", "a replacement by the same domain lets it wait", Asked(),
               Replace(kDevice, "d"), {Waiting(1)}),
      Accepted("11/6", "only what has the PASID that is detached", pasid, DetachPasid(kDevice, 5),
               other_waits + Steps{AnswerLacks("pasid")}),
      Accepted("11/6", "only what has none when the device is", pasid, Detach(kDevice),
               other_waits + Steps{AnswerSays("pasid: 5")}),
  };
}

// ---- Guests ----

// Offset in "r" of the guest's context descriptor, behind its tables.
constexpr uint64_t kDescriptor = kGuestTables - kGuestMemory + 4 * kPage;

// The guest has the faults of its stage wait (Arm IHI 0070 5.4, CD.S: bit 44).
Step GuestStalls() {
  return [](World& world) -> absl::Status {
    if (!world.simulated()) return absl::OkStatus();
    constexpr uint64_t kByte = kDescriptor + 5;
    auto read = Named<v1::ReadMemoryRequest>(World::Region("r"));
    read.set_offset(kByte);
    read.set_length(1);
    const auto byte = world.Call(&v1::SimulationService::Stub::ReadMemory, std::move(read));
    if (!byte.ok()) return byte.status();
    auto write = Named<v1::WriteMemoryRequest>(World::Region("r"));
    write.set_offset(kByte);
    write.set_data(std::string(1, static_cast<char>(byte->data()[0] | 1 << 4)));
    return world.Call(&v1::SimulationService::Stub::WriteMemory, std::move(write)).status();
  };
}

// A guest's stage "g" with queue "q" for what stalls there.
Steps StallingGuest() {
  v1::Domain stage = OnViommu("v", kDevice, Translating(kGuestMemory + kDescriptor));
  stage.mutable_nested()->set_fault_queue(Queue("q"));
  return Steps{NewQueue("q")} + Guest(kDevice) +
         Steps{GuestStalls(), SendNewDomain("g", stage), NewEventQueue("v", "e", 4)};
}

std::vector<Case> Guests() {
  const Steps attached = StallingGuest() + Steps{Attach(kDevice, "g")};
  const Step ask = Ask(kDevice, kGuestPage + kPage);  // The guest maps one page.
  return {
      Accepted("11/3", "what stalls in a guest's stage waits in its queue", attached, ask,
               {Waiting(1), AnswerSays("domain: \"domains/conf-g\""), Events("v", "e", "")}),
      Accepted("11/5", "and goes on in it", attached + Steps{ask}, Respond(1, kSuccess),
               {Resumed(kDevice, kSuccess), Waiting(0), Reads(kDevice, kGuestPage, 3)}),
      Accepted("11/6", "and is given up when the guest's stage goes", attached + Steps{ask},
               Detach(kDevice), {Resumed(kDevice, kInvalid), Waiting(0)}),
      WaitsForNothing("an access that the guest's tables let pass", attached,
                      Ask(kDevice, kGuestPage)),
      Refused("11/1", "a queue that a guest's stage uses goes", attached, DeleteQueue("q"),
              Precondition("IN_USE", "EBUSY").Blames("domains/conf-g")),
  };
}

}  // namespace

std::vector<Case> SmmuStallCases() {
  std::vector<Case> all = Making();
  for (auto* const cases : {Delivery, Answers, Leaving, Guests}) {
    for (Case& row : cases()) all.push_back(std::move(row));
  }
  return AllOnSmmuV3(std::move(all));
}

}  // namespace viommu::conformance
