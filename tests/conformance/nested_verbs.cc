#include "tests/conformance/nested_verbs.h"

#include <memory>
#include <utility>

#include "absl/time/time.h"
#include "clients/client/call_error.h"
#include "clients/client/client.h"
#include "tests/conformance/check.h"
#include "tests/conformance/requests.h"
#include "tests/conformance/verbs.h"
#include "tests/conformance/viommu_verbs.h"
#include "viommu/v1/host.grpc.pb.h"
#include "viommu/v1/simulation.grpc.pb.h"
#include "viommu/v1/viommu.grpc.pb.h"
#include "viommu/v1/watch.grpc.pb.h"

namespace viommu::conformance {
namespace {

constexpr int kTables = 4;                 // Levels of a guest's tables.
constexpr uint64_t kFirstTable = 0x10000;  // Offset in "r".
// Of Arm guests only, behind the tables.
constexpr uint64_t kDescriptor = kFirstTable + kTables * kPage;

// What entries say besides an address.
struct EntryBits {
  uint64_t branch;
  uint64_t leaf;
};
constexpr EntryBits kX86 = {0x27, 0x67};  // Present, writable, for users, accessed; dirty, too.
constexpr EntryBits kArm = {0x3,
                            0xf43};  // A table; a page: for users, shared, accessed, not global.

const EntryBits& BitsOn(const World& world) {
  return world.architecture() == Architecture::kVtd ? kX86 : kArm;
}

absl::Status Write(World& world, uint64_t offset, uint64_t entry) {
  if (!world.simulated()) return absl::OkStatus();
  auto request = Named<v1::WriteMemoryRequest>(World::Region("r"));
  request.set_offset(offset);
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(entry >> (8 * i)));
  request.set_data(std::move(bytes));
  return world.Call(&v1::SimulationService::Stub::WriteMemory, std::move(request)).status();
}

// The guest's tables but for their leaf: one of each level, each in a page of its own.
Step Branches() {
  return [](World& world) {
    absl::Status status;
    for (int i = 0; i + 1 < kTables; ++i) {
      status.Update(Write(world, kFirstTable + i * kPage,
                          (kGuestTables + (i + 1) * kPage) | BitsOn(world).branch));
    }
    return status;
  };
}

// The context descriptor of an Arm guest (Arm IHI 0070 5.4): valid, of 64-bit tables of 48 bits in
// pages of 4 KiB, ASID 7; faults are recorded and abort.
Step Descriptor() {
  return [](World& world) -> absl::Status {
    if (world.architecture() != Architecture::kSmmuV3) return absl::OkStatus();
    constexpr uint64_t kWalk = 16 | 1 << 8 | 1 << 10 | 3 << 12;         // T0SZ, cacheable, shared.
    constexpr uint64_t kValid = uint64_t{1} << 31 | uint64_t{1} << 30;  // No second table.
    constexpr uint64_t kKind = uint64_t{5} << 32 | uint64_t{1} << 41;   // 48 bits out, AArch64.
    constexpr uint64_t kFaults = uint64_t{7} << 45;  // Recorded, aborted; a private ASID.
    absl::Status status =
        Write(world, kDescriptor, kWalk | kValid | kKind | kFaults | uint64_t{7} << 48);
    status.Update(Write(world, kDescriptor + 8, kGuestTables));
    status.Update(Write(world, kDescriptor + 24, 0xff));  // Attribute 0 of memory: write-back.
    return status;
  };
}

// On VT-d for PASIDs, too: there they can be on a guest's stage.
Step NewGuestParent(const std::string& id, const std::string& ioas, const std::string& device) {
  return [=](World& world) {
    const bool pasid = world.architecture() == Architecture::kVtd;
    return NewPaging(id, ioas, device, {/*nest_parent=*/true, pasid})(world);
  };
}

absl::Status DoInvalidate(World& world, v1::InvalidateRequest request) {
  const auto response = world.Call(&v1::ViommuService::Stub::Invalidate, std::move(request));
  if (response.ok()) world.invalidated = *response;
  return response.status();
}

}  // namespace

// ---- PAGING domains with flags ----

Step NewPaging(const std::string& id, const std::string& ioas, const std::string& device,
               const Flags& flags) {
  v1::Domain domain;
  v1::PagingDomain& paging = *domain.mutable_paging();
  paging.set_ioas(World::Ioas(ioas));
  paging.set_device(device);
  paging.set_nest_parent(flags.nest_parent);
  paging.set_pasid(flags.pasid);
  paging.set_dirty_tracking(flags.dirty_tracking);
  paging.set_fault_queue(flags.fault_queue);
  return SendNewDomain(id, domain);
}

Step NewParent(const std::string& id, const std::string& ioas, const std::string& device) {
  return NewPaging(id, ioas, device, {/*nest_parent=*/true});
}

// ---- NESTED domains ----

v1::Domain NestedOn(const std::string& parent, const std::string& device, const Stage1& stage1) {
  v1::Domain domain;
  v1::NestedDomain& nested = *domain.mutable_nested();
  nested.set_parent(World::Domain(parent));
  nested.set_device(device);
  nested.set_pasid(stage1.pasid);
  v1::VtdStage1& vtd = *nested.mutable_vtd();
  vtd.set_table_address(stage1.table_address);
  vtd.set_address_width_bits(stage1.address_width_bits);
  vtd.set_supervisor_requests(stage1.supervisor_requests);
  vtd.set_write_protect(stage1.write_protect);
  vtd.set_extended_accessed(stage1.extended_accessed);
  return domain;
}

Step NewNested(const std::string& id, const std::string& parent, const std::string& device,
               const Stage1& stage1) {
  return [=](World& world) {
    if (world.architecture() == Architecture::kVtd) {
      return SendNewDomain(id, NestedOn(parent, device, stage1))(world);
    }
    const uint64_t descriptor = stage1.table_address + (kDescriptor - kFirstTable);
    return NewGuestStage(id, "v", device, Translating(descriptor))(world);
  };
}

Step MakeRoomForGuest(const std::string& parent, const std::string& device) {
  return [=](World& world) -> absl::Status {
    if (world.architecture() == Architecture::kVtd) return absl::OkStatus();
    absl::Status made = NewViommu("v", device, parent)(world);
    return made.ok() ? NewVdevice("v", device, kFirstVirtualId)(world) : made;
  };
}

Step Introduce(const std::string& device, uint64_t virtual_id) {
  return [=](World& world) -> absl::Status {
    if (world.architecture() == Architecture::kVtd) return absl::OkStatus();
    return NewVdevice("v", device, virtual_id)(world);
  };
}

std::vector<Step> Guest(const std::string& device, const Stage1& stage1) {
  return {NewRegion("r"),
          NewIoas("a"),
          Map("a", {At(kGuestMemory, kMiB)}),
          Claim(device),
          NewGuestParent("p", "a", device),
          MakeRoomForGuest("p", device),
          NewNested("n", "p", device, stage1),
          Branches(),
          Descriptor(),
          GuestMaps(2)};
}

Step GuestMaps(int page) {
  return [=](World& world) {
    const uint64_t slot = 8 * (kGuestPage / kPage);
    return Write(world, kFirstTable + (kTables - 1) * kPage + slot,
                 (kGuestMemory + page * kPage) | BitsOn(world).leaf);
  };
}

// ---- Invalidation ----

Step Invalidate(const std::string& domain, const std::vector<Command>& commands) {
  auto request = Named<v1::InvalidateRequest>(World::Domain(domain));
  if (!commands.empty()) request.mutable_commands()->mutable_vtd();
  for (const Command& command : commands) {
    v1::VtdStage1Invalidation& added =
        *request.mutable_commands()->mutable_vtd()->add_invalidations();
    added.set_address(command.address);
    added.set_page_count(command.page_count);
    added.set_leaves_only(command.leaves_only);
  }
  return [=](World& world) { return DoInvalidate(world, request); };
}

Step InvalidateAsArm(const std::string& domain) {
  auto request = Named<v1::InvalidateRequest>(World::Domain(domain));
  request.mutable_commands()->mutable_arm_smmu_v3()->add_invalidations()->set_opcode(
      v1::ARM_SMMU_V3_OPCODE_TLBI_ALL);
  return [=](World& world) { return DoInvalidate(world, request); };
}

Step Handled(uint64_t commands) {
  return [=](World& world) {
    const v1::InvalidateResponse& answer = world.invalidated;
    return Expect(answer.handled() == commands && !answer.has_first_error(),
                  answer.ShortDebugString());
  };
}

Step HandledUntil(uint64_t commands, const Refusal& first_error) {
  return [=](World& world) -> absl::Status {
    const v1::InvalidateResponse& answer = world.invalidated;
    if (answer.handled() != commands || !answer.has_first_error()) {
      return Expect(false, answer.ShortDebugString());
    }
    const std::string problems = CompareRefusal(first_error, ToStatus(answer.first_error()));
    return Expect(problems.empty(), problems);
  };
}

// ---- Watches ----

Step Watch(const v1::WatchRequest& request) {
  return [=](World& world) {
    v1::WatchRequest once = request;
    once.set_until_sync(true);
    grpc::ClientContext context;
    Client::SetDeadline(&context, absl::Seconds(20));
    const auto reader = world.client().Of<v1::WatchService>().Watch(&context, once);
    v1::WatchResponse response;
    while (reader->Read(&response)) {
    }
    return ToStatus(reader->Finish());
  };
}

Step Resume(int64_t above) {
  return [=](World& world) -> absl::Status {
    const auto host = world.Call(&v1::HostService::Stub::GetHost, v1::GetHostRequest());
    if (!host.ok()) return host.status();
    v1::WatchRequest request;
    request.mutable_resume()->set_boot_id(host->boot_id());
    request.mutable_resume()->set_revision(host->revision() + above);
    return Watch(request)(world);
  };
}

}  // namespace viommu::conformance
