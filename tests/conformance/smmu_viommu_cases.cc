// tests/conformance/smmu_viommu_cases.cc -- Viommus where there are some: they, vdevices, events,
// hardware queues, and what guests command.
#include "tests/conformance/cases.h"
#include "tests/conformance/nested_verbs.h"
#include "tests/conformance/requests.h"
#include "tests/conformance/verbs.h"
#include "tests/conformance/viommu_verbs.h"
#include "viommu/v1/event_queue.pb.h"
#include "viommu/v1/simulation.pb.h"
#include "viommu/v1/viommu.grpc.pb.h"

namespace viommu::conformance {
namespace {

using Steps = std::vector<Step>;

constexpr v1::RaiseEventOutcome kQueued = v1::RAISE_EVENT_OUTCOME_QUEUED;
constexpr v1::RaiseEventOutcome kLost = v1::RAISE_EVENT_OUTCOME_LOST;
constexpr v1::RaiseEventOutcome kDropped = v1::RAISE_EVENT_OUTCOME_DROPPED;
constexpr uint32_t kTranslation = 0x10;  // F_TRANSLATION.

Steps Parent(const std::string& device = "nested") {
  return {NewRegion("r"), NewIoas("a"), Claim(device), NewParent("p", "a", device)};
}
Steps One() { return Parent() + Steps{NewViommu("v", "nested", "p")}; }
Steps OneWithName() { return One() + Steps{NewVdevice("v", "nested")}; }

std::vector<Case> Making() {
  const auto no_parent = [] {
    return Precondition("NOT_NEST_PARENT", "EINVAL").Field("viommu.parent");
  };
  return {
      Refused("12.1/3", "a unit that can not nest", Parent() + Steps{Claim("plain")},
              NewViommu("v", "plain", "p"),
              Unimplemented("VIOMMU_UNAVAILABLE").Field("viommu.device").Blames("plain")),
      Refused("12.1/4", "a type that the unit has not, told before the parent", Parent(),
              NewViommu("v", "nested", "none", v1::VIOMMU_TYPE_TEGRA241_CMDQV),
              Unimplemented("VIOMMU_TYPE_UNAVAILABLE").Field("viommu.type").Blames("nested")),
      Refused("12.1/5", "a parent that is not there", Parent(), NewViommu("v", "nested", "none"),
              NotFound("DOMAIN_NOT_FOUND").Blames("domains/conf-none")),
      Refused("12.1/5", "a static domain as parent", Parent(), NewViommu("v", "nested", "blocked"),
              no_parent().Blames("domains/blocked")),
      Refused("12.1/5", "a NESTED domain as parent",
              One() + Steps{NewGuestStage("n", "v", "nested", kBypass)},
              NewViommu("w", "nested", "n"), no_parent().Blames("domains/conf-n")),
      Refused("12.1/6", "a parent that was not made as one", DomainFor("nested"),
              NewViommu("v", "nested", "d"), no_parent().Blames("domains/conf-d")),
      Refused("12.1/7", "a parent of another unit", Parent("deep") + Steps{Claim("nested")},
              NewViommu("v", "nested", "p"), Precondition("INCOMPATIBLE_DOMAIN", "EINVAL")),
      Refused("12.1", "another one on the same parent", One(), NewViommu("w", "nested", "p"),
              Precondition("VIOMMU_EXISTS", "EBUSY").Field("viommu.parent").Blames(Viommu("v"))),
      Refused("12.1", "the same name twice", One() + Steps{NewParent("o", "a", "nested")},
              NewViommu("v", "nested", "o"), Exists("VIOMMU_EXISTS").Blames(Viommu("v"))),
      Accepted("12.1", "one on a nest parent", Parent(), NewViommu("v", "nested", "p"),
               {GetViommu("v"), AnswerSays("type: VIOMMU_TYPE_ARM_SMMU_V3"),
                AnswerSays("parent: \"domains/conf-p\""), AnswerSays("ioas: \"ioas/conf-a\"")}),
      Accepted("12.1", "another one on another parent",
               One() + Steps{NewParent("o", "a", "nested")}, NewViommu("w", "nested", "o"),
               {GetViommu("w"), GetViommu("v")}),
      Accepted("12.1", "one stays when the device it was made for goes", One(), Release("nested"),
               {GetViommu("v")}),
      Refused("12.1", "deleting one with a vdevice", OneWithName(), DeleteViommu("v"),
              Precondition("IN_USE", "EBUSY").Blames(Viommu("v") + "/vdevices/nested")),
      Refused("12.1", "deleting one with a NESTED domain",
              One() + Steps{NewGuestStage("n", "v", "nested", kBypass)}, DeleteViommu("v"),
              Precondition("IN_USE", "EBUSY").Blames("domains/conf-n")),
      Refused("12.1", "deleting one with an event queue", One() + Steps{NewEventQueue("v", "q", 1)},
              DeleteViommu("v"),
              Precondition("IN_USE", "EBUSY").Blames(Viommu("v") + "/eventQueues/q")),
      Accepted("12.1", "deleting one with nothing",
               OneWithName() + Steps{DeleteVdevice("v", "nested")}, DeleteViommu("v"),
               {DeleteDomain("p")}),
  };
}

std::vector<Case> Vdevices() {
  const Steps mate = OneWithName() + Steps{Claim("nested.mate")};
  const auto gone = [] { return NotFound("VDEVICE_NOT_FOUND"); };
  return {
      Refused("12.2/3", "a device that is not there", One(), NewVdevice("v", "none"),
              NotFound("DEVICE_NOT_FOUND").Blames("devices/conf-none")),
      Refused("12.2/3", "a device that the host has", One(), NewVdevice("v", "nested.mate"),
              Precondition("DEVICE_NOT_CLAIMED", "EPERM").Blames("nested.mate")),
      Refused("12.2/4", "a device behind another unit", One() + Steps{Claim("deep")},
              NewVdevice("v", "deep"),
              Precondition("IOMMU_MISMATCH", "EINVAL").Field("vdevice.device").Blames("deep")),
      Refused("12.2/6", "a device that has a name", OneWithName(), NewVdevice("v", "nested", 2),
              Exists("DEVICE_HAS_VDEVICE").Field("vdevice.device").Blames("nested")),
      Refused("12.2/6", "a device that has a name elsewhere",
              OneWithName() + Steps{NewParent("o", "a", "nested"), NewViommu("w", "nested", "o")},
              NewVdevice("w", "nested"), Exists("DEVICE_HAS_VDEVICE").Field("vdevice.device")),
      Refused("12.2/7", "a virtual id that another device has", mate,
              NewVdevice("v", "nested.mate", 1),
              Exists("VIRTUAL_ID_TAKEN").Field("vdevice.virtual_id").Says("1")),
      Accepted("12.2", "the lowest virtual id", One(), NewVdevice("v", "nested", 0),
               {GetVdevice("v", "nested"), AnswerSays("virtual_id: 0")}),
      Accepted("12.2", "the highest", One(), NewVdevice("v", "nested", 0xffffffff),
               {GetVdevice("v", "nested"), AnswerSays("virtual_id: 4294967295")}),
      Accepted("12.2", "two devices of one Viommu", mate, NewVdevice("v", "nested.mate", 2),
               {GetViommu("v"), AnswerSays("vdevices/nested.mate")}),
      Accepted("12.2", "a virtual id that is given back is free",
               mate + Steps{DeleteVdevice("v", "nested")}, NewVdevice("v", "nested.mate", 1)),
      Accepted("12.2/8", "a device without PCI address", One() + Steps{Claim("platform")},
               NewVdevice("v", "platform", 2)),
      Refused("12.2", "looking at one that is not there", One(), GetVdevice("v", "nested"), gone()),
      Refused("12.2", "deleting one that is not there", One(), DeleteVdevice("v", "nested"),
              gone()),
      Refused("12.2", "a vdevice goes when its device is released",
              OneWithName() + Steps{Release("nested")}, GetVdevice("v", "nested"), gone()),
      Refused("12.2", "deleting the name of a device whose guest translates",
              Guest("nested") + Steps{Attach("nested", "n")}, DeleteVdevice("v", "nested"),
              Precondition("IN_USE", "EBUSY").Blames("domains/conf-n")),
      Accepted(
          "12.2", "deleting the name of a device whose guest does not",
          OneWithName() + Steps{NewGuestStage("n", "v", "nested", kBypass), Attach("nested", "n")},
          DeleteVdevice("v", "nested")),
  };
}

std::vector<Case> EventQueues() {
  const Steps guest = Guest("nested");
  const Steps queue = guest + Steps{NewEventQueue("v", "q", 2)};
  const Step attach = Attach("nested", "n");
  const Step report = Report("nested", kTranslation, kQueued);
  return {
      Refused("12.3/1", "events that are none of the Viommu's", One(),
              NewEventQueue("v", "q", 1, v1::EVENT_TYPE_TEGRA241_CMDQV),
              Unimplemented("EVENT_TYPE_UNAVAILABLE").Field("event_queue.type")),
      Refused("12.3/4", "another queue of the type", One() + Steps{NewEventQueue("v", "q", 1)},
              NewEventQueue("v", "o", 1),
              Exists("EVENT_QUEUE_EXISTS").Field("event_queue.type").Blames("eventQueues/q")),
      Accepted("12.3", "a queue of the longest", One(), NewEventQueue("v", "q", 1 << 16),
               {Events("v", "q", ""), GetViommu("v"), AnswerSays("eventQueues/q")}),
      Accepted("12.3", "a queue when the other is gone",
               One() + Steps{NewEventQueue("v", "q", 1), DeleteEventQueue("v", "q")},
               NewEventQueue("v", "o", 1)),
      Accepted("12.3/report", "events wait in order", queue, attach,
               {report, report, Events("v", "q", "0 1"),
                LastEventSays("v", "q", "id: 16 stream_id: 17")}),
      Accepted(
          "12.3/report", "one more than the queue holds is lost, and it says so", queue, attach,
          {report, report, Report("nested", kTranslation, kLost), Events("v", "q", "0 1 2lost"),
           Report("nested", kTranslation, kLost), Events("v", "q", "0 1 3lost")}),
      Accepted("12.3/report", "without a queue they are dropped", guest, attach,
               {Report("nested", kTranslation, kDropped)}),
      Accepted("12.3/report", "what the guest's own tables refuse", queue, attach,
               {Reads("nested", kGuestPage, 3), Events("v", "q", ""),
                Faults("nested", kGuestPage + kPage), Events("v", "q", "0"),
                LastEventSays("v", "q", "id: 16 stream_id: 17")}),
      Accepted(
          "12.3/report", "a guest's descriptor that is not valid",
          queue + Steps{NewGuestStage("m", "v", "nested", Translating(kGuestMemory + 0x20000))},
          Attach("nested", "m"), {Faults("nested", kGuestPage), LastEventSays("v", "q", "id: 10")}),
      Accepted("12.3", "a queue goes with its events", queue + Steps{attach}, Detach("nested"),
               {DeleteEventQueue("v", "q")}),
  };
}

std::vector<Case> HardwareQueues() {
  return {
      Refused("12.4/5", "a unit that reads no queues of guests", One(),
              NewHardwareQueue("v", kGuestMemory, kPage),
              Unimplemented("HARDWARE_QUEUES_UNAVAILABLE")
                  .Field("hardware_queue.type")
                  .Blames(Viommu("v"))),
      Refused("12.4/2", "no bytes, told before the unit", One(), NewHardwareQueue("v", 0, 0),
              Invalid("INVALID_LENGTH").Field("hardware_queue.length")),
      Refused("12.4/3", "beyond the last address, told before the unit", One(),
              NewHardwareQueue("v", kTop, 2),
              OutOfRange("IOVA_OVERFLOW").Field("hardware_queue.base")),
  };
}

// ---- Commands ----

using Invalidation = v1::ArmSmmuV3Invalidation;

Invalidation All() { return SmmuCommand(v1::ARM_SMMU_V3_OPCODE_TLBI_ALL); }

Invalidation Page(uint64_t address) {
  Invalidation command = SmmuCommand(v1::ARM_SMMU_V3_OPCODE_TLBI_VA);
  command.set_asid(7);
  command.set_address(address);
  return command;
}

Invalidation Range(uint64_t address) {
  Invalidation command = Page(address);
  command.mutable_range()->set_num(1);
  command.mutable_range()->set_leaf_level(3);
  command.mutable_range()->set_granule_bytes(4096);
  return command;
}

Invalidation OfStream(v1::ArmSmmuV3Opcode opcode, uint32_t stream) {
  Invalidation command = SmmuCommand(opcode);
  command.set_stream_id(stream);
  return command;
}

Step GiveVtd() {
  return [](World& world) {
    auto request = Named<v1::InvalidateRequest>(Viommu("v"));
    request.mutable_commands()->mutable_vtd()->add_invalidations()->set_page_count(1);
    return world.Call(&v1::ViommuService::Stub::Invalidate, std::move(request)).status();
  };
}

std::vector<Case> Commands() {
  const auto unavailable = [] { return Unimplemented("COMMANDS_UNAVAILABLE").Field("commands"); };
  const Steps changed =
      Guest("nested") + Steps{Attach("nested", "n"), Reads("nested", kGuestPage, 3), GuestMaps(3)};
  const auto flushes = [&](const char* name, const Invalidation& command) {
    return Accepted("10/5", name, changed, Give("v", {command}),
                    {Handled(1), Reads("nested", kGuestPage, 4)});
  };
  Invalidation asid = SmmuCommand(v1::ARM_SMMU_V3_OPCODE_TLBI_ASID);
  asid.set_asid(7);
  Invalidation any_asid = SmmuCommand(v1::ARM_SMMU_V3_OPCODE_TLBI_VAA);
  any_asid.set_address(kGuestPage);
  return {
      Refused("10/4", "commands of Arm to a NESTED domain, not its Viommu", Guest("nested"),
              InvalidateAsArm("n"), unavailable()),
      Refused("10/4", "commands of VT-d to a NESTED domain behind an SMMUv3", Guest("nested"),
              Invalidate("n", {{0, 1}}), unavailable()),
      Refused("10/5", "commands of VT-d to a Viommu", Guest("nested"), GiveVtd(), unavailable()),
      Accepted("10", "asking whether a Viommu takes any", Guest("nested"), Give("v", {}),
               {Handled(0)}),
      flushes("everything of the guest", All()),
      flushes("everything of an address space", asid),
      flushes("one page of an address space", Page(kGuestPage)),
      flushes("one page of all address spaces", any_asid),
      flushes("a range", Range(kGuestPage & ~(2 * kPage - 1))),
      Accepted("10/5", "what a device keeps, and its descriptors", Guest("nested"),
               Give("v", {OfStream(v1::ARM_SMMU_V3_OPCODE_ATC_INV, kFirstVirtualId),
                          OfStream(v1::ARM_SMMU_V3_OPCODE_CFGI_CD, kFirstVirtualId),
                          OfStream(v1::ARM_SMMU_V3_OPCODE_CFGI_CD_ALL, kFirstVirtualId)}),
               {Handled(3)}),
      Accepted("10/5", "commands change nothing that can be seen",
               Guest("nested") + Steps{Attach("nested", "n"), Remember()}, Give("v", {All()}),
               {NothingChanged()}),
  };
}

std::vector<Case> WrongCommands() {
  const auto refused = [](const char* name, const Invalidation& command, Refusal first_error,
                          const char* device = "nested") {
    return Accepted("10/5", name, Guest(device), Give("v", {All(), command, All()}),
                    {HandledUntil(1, std::move(first_error).Index(1))});
  };
  const auto invalid = [](const std::string& field) {
    return Invalid("INVALID_COMMAND", "EIO")
        .Field("commands.arm_smmu_v3.invalidations[1]." + field);
  };
  Invalidation with_stream = All(), with_range = Range(kGuestPage);
  with_stream.set_stream_id(1);
  with_range.mutable_range()->set_scale(32);
  Invalidation wide = Page(kGuestPage);
  wide.set_asid(0x10000);
  return {
      refused("no command", Invalidation(), invalid("opcode")),
      refused("a field that the command has not", with_stream, invalid("stream_id")),
      refused("an address that no page begins at", Page(kGuestPage + 0x800), invalid("address")),
      refused("an address space that no ASID names", wide, invalid("asid")),
      refused("a range of no scale", with_range, invalid("range.scale")),
      refused("a range, where the unit takes none", Range(kGuestPage), invalid("range"), "deep"),
      refused("a stream that no device is", OfStream(v1::ARM_SMMU_V3_OPCODE_ATC_INV, 99),
              Invalid("UNKNOWN_STREAM_ID", "EIO")
                  .Field("commands.arm_smmu_v3.invalidations[1].stream_id")
                  .Says("99")),
  };
}

}  // namespace

std::vector<Case> SmmuViommuCases() {
  std::vector<Case> all;
  for (auto* const part :
       {Making, Vdevices, EventQueues, HardwareQueues, Commands, WrongCommands}) {
    for (Case& row : part()) all.push_back(std::move(row));
  }
  return AllOnSmmuV3(std::move(all));
}

}  // namespace viommu::conformance
