// tests/conformance/viommu_cases.cc -- Viommus and what belongs to them, where there is none: what
// is told before that, and that nothing of them is offered on VT-d.
#include <utility>

#include "tests/conformance/cases.h"
#include "tests/conformance/nested_verbs.h"
#include "tests/conformance/requests.h"
#include "tests/conformance/verbs.h"
#include "tests/conformance/viommu_verbs.h"
#include "viommu/v1/domain.pb.h"
#include "viommu/v1/event_queue.pb.h"
#include "viommu/v1/hardware_queue.pb.h"
#include "viommu/v1/viommu.grpc.pb.h"

namespace viommu::conformance {
namespace {

using Stub = v1::ViommuService::Stub;

constexpr char kViommu[] = "viommus/conf-v";
constexpr char kQueue[] = "viommus/conf-v/eventQueues/q";
constexpr char kHardwareQueue[] = "viommus/conf-v/hardwareQueues/q";

template <typename Request, typename Response>
Step Send(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
          const Request& request) {
  return [method, request](World& world) { return world.Call(method, request).status(); };
}

template <typename Request>
Request Below(const char* parent) {
  Request request;
  request.set_parent(parent);
  return request;
}

std::vector<Step> Parent() {
  return {NewRegion("r"), NewIoas("a"), Claim("nested"), NewParent("p", "a", "nested")};
}

Refusal NoViommu() { return NotFound("VIOMMU_NOT_FOUND").Blames(kViommu); }

// A NESTED domain on a Viommu that is not there.
Step NestOnViommu(bool with_parent) {
  return [=](World& world) {
    v1::Domain domain = NestedOn("p", "nested", {});
    if (!with_parent) domain.mutable_nested()->clear_parent();
    domain.mutable_nested()->set_viommu(kViommu);
    return SendNewDomain("n", std::move(domain))(world);
  };
}

}  // namespace

std::vector<Case> ViommuCases() {
  return {
      Refused("12.1/1", "no type", Parent(),
              NewViommu("v", "nested", "p", v1::VIOMMU_TYPE_UNSPECIFIED),
              Invalid("MISSING_FIELD").Field("viommu.type")),
      Refused("12.1/2", "a device that is not there, told before the parent", {},
              NewViommu("v", "none", "none"), NotFound("DEVICE_NOT_FOUND")),
      Refused("12.1/2", "a device that the host has", {}, NewViommu("v", "nested", "none"),
              Precondition("DEVICE_NOT_CLAIMED", "EPERM")),
      OnVtd(Refused("12.1/3", "a unit of VT-d, told before the type", Parent(),
                    NewViommu("v", "nested", "p", v1::VIOMMU_TYPE_TEGRA241_CMDQV),
                    Unimplemented("VIOMMU_UNAVAILABLE").Field("viommu.device"))),
      OnVtd(Refused("12.1/3", "a unit of VT-d, told before the parent", {Claim("nested")},
                    NewViommu("v", "nested", "none"), Unimplemented("VIOMMU_UNAVAILABLE"))),
      Refused("12.1", "looking at one that is not there", {}, GetViommu("v"), NoViommu()),
      Refused("12.1", "deleting one that is not there", {}, DeleteViommu("v"), NoViommu()),
      Refused("12.2/1", "a virtual id of more than 32 bits, told before the Viommu", {},
              NewVdevice("v", "none", uint64_t{1} << 32),
              Invalid("INVALID_VIRTUAL_ID").Field("vdevice.virtual_id").Says("0x100000000")),
      Refused("12.2/2", "a vdevice of no Viommu, told before the device", {},
              NewVdevice("v", "none"), NoViommu()),
      Refused("12.2", "listing the vdevices of none", {},
              Send(&Stub::ListVdevices, Below<v1::ListVdevicesRequest>(kViommu)), NoViommu()),
      Refused("12.3/1", "no type of events", {},
              NewEventQueue("v", "q", 1, v1::EVENT_TYPE_UNSPECIFIED),
              Invalid("MISSING_FIELD").Field("event_queue.type")),
      Refused("12.3/2", "a queue of no events, told before the Viommu", {},
              NewEventQueue("v", "q", 0), Invalid("INVALID_DEPTH").Field("event_queue.depth")),
      Refused("12.3/2", "a queue of too many events", {}, NewEventQueue("v", "q", (1u << 19) + 1),
              Invalid("INVALID_DEPTH").Says("524289")),
      Refused("12.3/3", "the longest queue, of no Viommu", {}, NewEventQueue("v", "q", 1u << 19),
              NoViommu()),
      Refused("12.3", "the events of a queue that is not there", {},
              Send(&Stub::ListEvents, Below<v1::ListEventsRequest>(kQueue)),
              NotFound("EVENT_QUEUE_NOT_FOUND").Blames(kQueue)),
      Refused("12.4/2", "a hardware queue of no bytes, told before the Viommu", {},
              NewHardwareQueue("v", 0, 0),
              Invalid("INVALID_LENGTH").Field("hardware_queue.length")),
      Refused("12.4/3", "a hardware queue beyond the last address", {},
              NewHardwareQueue("v", kTop, 2),
              OutOfRange("IOVA_OVERFLOW").Field("hardware_queue.base")),
      Refused("12.4/4", "a hardware queue of no Viommu", {}, NewHardwareQueue("v", 0, kPage),
              NoViommu()),
      Refused(
          "12.4", "deleting one that is not there", {},
          Send(&Stub::DeleteHardwareQueue, Named<v1::DeleteHardwareQueueRequest>(kHardwareQueue)),
          NotFound("HARDWARE_QUEUE_NOT_FOUND").Blames(kHardwareQueue)),
      Refused("4.5", "a NESTED domain on a Viommu that is not there", Parent(),
              NestOnViommu(/*with_parent=*/false), NoViommu()),
      Refused("4.5", "a NESTED domain on a Viommu and a parent", Parent(),
              NestOnViommu(/*with_parent=*/true),
              Invalid("CONFLICTING_FIELDS").Field("domain.nested.parent")),
      Refused("10/3", "commands to a Viommu that is not there", {},
              Send(&Stub::Invalidate, Named<v1::InvalidateRequest>(kViommu)), NoViommu()),
  };
}

}  // namespace viommu::conformance
