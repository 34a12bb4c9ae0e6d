#include "tests/property/world.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/backend/soft/soft_backend_inl.h"
#include "engine/base/status_macros.h"

namespace viommu::property {
namespace {

constexpr int kDevices = 6;
constexpr int kIoases = 3;
constexpr int kDomains = 4;
constexpr int kRegions = 3;
constexpr uint64_t k2M = uint64_t{2} << 20;
constexpr uint64_t kRegionBytes = 4 * k2M;
constexpr IovaRange kMsiWindow{0xfee00000, 0xfeefffff};
constexpr size_t kEyes = 6;

// Where page-table edges are: the start, table and leaf borders, the interrupt window, the ends of
// the two apertures and of the address space.
constexpr Iova kPlaces[] = {0x0,        0x1f8000,          0x3fff8000,     0xfedfc000,
                            0xfeefc000, 0x7fffff8000,      0xffffffffc000, 0x1fffffffffff000,
                            0x40000000, 0xfffffffffffff000};

Topology SmallHost() {
  Topology host;
  host.iommus.resize(2);
  host.iommus[0].id = "near";
  host.iommus[1].id = "far";
  host.iommus[1].levels_5 = true;
  host.iommus[1].guest_address_width_bits = 57;
  const struct {
    const char* iommu;
    const char* group;
  } kSeats[kDevices] = {{"near", "a"}, {"near", "pair"}, {"near", "pair"},
                        {"far", "b"},  {"far", "c"},     {"near", "fixed"}};
  for (int i = 0; i < kDevices; ++i) {
    DeviceSpec device;
    device.pci_address = absl::StrFormat("0000:%02x:00.0", i + 1);
    device.id = device.pci_address;
    device.iommu = kSeats[i].iommu;
    device.group = kSeats[i].group;
    device.ats = i % 2 == 0;  // Alone, one of a pair, and one that begins untranslated.
    device.reserved_regions = {{kMsiWindow, ReservedRegionType::kMsi}};
    host.devices.push_back(device);
  }
  host.devices[4].allow_identity = true;
  host.devices[4].default_domain = DefaultDomainType::kIdentity;
  host.devices[5].reserved_regions.push_back(
      {IovaRange{0x7f000000, 0x7f00ffff}, ReservedRegionType::kDirect});
  return host;
}

std::string DeviceId(int device) { return absl::StrFormat("0000:%02x:00.0", device + 1); }

ObjectRef Named(const char* kind, int number) { return {absl::StrCat(kind, number), std::nullopt}; }

}  // namespace

World::World(uint64_t seed) : random_(seed) {
  doing_ = "setting up";
  const absl::Status status = SetUp();
  if (!status.ok()) Trouble(status.ToString());
}

absl::Status World::SetUp() {
  observer_ = [this](const uint64_t*, size_t) {
    if (watching_) LookOut();
  };
  const Topology host = SmallHost();
  SoftBackendOptions options;
  options.table_arena_bytes = uint64_t{64} << 20;
  ASSIGN_OR_RETURN(backend_,
                   SoftBackendT<ObservedStore>::Create(host, options, ObservedStore(&observer_)));
  ASSIGN_OR_RETURN(engine_, Engine::Create({"property"}, backend_.get(), &journal_, RealEnv()));
  me_.is_operator = true;
  reference_ = std::make_unique<Reference>(host, kIoases, kDomains);
  for (int i = 0; i < kRegions; ++i) {
    ASSIGN_OR_RETURN(
        const MemoryRegionView region,
        engine_->CreateMemoryRegion(me_, absl::StrCat("r", i), kRegionBytes, std::nullopt));
    region_base_.push_back(backend_->simulation()->PhysicalAddress(region.object.uid, 0)->value);
  }
  for (int i = 0; i < kIoases; ++i) {
    RETURN_IF_ERROR(engine_->CreateIoas(me_, absl::StrCat("as", i)).status());
  }
  return absl::OkStatus();
}

void World::Trouble(const std::string& what) {
  if (trouble_.empty()) trouble_ = absl::StrCat("step ", tally_.steps, " ", doing_, ": ", what);
}

Iova World::RandomIova() {
  const Iova place = kPlaces[Random(std::size(kPlaces))];
  return place + kPage * Random(place > kMaxAddress - 16 * kPage ? 1 : 16);
}

ObjectRef World::Target(int number) const {
  if (number == Reference::kToBlocked) return {"blocked", std::nullopt};
  if (number == Reference::kToIdentity) return {"identity", std::nullopt};
  return Named("d", number);
}

hardware::Request World::RequestOf(int device, Iova iova, bool write) const {
  hardware::Request request;
  request.source_id = backend_->machine().source_id_of(device);
  request.address = iova;
  request.write = write;
  return request;
}

uint64_t World::Physical(const View& view) const {
  return view.region < 0 ? view.offset : region_base_[view.region] + view.offset;
}

bool World::Same(const View& expected, const hardware::Translation& seen) const {
  if (expected.fault != seen.fault_reason) return false;
  return expected.fault != 0 || Physical(expected) == seen.physical.value;
}

void World::OpenEyes(const std::vector<Iova>& pages) {
  eyes_.clear();
  while (eyes_.size() < kEyes) {
    Eye eye{};
    eye.device = static_cast<int>(Random(kDevices));
    eye.iova = pages.empty() || Random(4) == 0 ? RandomIova() : pages[Random(pages.size())];
    eye.write = Random(2) == 0;
    // Requests into the interrupt window are no memory accesses.
    if (kMsiWindow.Contains(eye.iova)) eye.iova = kPage;
    eye.before = reference_->Look(eye.device, eye.iova, eye.write);
    eyes_.push_back(eye);
    // A stale translation can only be used if it was cached.
    const_cast<SoftMachine&>(backend_->machine())
        .unit_of(eye.device)
        .hardware()
        .Translate(RequestOf(eye.device, eye.iova, eye.write));
  }
}

void World::LookOut() {
  ++tally_.stores_watched;
  for (const Eye& eye : eyes_) {
    ++tally_.looks;
    const hardware::Translation seen = backend_->machine()
                                           .unit_of(eye.device)
                                           .hardware()
                                           .Probe(RequestOf(eye.device, eye.iova, eye.write));
    if (Same(eye.before, seen) || Same(eye.after, seen)) continue;
    Trouble(absl::StrFormat(
        "after a store device %d at 0x%x (write %d) sees fault 0x%x, physical "
        "0x%x; before: fault 0x%x, 0x%x; after: fault 0x%x, 0x%x",
        eye.device, eye.iova, eye.write, seen.fault_reason, seen.physical.value, eye.before.fault,
        Physical(eye.before), eye.after.fault, Physical(eye.after)));
  }
}

void World::CheckThroughCaches() {
  for (const Eye& eye : eyes_) {
    ++tally_.dma_checks;
    const hardware::Translation seen = const_cast<SoftMachine&>(backend_->machine())
                                           .unit_of(eye.device)
                                           .hardware()
                                           .Translate(RequestOf(eye.device, eye.iova, eye.write));
    const View expected = reference_->Look(eye.device, eye.iova, eye.write);
    if (Same(expected, seen)) continue;
    Trouble(
        absl::StrFormat("device %d at 0x%x (write %d) sees fault 0x%x, physical 0x%x; expected "
                        "fault 0x%x, physical 0x%x",
                        eye.device, eye.iova, eye.write, seen.fault_reason, seen.physical.value,
                        expected.fault, Physical(expected)));
  }
}

template <typename OnReference, typename OnEngine>
void World::Both(const std::string& what, const std::vector<Iova>& pages,
                 OnReference&& on_reference, OnEngine&& on_engine) {
  doing_ = what;
  OpenEyes(pages);
  const bool expected = on_reference();
  for (Eye& eye : eyes_) eye.after = reference_->Look(eye.device, eye.iova, eye.write);
  watching_ = true;
  const absl::Status got = on_engine();
  watching_ = false;
  if (got.ok() != expected) {
    Trouble(absl::StrCat("the reference ", expected ? "accepts" : "refuses", ", the engine says ",
                         got.ToString()));
  }
  ++(got.ok() ? tally_.verbs_done : tally_.verbs_refused);
  CheckThroughCaches();
}

void World::MapVerb() {
  const int ioas = static_cast<int>(Random(kIoases));
  RefArea area;
  area.region = static_cast<int>(Random(kRegions));
  area.size = Random(8) == 0 ? k2M : kPage * (1 + Random(12));
  area.offset = area.size == k2M ? k2M * Random(4) : kPage * Random(512);
  area.permission = static_cast<int>(1 + Random(3));
  std::optional<Iova> iova;
  if (Random(4) != 0) iova = area.size == k2M ? k2M * Random(600) : RandomIova();
  if (!iova.has_value()) iova = reference_->Choose(ioas, area.size, area.offset);
  const bool chosen = Random(4) == 0 && iova == reference_->Choose(ioas, area.size, area.offset);
  MapBatch batch;
  batch.regions = {Named("r", area.region)};
  batch.entries = {{chosen ? std::nullopt : iova, area.offset, area.size, 0,
                    static_cast<Permission>(area.permission)}};
  Both(
      absl::StrCat("map as", ioas, " ", Hex(*iova), "+", Hex(area.size), chosen ? " chosen" : ""),
      {*iova, *iova + (area.size - kPage), *iova - kPage},
      [&] { return reference_->MapAt(ioas, *iova, area); },
      [&]() -> absl::Status {
        const auto answer = engine_->Map(me_, Named("as", ioas), batch);
        if (answer.ok() && answer->iovas[0] != *iova) {
          Trouble(absl::StrCat("chose ", Hex(answer->iovas[0]), ", not ", Hex(*iova)));
        }
        return answer.status();
      });
}

void World::UnmapVerb() {
  const int ioas = static_cast<int>(Random(kIoases));
  const auto& areas = reference_->ioases()[ioas].areas;
  Iova iova = RandomIova();
  uint64_t size = kPage * (1 + Random(32));
  if (!areas.empty() && Random(4) != 0) {  // Mostly something that is there.
    const auto it = std::next(areas.begin(), static_cast<ptrdiff_t>(Random(areas.size())));
    iova = it->first;
    size = it->second.size;
    if (Random(8) == 0) size += kPage * Random(64);
    if (Random(16) == 0 && size > kPage) size -= kPage;
  }
  if (iova > kMaxAddress - (size - 1)) size = kPage;
  std::optional<uint64_t> bytes;
  Both(
      absl::StrCat("unmap as", ioas, " ", Hex(iova), "+", Hex(size)), {iova, iova + (size - kPage)},
      [&] {
        bytes = reference_->Unmap(ioas, iova, size);
        return bytes.has_value();
      },
      [&]() -> absl::Status {
        UnmapBatch batch;
        batch.entries = {{iova, size}};
        const auto answer = engine_->Unmap(me_, Named("as", ioas), batch);
        if (answer.ok() && answer->unmapped_bytes != bytes) Trouble("wrong count of bytes");
        return answer.status();
      });
}

void World::AttachVerb() {
  const int device = static_cast<int>(Random(kDevices));
  const int target = static_cast<int>(Random(kDomains + 2)) - 2;
  std::vector<Iova> pages;
  for (const RefIoas& ioas : reference_->ioases()) {
    if (!ioas.areas.empty()) {
      pages.push_back(
          std::next(ioas.areas.begin(), static_cast<ptrdiff_t>(Random(ioas.areas.size())))->first);
    }
  }
  switch (Random(4)) {
    case 0:
      return Both(
          absl::StrCat("attach ", device, " to ", target), pages,
          [&] { return reference_->Attach(device, target); },
          [&] { return engine_->AttachDevice(me_, DeviceId(device), Target(target)).status(); });
    case 1:
      return Both(
          absl::StrCat("detach ", device), pages, [&] { return reference_->Detach(device); },
          [&] { return engine_->DetachDevice(me_, DeviceId(device)).status(); });
    default:
      return Both(
          absl::StrCat("replace ", device, " to ", target), pages,
          [&] { return reference_->Replace(device, target); },
          [&] {
            return engine_->ReplaceAttachment(me_, DeviceId(device), Target(target)).status();
          });
  }
}

void World::DomainVerb() {
  const int domain = static_cast<int>(Random(kDomains));
  if (Random(2) == 0) {
    return Both(
        absl::StrCat("destroy d", domain), {}, [&] { return reference_->DestroyDomain(domain); },
        [&] { return engine_->DeleteDomain(me_, Named("d", domain), ""); });
  }
  const int ioas = static_cast<int>(Random(kIoases));
  const int device = static_cast<int>(Random(kDevices));
  Both(
      absl::StrCat("create d", domain, " over as", ioas, " for ", device), {},
      [&] { return reference_->CreateDomain(domain, ioas, device); },
      [&] {
        return engine_
            ->CreateDomain(me_, absl::StrCat("d", domain),
                           PagingDomainRequest{Named("as", ioas), DeviceId(device)})
            .status();
      });
}

void World::ClaimVerb() {
  const int device = static_cast<int>(Random(kDevices));
  if (Random(3) != 0) {
    return Both(
        absl::StrCat("claim ", device), {}, [&] { return reference_->Claim(device); },
        [&] { return engine_->ClaimDevice(me_, DeviceId(device), "").status(); });
  }
  Both(
      absl::StrCat("release ", device), {}, [&] { return reference_->Release(device); },
      [&] { return engine_->ReleaseDevice(me_, DeviceId(device), "").status(); });
}

// A device writes a word and reads it back; memory shows it where the reference says.
void World::DmaStep() {
  const int device = static_cast<int>(Random(kDevices));
  Iova iova = RandomIova();
  const RefIoas& ioas = reference_->ioases()[Random(kIoases)];
  if (!ioas.areas.empty()) {
    const auto it =
        std::next(ioas.areas.begin(), static_cast<ptrdiff_t>(Random(ioas.areas.size())));
    iova = it->first + kPage * Random(it->second.size / kPage);
  }
  if (kMsiWindow.Contains(iova)) return;
  const bool write = Random(2) == 0;
  doing_ = absl::StrCat(write ? "write" : "read", " of ", device, " at ", Hex(iova));
  const View expected = reference_->Look(device, iova, write);
  // Nothing answers at most physical addresses, and some are page tables: leave identity alone.
  if (expected.fault == 0 && expected.region < 0) return;
  ++tally_.dma_checks;
  const uint64_t word = random_();
  uint64_t bytes = word;
  const ObjectRef region = Named("r", std::max(expected.region, 0));
  uint64_t memory = 0;
  const absl::Span<char> data(reinterpret_cast<char*>(&bytes), sizeof(bytes));
  const absl::Span<char> behind(reinterpret_cast<char*>(&memory), sizeof(memory));
  const auto outcome = engine_->Dma(me_, DeviceId(device), iova, write, data);
  if (!outcome.ok()) return Trouble(outcome.status().ToString());
  if (outcome->fault.has_value() != (expected.fault != 0)) {
    return Trouble(outcome->fault ? outcome->fault->description : "reached memory");
  }
  if (expected.fault != 0) {
    if (outcome->fault->code != expected.fault) Trouble(outcome->fault->description);
    return;
  }
  engine_->ReadMemory(me_, region, expected.offset, behind).IgnoreError();
  if (memory != bytes || (write && memory != word)) Trouble("other bytes than the region's");
}

void World::RandomVerb() {
  switch (Random(16)) {
    case 0:
    case 1:
      return AttachVerb();
    case 2:
      return DomainVerb();
    case 3:
      return ClaimVerb();
    case 4:
    case 5:
    case 6:
    case 7:
      return UnmapVerb();
    case 8:
    case 9:
    case 10:
    case 11:
      return MapVerb();
    default:
      return DmaStep();
  }
}

bool World::Step() {
  ++tally_.steps;
  RandomVerb();
  return trouble_.empty();
}

bool World::CompareAll() {
  doing_ = "compare everything";
  for (int i = 0; i < kIoases; ++i) {
    const auto page =
        engine_->ListMappings(me_, Named("as", i), {0, kMaxAddress}, {kMaxPageSize, ""});
    const auto& areas = reference_->ioases()[i].areas;
    if (!page.ok() || page->items.size() != areas.size()) {
      Trouble(absl::StrCat("as", i, " lists another number of mappings"));
      break;
    }
    auto it = areas.begin();
    for (const MappingView& mapping : page->items) {
      if (mapping.range != IovaRange{it->first, it->first + (it->second.size - 1)} ||
          mapping.offset_bytes != it->second.offset ||
          static_cast<int>(mapping.permission) != it->second.permission) {
        Trouble(absl::StrCat("as", i, " lists ", ToString(mapping.range)));
      }
      ++it;
    }
  }
  for (int device = 0; device < kDevices; ++device) {
    const auto view = engine_->GetDevice(me_, DeviceId(device));
    if (!view.ok() || view->attached != reference_->attached(device) ||
        (view->ownership == DeviceOwnership::kClaimed) != reference_->GroupOf(device).claimed()) {
      Trouble(absl::StrCat("device ", device, " is shown otherwise"));
    }
  }
  return trouble_.empty();
}

}  // namespace viommu::property
