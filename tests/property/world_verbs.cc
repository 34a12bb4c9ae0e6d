// The verbs of the world: each once to the engine and once to the reference.
#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/backend/soft/soft_backend_inl.h"
#include "tests/property/small_host.h"
#include "tests/property/world.h"

namespace viommu::property {
namespace {

constexpr int kForFirstStages = 1;
constexpr int kForNestParents = 2;
constexpr size_t kMaxStaleWords = 4;  // Of one domain, before its guest tells of everything.

// Where page-table edges are: the start, table and leaf borders, the interrupt window, the ends of
// the apertures and of the address space.
constexpr Iova kPlaces[] = {0x0,        0x1f8000,         0x3fff8000,        0xfedfc000,
                            0xfeefc000, 0x7fffff8000,     0x7fffffffc000,    0xffffffffc000,
                            0x40000000, 0xffffffffffc000, 0x1fffffffffff000, 0xfffffffffffff000};

template <typename Container>
auto Nth(const Container& container, uint64_t n) {
  return std::next(container.begin(), static_cast<ptrdiff_t>(n));
}

int FirstTable(int level) {
  return static_cast<int>(std::find(std::begin(kTableLevels), std::end(kTableLevels), level) -
                          std::begin(kTableLevels));
}
int TablesOf(int level) {
  return static_cast<int>(std::count(std::begin(kTableLevels), std::end(kTableLevels), level));
}

std::optional<uint32_t> PasidOf(const Requester& who) {
  return who.pasid == kRid ? std::nullopt : std::make_optional(who.pasid);
}

}  // namespace

// ---- Choices ----

Iova World::RandomIova() {
  const Iova place = kPlaces[Random(std::size(kPlaces))];
  return place + kPage * Random(place > kMaxAddress - 16 * kPage ? 1 : 16);
}

Iova World::RandomGuestIova() {
  Iova iova = (kFirstSlot + Random(kLeafSlots)) << ShiftOf(1);
  for (int level = 2; level <= 4; ++level) iova |= (kFirstSlot + Random(kSlots)) << ShiftOf(level);
  return iova;
}

std::optional<Iova> World::MappedIova(int ioas) {
  const auto& areas = reference_->ioases()[ioas].areas;
  if (areas.empty()) return std::nullopt;
  const auto area = Nth(areas, Random(areas.size()));
  return area->first + kPage * Random(area->second.size / kPage);
}

// Mostly one that has stages and PASIDs.
int World::RandomDevice() {
  const uint64_t device = Random(kDevices);
  return static_cast<int>(Random(2) == 0 ? device : kFirstNesting + device % kNesting);
}

Requester World::RandomRequester() {
  Requester who{RandomDevice(), kRid};
  if (Random(IsArm() ? 4 : 2) == 0) who.pasid = host_.pasids[Random(host_.pasids.size())];
  return who;
}

RefTarget World::RandomTarget(const Requester& who) {
  switch (Random(12)) {
    case 0:
      return {Place::kBlocked, -1};
    case 1:
      return {Place::kIdentity, -1};
    case 2:
      return {Place::kIoas, static_cast<int>(Random(kIoases))};
  }
  RefTarget target{Place::kDomain, 0};
  for (int tries = 0; tries < 8; ++tries) {  // Mostly one that can be used.
    target.number = static_cast<int>(Random(kDomains));
    if (reference_->CanUse(who.device, target.number)) break;
  }
  return target;
}

int World::RandomNestParent() {
  const int first = static_cast<int>(Random(kDomains));
  for (int i = 0; i < kDomains; ++i) {
    const auto found = reference_->domains().find((first + i) % kDomains);
    if (found != reference_->domains().end() && found->second.nest_parent) return found->first;
  }
  return kDomains;
}

int World::RandomNested() {
  const int first = static_cast<int>(Random(kDomains));
  for (int i = 0; i < kDomains; ++i) {
    const auto found = reference_->domains().find((first + i) % kDomains);
    if (found != reference_->domains().end() && found->second.nested()) return found->first;
  }
  return kDomains;
}

// Mostly one that the Viommu can serve.
int World::RandomDeviceOn(int viommu) {
  const auto found = reference_->viommus().find(viommu);
  int device = RandomDevice();
  for (int tries = 0; tries < 8 && found != reference_->viommus().end(); ++tries) {
    if (host_.topology.devices[device].iommu == found->second.iommu) break;
    device = RandomDevice();
  }
  return device;
}

int World::RandomViommu() {
  const auto& viommus = reference_->viommus();
  return viommus.empty() ? kViommus : Nth(viommus, Random(viommus.size()))->first;
}

AttachTarget World::Named(const RefTarget& target) const {
  if (target.place == Place::kBlocked) return ObjectRef{"blocked", std::nullopt};
  if (target.place == Place::kIdentity) return ObjectRef{"identity", std::nullopt};
  if (target.place == Place::kIoas) return AttachTarget::OfIoas(NameOf("as", target.number));
  return NameOf("d", target.number);
}

// ---- Both sides ----

void World::Both(const char* kind, const std::string& what, const std::vector<Iova>& pages,
                 std::optional<int> device, absl::FunctionRef<bool()> on_reference,
                 absl::FunctionRef<absl::Status()> on_engine) {
  doing_ = absl::StrCat(kind, " ", what);
  if (!std::exchange(keeps_eyes_, false)) OpenEyes(pages, device);
  for (Eye& eye : eyes_) eye.before = reference_->Look(eye.who, eye.iova, eye.write);
  const bool expected = on_reference();
  for (Eye& eye : eyes_) eye.after = reference_->Look(eye.who, eye.iova, eye.write);
  hitless_ = true;
  seen_blocked_ = false;
  watching_ = true;
  const absl::Status got = on_engine();
  watching_ = false;
  if (got.ok() != expected) {
    Trouble(absl::StrCat("the reference ", expected ? "accepts" : "refuses", ", the engine says ",
                         got.ToString()));
  }
  if (seen_blocked_ && hitless_) Trouble("DMA was dropped in a change that was to be hitless");
  ++(got.ok() ? tally_.verbs_done : tally_.verbs_refused);
  if (got.ok()) ++tally_.done[kind];
  CheckThroughCaches();
}

// A change of domains, some after a dry run, which must say the same and store nothing.
template <typename Call>
absl::Status World::Switching(Call&& call) {
  std::optional<bool> planned;
  if (Random(8) == 0) {
    CallContext dry = me_;
    dry.validate_only = true;
    const uint64_t stores = tally_.stores_watched;
    const auto answer = call(dry);
    planned = answer.ok() && answer->transition.hitless;
    if (tally_.stores_watched != stores) Trouble("a dry run stored something");
  }
  const auto answer = call(me_);
  hitless_ = !answer.ok() || answer->transition.hitless;
  if (planned.has_value() && *planned != (answer.ok() && hitless_)) {
    Trouble("a dry run said otherwise");
  }
  return answer.status();
}

// ---- Mappings ----

void World::MapOne(int ioas, const RefArea& area, std::optional<Iova> iova, bool may_choose) {
  const std::optional<Iova> choice = reference_->Choose(ioas, area.size, area.offset);
  if (!iova.has_value()) iova = choice;
  // An Arm guest's descriptor stays where it was: who takes it away has to tell of it.
  const IovaRange tables{kTablesAt, kTablesAt + (kTablesBytes - 1)};
  const bool is_table = area.region == kTablesRegion;
  if (IsArm() && !is_table && tables.Overlaps({*iova, *iova + (area.size - 1)})) return;
  const bool chosen = may_choose && iova == choice;
  MapBatch batch;
  batch.regions = {NameOf("r", area.region)};
  batch.entries = {{chosen ? std::nullopt : iova, area.offset, area.size, 0,
                    static_cast<Permission>(area.permission)}};
  Both(
      "map",
      absl::StrCat("as", ioas, " ", Hex(*iova), "+", Hex(area.size), chosen ? " chosen" : ""),
      {*iova, *iova + (area.size - kPage), *iova - kPage}, std::nullopt,
      [&] { return reference_->MapAt(ioas, *iova, area); },
      [&]() -> absl::Status {
        const auto answer = engine_->Map(me_, NameOf("as", ioas), batch);
        if (answer.ok() && answer->iovas[0] != *iova) {
          Trouble(absl::StrCat("chose ", Hex(answer->iovas[0]), ", not ", Hex(*iova)));
        }
        return answer.status();
      });
}

void World::MapVerb() {
  const int ioas = static_cast<int>(Random(kIoases));
  RefArea area;
  area.region = static_cast<int>(Random(kRegions));
  area.size = Random(8) == 0 ? k2M : kPage * (1 + Random(12));
  area.offset = area.size == k2M ? k2M * Random(4) : kPage * Random(512);
  area.permission = Random(2) == 0 ? 3 : static_cast<int>(1 + Random(3));
  std::optional<Iova> iova;
  if (Random(4) != 0) iova = area.size == k2M ? k2M * Random(600) : RandomIova();
  // One Ioas holds mostly what first stages can, another what nest parents can.
  if (ioas == kForFirstStages && Random(64) != 0) {
    if (area.permission == 2) area.permission = 3;
    if (iova.has_value() && *iova >> 47 != 0) iova = kPage * Random(64);
  }
  if (ioas == kForNestParents && area.permission == 1 && Random(64) != 0) area.permission = 3;
  MapOne(ioas, area, iova, Random(4) == 0);
}

// Where a guest has its tables, wholly or in part.
void World::MapTablesVerb() {
  const int parent = RandomNestParent();
  if (parent == kDomains) return MapVerb();
  RefArea area;
  area.region = kTablesRegion;
  area.offset = kGuestBytes * Random(kGuests);
  area.size = kGuestBytes;
  if (Random(2) == 0) {
    area.offset += kPage * Random(kGuestPages);
    area.size = kPage;
  }
  if (Random(16) == 0) area.permission = 2;  // Then it can not be walked.
  MapOne(reference_->domains().at(parent).ioas, area, kTablesAt + area.offset, false);
}

void World::UnmapVerb() {
  const int ioas = static_cast<int>(Random(kIoases));
  const auto& areas = reference_->ioases()[ioas].areas;
  Iova iova = RandomIova();
  uint64_t size = kPage * (1 + Random(32));
  if (!areas.empty() && Random(4) != 0) {  // Mostly something that is there.
    const auto it = Nth(areas, Random(areas.size()));
    iova = it->first;
    size = it->second.size;
    if (Random(8) == 0) size += kPage * Random(64);
    if (Random(16) == 0 && size > kPage) size -= kPage;
  }
  if (iova > kMaxAddress - (size - 1)) size = kPage;
  std::optional<uint64_t> bytes;
  Both(
      "unmap", absl::StrCat("as", ioas, " ", Hex(iova), "+", Hex(size)),
      {iova, iova + (size - kPage)}, std::nullopt,
      [&] {
        bytes = reference_->Unmap(ioas, iova, size);
        return bytes.has_value();
      },
      [&]() -> absl::Status {
        UnmapBatch batch;
        batch.entries = {{iova, size}};
        const auto answer = engine_->Unmap(me_, NameOf("as", ioas), batch);
        if (answer.ok() && answer->unmapped_bytes != bytes) Trouble("wrong count of bytes");
        return answer.status();
      });
}

// ---- Guests ----

uint64_t World::RandomGuestWord(int ioas, int guest, int level) {
  GuestWord word;
  word.present = Random(16) != 0;
  word.writable = Random(4) != 0;
  word.accessed = Random(IsArm() ? 16 : 2) != 0;
  word.user = Random(16) != 0;
  word.leaf = level == 1 || (level == 2 && Random(4) == 0);
  if (word.leaf || Random(16) == 0) {
    Iova page = MappedIova(ioas).value_or(RandomIova());
    if (page >> kGuestAddressBits != 0) page = kTablesAt;
    word.address = page & -(uint64_t{1} << (word.leaf ? ShiftOf(level) : ShiftOf(1)));
  } else {
    const uint64_t table = FirstTable(level - 1) + Random(TablesOf(level - 1));
    word.address = kTablesAt + guest * kGuestBytes + table * kPage;
  }
  return EncodeGuestWord(architecture(), level, word);
}

// A guest rewrites a word of its tables, and mostly tells the IOMMU.
void World::GuestVerb() {
  const int nested = RandomNested();
  if (nested == kDomains) return DomainVerb();
  const RefDomain domain = reference_->domains().at(nested);
  const uint64_t page = Random(2) == 0 ? FirstTable(1) + Random(TablesOf(1)) : Random(kGuestPages);
  const int level = kTableLevels[page];
  const uint64_t slot = kFirstSlot + Random(level == 1 ? kLeafSlots : kSlots);
  const uint64_t offset = domain.guest * kGuestBytes + page * kPage + slot * 8;
  const uint64_t word = RandomGuestWord(domain.ioas, domain.guest, level);
  std::optional<int> device;
  for (int i = 0; i < kDevices; ++i) {
    if (reference_->Where({i, kRid}) == RefTarget{Place::kDomain, nested}) device = i;
  }
  Both(
      "guest write", absl::StrCat("of d", nested, " at ", Hex(offset), ": ", Hex(word)), {}, device,
      [&] {
        reference_->WriteGuest(offset, word);
        return true;
      },
      [&] {
        return engine_->WriteMemory(me_, NameOf("r", kTablesRegion), offset,
                                    {reinterpret_cast<const char*>(&word), sizeof(word)});
      });
  // What the write left behind in caches is where it was looked at.
  keeps_eyes_ = Random(4) != 0;
  if (keeps_eyes_) InvalidateVerb(nested, /*everything=*/false);
  for (int other = 0; other < kDomains; ++other) {
    if (reference_->StaleWords(other) > kMaxStaleWords) InvalidateVerb(other, /*everything=*/true);
  }
}

void World::InvalidateVerb(int domain, bool everything) {
  return IsArm() ? InvalidateSmmuVerb(domain, everything) : InvalidateVtdVerb(domain, everything);
}

void World::InvalidateVtdVerb(int domain, bool everything) {
  VtdStage1Invalidation command;
  command.address = everything ? 0 : RandomGuestIova();
  command.page_count = uint64_t{1} << 9 * Random(3);
  command.leaves_only = !everything && Random(4) == 0;
  if (everything || Random(2) == 0) {
    command.address = 0;
    command.page_count = VtdStage1Invalidation::kAllPages;
  }
  const bool all = command.page_count == VtdStage1Invalidation::kAllPages;
  const IovaRange range{command.address,
                        all ? kMaxAddress : command.address + (command.page_count * kPage - 1)};
  Both(
      "invalidate", absl::StrCat("d", domain, " ", ToString(range)), {}, std::nullopt,
      [&] { return reference_->Invalidate(domain, range, command.leaves_only); },
      [&]() -> absl::Status {
        const auto answer = engine_->Invalidate(me_, NameOf("d", domain),
                                                std::vector<VtdStage1Invalidation>{command});
        return answer.ok() ? answer->first_error : answer.status();
      });
}

// ---- Domains and attachments ----

void World::AttachVerb() {
  Requester who = RandomRequester();
  if (who.pasid != kRid && Random(64) == 0) who.pasid = host_.wide_pasid;
  const RefTarget target = RandomTarget(who);
  const std::string what =
      absl::StrCat(InWords(who), " to ", static_cast<int>(target.place), "/", target.number);
  const bool attached = reference_->attached(who);
  switch (Random(8)) {
    case 0:
      return Both(
          "detach", InWords(who), {}, who.device, [&] { return reference_->Detach(who); },
          [&] {
            return Switching([&](const CallContext& context) {
              return engine_->DetachDevice(context, DeviceId(who.device), PasidOf(who));
            });
          });
    case 1:
      break;
    default:
      if (!attached) break;
      return Both(
          "replace", what, {}, who.device, [&] { return reference_->Replace(who, target); },
          [&] {
            return Switching([&](const CallContext& context) {
              return engine_->ReplaceAttachment(context, DeviceId(who.device), Named(target),
                                                PasidOf(who));
            });
          });
  }
  Both(
      "attach", what, {}, who.device, [&] { return reference_->Attach(who, target); },
      [&] {
        return Switching([&](const CallContext& context) {
          return engine_->AttachDevice(context, DeviceId(who.device), Named(target), PasidOf(who));
        });
      });
}

void World::CreateDomainVerb(int number) {
  RefDomainRequest request;
  request.ioas = static_cast<int>(Random(kIoases));
  request.device = RandomDevice();
  request.pasid = Random(2) == 0;
  request.viommu = IsArm() && Random(2) == 0 ? RandomViommu() : -1;
  DomainRequest asked;
  if (request.viommu >= 0 && Random(16) != 0) request.device = RandomDeviceOn(request.viommu);
  const std::string device = DeviceId(request.device);
  if (request.viommu >= 0 || Random(IsArm() ? 32 : 2) == 0) {
    request.guest = static_cast<int>(Random(kGuests));
    NestedDomainRequest nested{{}, device};
    if (request.viommu >= 0) {
      request.pasid = Random(32) == 0;
      nested.viommu = NameOf("v", request.viommu);
      nested.stage1 = GuestEntryOf(&request);
    } else {
      request.parent = Random(16) == 0 ? static_cast<int>(Random(kDomains)) : RandomNestParent();
      nested.parent = NameOf("d", request.parent);
      VtdStage1 stage1;
      stage1.table_address = kTablesAt + request.guest * kGuestBytes;
      nested.stage1 = stage1;
    }
    nested.pasid = request.pasid;
    asked = nested;
  } else {
    request.nest_parent = Random(3) == 0;
    if (Random(2) == 0) request.ioas = request.nest_parent ? kForNestParents : kForFirstStages;
    PagingDomainRequest paging{NameOf("as", request.ioas), device};
    paging.nest_parent = request.nest_parent;
    // Of an SMMUv3 no nest parent can.
    if (IsArm() && request.nest_parent && Random(16) != 0) request.pasid = false;
    paging.pasid = request.pasid;
    asked = paging;
  }
  Both(
      "create domain", absl::StrCat("d", number, " for ", request.device, " on ", request.parent),
      {}, std::nullopt, [&] { return reference_->CreateDomain(number, request); },
      [&] { return engine_->CreateDomain(me_, absl::StrCat("d", number), asked).status(); });
}

void World::DomainVerb() {
  if (IsArm() && Random(2) == 0) return ViommuVerb();
  const int number = static_cast<int>(Random(kDomains));
  if (reference_->domains().count(number) == 0 || Random(16) == 0) return CreateDomainVerb(number);
  Both(
      "destroy domain", absl::StrCat("d", number), {}, std::nullopt,
      [&] { return reference_->DestroyDomain(number); },
      [&] { return engine_->DeleteDomain(me_, NameOf("d", number), ""); });
}

// ---- Devices ----

void World::ClaimVerb() {
  const int device = RandomDevice();
  if (Random(8) != 0) {
    return Both(
        "claim", absl::StrCat(device), {}, device, [&] { return reference_->Claim(device); },
        [&] { return engine_->ClaimDevice(me_, DeviceId(device), "").status(); });
  }
  Both(
      "release", absl::StrCat(device), {}, device, [&] { return reference_->Release(device); },
      [&] { return engine_->ReleaseDevice(me_, DeviceId(device), "").status(); });
}

void World::ResetVerb() {
  const int device = static_cast<int>(Random(kDevices));
  const uint64_t blocked = tally_.looks_blocked;
  resetting_ = device;
  Both(
      "reset", absl::StrCat(device), {}, device, [&] { return reference_->Reset(device); },
      [&] { return engine_->ResetDevice(me_, DeviceId(device)).status(); });
  resetting_.reset();
  // The first eye is on the device's RID.
  if (eyes_.front().before.fault != Fault::kBlocked && tally_.looks_blocked == blocked) {
    Trouble("the device was never blocked");
  }
}

void World::PlugVerb() {
  const int device = static_cast<int>(Random(kDevices));
  if (!reference_->present(device)) {
    return Both(
        "plug", absl::StrCat(device), {}, device, [&] { return reference_->Plug(device); },
        [&] { return engine_->PlugDevice(me_, DeviceId(device)).status(); });
  }
  if (Random(8) != 0) return;
  Both(
      "unplug", absl::StrCat(device), {}, device, [&] { return reference_->Unplug(device); },
      [&] { return engine_->UnplugDevice(me_, DeviceId(device)); });
}

// A device writes a word and reads it back; memory shows it where the reference says.
void World::DmaStep() {
  const Requester who = RandomRequester();
  const auto& spec = host_.topology.devices[who.device];
  if (!reference_->present(who.device) || who.pasid >> spec.pasid_bits != 0) return;
  const RefDomain* const domain = reference_->DomainAt(who);
  const Iova iova = domain != nullptr && domain->nested()
                        ? RandomGuestIova()
                        : MappedIova(domain != nullptr ? domain->ioas : 0).value_or(RandomIova());
  if (kMsiWindow.Contains(iova)) return;
  const bool write = Random(2) == 0;
  doing_ = absl::StrCat(write ? "write" : "read", " of ", InWords(who), " at ", Hex(iova));
  const std::vector<View> views = reference_->LookThroughCaches(who, iova, write);
  const View& expected = views.front();
  if (views.size() > 1) return;
  // Nothing answers at most physical addresses, and some are page tables: leave identity alone, and
  // guests' tables as well.
  if (expected.ok() && (expected.region < 0 || expected.region == kTablesRegion)) return;
  const Eye eye{who, iova, write, false, {}, {}};
  Count(eye, views);
  const uint64_t word = random_() & ~uint64_t{1};  // To a guest's walk it is not present.
  uint64_t bytes = word;
  const ObjectRef region = NameOf("r", std::max(expected.region, 0));
  uint64_t memory = 0;
  const absl::Span<char> data(reinterpret_cast<char*>(&bytes), sizeof(bytes));
  const absl::Span<char> behind(reinterpret_cast<char*>(&memory), sizeof(memory));
  const auto outcome = engine_->Dma(me_, DeviceId(who.device), iova, write, data, PasidOf(who));
  if (!outcome.ok()) return Trouble(outcome.status().ToString());
  if (outcome->fault.has_value() != (!expected.ok())) {
    return Trouble(outcome->fault ? outcome->fault->description : "reached memory");
  }
  if (!expected.ok()) {
    const uint16_t code = device_eye_->CodeOf(who.device, *outcome->fault);
    if (!device_eye_->Means(RequestOf(eye), code, expected.fault)) {
      Trouble(outcome->fault->description);
    }
    return;
  }
  engine_->ReadMemory(me_, region, expected.offset, behind).IgnoreError();
  if (memory != bytes || (write && memory != word)) Trouble("other bytes than the region's");
}

void World::RandomVerb() {
  const uint64_t verb = Random(32);
  if (verb < 6) return AttachVerb();
  if (verb < 8) return DomainVerb();
  if (verb < 9) return ClaimVerb();
  if (verb < 10) return Random(2) == 0 ? ResetVerb() : PlugVerb();
  if (verb < 12) return GuestVerb();
  if (verb < 14) return MapTablesVerb();
  if (verb < 19) return MapVerb();
  if (verb < 24) return UnmapVerb();
  DmaStep();
}

}  // namespace viommu::property
