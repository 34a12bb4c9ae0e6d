#include "tests/differential/world.h"

#include <algorithm>
#include <functional>

#include "absl/strings/str_cat.h"
#include "engine/backend/fake/fake_backend.h"
#include "tests/differential/show.h"
#include "tests/differential/verbs.h"

namespace viommu::differential {
namespace {

constexpr size_t kStepsToRepeat = 16;
constexpr size_t kSmallPage = 3;  // So that listings have several.

template <typename T>
void SortOut(std::vector<T>& values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
}

// Everything that a listing shows, page by page; empty after an error.
template <typename T>
std::vector<T> ReadAll(const std::function<absl::StatusOr<Page<T>>(const PageRequest&)>& list) {
  std::vector<T> all;
  PageRequest request{kSmallPage, ""};
  do {
    absl::StatusOr<Page<T>> page = list(request);
    if (!page.ok()) return {};
    all.insert(all.end(), page->items.begin(), page->items.end());
    request.cursor = page->next_cursor;
  } while (!request.cursor.empty());
  return all;
}

bool MaySee(const CallContext& viewer, const Name& name) {
  return viewer.is_operator || viewer.principal == name.owner;
}

}  // namespace

World::World(const Setting& setting)
    : setting_(setting),
      hardware_{setting.backend, MachineTopology(setting.backend)},
      backend_(MakeBackend(setting.backend, hardware_.topology)),
      state_(&hardware_, MachineLimits(setting.variant), setting.wrong) {
  Engine::Options options;
  options.version = "differential";
  options.owner_limits = state_.limits;
  options.flush_queue.ring_entries = kFlushQueueEntries;  // Time stands still: no timer flushes.
  auto engine = Engine::Create(options, backend_.get(), &journal_, &env_);
  if (engine.ok()) engine_ = *std::move(engine);
}

CallContext World::ContextOf(Caller caller) const {
  CallContext context;
  context.principal = PrincipalOf(caller);
  context.is_operator = caller == Caller::kRoot;
  return context;
}

Step World::Invent(Dice& dice) {
  if (!asked_.empty() && dice.OneIn(40)) return dice.Any(asked_);
  const Verb& verb = InventVerb(dice);
  Step step;
  step.syntax = &verb.syntax;
  step.caller = static_cast<Caller>(dice.Below(kCallers));
  step.arguments = verb.invent(dice, state_, step.caller);
  if (verb.bare) return step;
  step.validate_only = dice.OneIn(16);
  step.late = dice.OneIn(200);
  if (!dice.OneIn(6)) return step;
  step.request = ++last_request_;
  if (!asked_.empty() && dice.OneIn(8)) step.request = dice.Any(asked_).request;
  if (asked_.size() == kStepsToRepeat) asked_.erase(asked_.begin());
  asked_.push_back(step);
  return step;
}

Answer World::Expect(const Verb& verb, const Call& call) {
  const Step& step = call.step;
  if (verb.at_the_door != nullptr) REFUSE_UNLESS(verb.at_the_door(call));
  const bool remembers = step.request != 0 && !step.validate_only;
  if (remembers) {
    if (const std::optional<Answer> first = requests_.Look(step)) return *first;
  }
  if (step.late) return TooLate("DEADLINE_EXCEEDED");
  if (step.validate_only) {
    State would_be = state_;
    return verb.refer(call, would_be);
  }
  Answer answer = verb.refer(call, state_);
  if (remembers && answer.ok()) requests_.Succeeded(step, answer);
  return answer;
}

std::string World::Do(const Step& step) {
  const Verb& verb = VerbOf(step);
  trouble_.clear();
  state_.touched = {};
  state_.changed = false;
  state_.stirred = false;
  Call call{step, ContextOf(step.caller), latest_, "", setting_.in_words};
  call.context.validate_only = step.validate_only;
  if (step.late) call.context.deadline = absl::UnixEpoch();
  if (step.request != 0) {
    call.context.request_id = absl::StrCat("request-", step.request);
    call.context.request_digest = Digest(step);
  }
  const Answer engine = verb.ask(call, *engine_);
  call.made_up = engine.made_up;
  const Answer reference = Expect(verb, call);
  if (engine != reference) {
    Differ(absl::StrCat("the answer\n  engine:    ", ToString(engine),
                        "\n  reference: ", ToString(reference)));
    return trouble_;
  }
  ++(engine.ok() ? done_ : refused_);
  if (engine.ok()) ++verbs_[verb.syntax.name];
  if (!engine.ok()) ++reasons_[engine.reason];
  if (state_.changed && !engine.made_up.empty()) latest_ = engine.made_up;
  const uint64_t revision = engine_->GetHost().revision;
  if (state_.changed != (revision > revision_)) {
    Differ(absl::StrCat("the host's revision went from ", revision_, " to ", revision));
  }
  revision_ = revision;
  LearnPlaces();
  if (state_.changed || state_.stirred) Compare(state_.touched);
  return trouble_;
}

void World::LearnPlaces() {
  for (const Name& name : state_.touched.regions) {
    const auto it = state_.regions.find(name);
    if (it == state_.regions.end() || it->second.physical != 0) continue;
    const auto view = engine_->GetMemoryRegion(ContextOf(Caller::kRoot), {name.id, name.owner});
    if (!view.ok()) continue;
    const auto place = backend_->simulation()->PhysicalAddress(view->object.uid, 0);
    if (place.ok()) it->second.physical = place->value;
  }
}

void World::Differ(const std::string& what) {
  if (trouble_.empty()) trouble_ = what;
}

void World::CompareSheets(const std::string& what, const Sheet& engine, const Sheet& reference) {
  if (engine == reference) return;
  Differ(absl::StrCat(what, "\n  engine:   ", engine.words(), "\n  reference:", reference.words()));
}

bool World::BothHave(const std::string& what, const absl::Status& engine, bool reference) {
  if (engine.ok() != reference) {
    Differ(absl::StrCat(what, " is there\n  engine:    ", engine.ok() ? "yes" : "no",
                        "\n  reference: ", reference ? "yes" : "no"));
  }
  return engine.ok() && reference;
}

void World::CompareVersion(Kind kind, const Name& name, const Version& now) {
  const auto [it, added] = versions_.try_emplace({kind, name}, now);
  Version& before = it->second;
  const bool same = before.version == now.version;
  const bool same_shown = before.etag == now.etag && before.revision == now.revision;
  const bool later = before.etag != now.etag && before.revision < now.revision;
  if (same ? !same_shown : !later) {
    Differ(absl::StrCat(same ? "nothing changed" : "something changed", " for the etag of ",
                        name.owner, " ", name.id, ": etag ", before.etag, " at revision ",
                        before.revision, " before, ", now.etag, " at ", now.revision, " now"));
  }
  before = now;
}

void World::CompareRegion(const Name& name) {
  const auto it = state_.regions.find(name);
  const auto view = engine_->GetMemoryRegion(ContextOf(Caller::kRoot), {name.id, name.owner});
  const std::string what = Shown("memoryRegions", name, "");
  if (!BothHave(what, view.status(), it != state_.regions.end())) {
    versions_.erase({Kind::kRegion, name});
    return;
  }
  Sheet engine(setting_.in_words), reference(setting_.in_words);
  Show(engine, *view);
  ShowRegion(reference, state_, name);
  CompareSheets(what, engine, reference);
  CompareVersion(Kind::kRegion, name,
                 {it->second.version, view->object.etag, view->object.revision});
}

void World::CompareSpace(const Name& name) {
  const CallContext root = ContextOf(Caller::kRoot);
  const ObjectRef ref{name.id, name.owner};
  const auto it = state_.spaces.find(name);
  const auto view = engine_->GetIoas(root, ref);
  const std::string what = Shown("ioas", name, "");
  if (!BothHave(what, view.status(), it != state_.spaces.end())) {
    versions_.erase({Kind::kSpace, name});
    versions_.erase({Kind::kMappings, name});
    return;
  }
  Sheet engine(setting_.in_words), reference(setting_.in_words);
  Show(engine, *view);
  ShowSpace(reference, state_, name, root.principal);
  const auto mappings = engine_->ListMappings(root, ref, {0, kMaxAddress}, {kMaxPageSize, ""});
  if (mappings.ok()) Show(engine, mappings->items);
  ShowMappings(reference, state_, name, root.principal);
  const auto usable = engine_->ListIovaRanges(root, ref);
  if (usable.ok()) Show(engine, *usable);
  std::vector<IovaRange> holes = state_.Usable(name);
  Show(reference, holes);
  CompareSheets(what, engine, reference);
  CompareVersion(Kind::kSpace, name,
                 {it->second.version, view->object.etag, view->object.revision});
  CompareVersion(
      Kind::kMappings, name,
      {it->second.mapping_version, absl::StrCat(view->mapping_revision), view->mapping_revision});
}

void World::CompareDomain(const Name& name) {
  const CallContext root = ContextOf(Caller::kRoot);
  const auto it = state_.domains.find(name);
  const auto view = engine_->GetDomain(root, {name.id, name.owner});
  const std::string what = Shown("domains", name, "");
  if (!BothHave(what, view.status(), it != state_.domains.end())) {
    versions_.erase({Kind::kDomain, name});
    return;
  }
  Sheet engine(setting_.in_words), reference(setting_.in_words);
  Show(engine, *view);
  ShowDomain(reference, state_, name, root.principal);
  CompareSheets(what, engine, reference);
  CompareVersion(Kind::kDomain, name,
                 {it->second.version, view->object.etag, view->object.revision});
}

void World::CompareDevice(size_t device) {
  const CallContext root = ContextOf(Caller::kRoot);
  const auto view = engine_->GetDevice(root, Call::DeviceId(device));
  const std::string what = absl::StrCat("devices/dev", device);
  if (!BothHave(what, view.status(), state_.devices[device].present)) {
    versions_.erase({Kind::kDevice, {"", what}});
    return;
  }
  Sheet engine(setting_.in_words), reference(setting_.in_words);
  Show(engine, *view);
  ShowDevice(reference, state_, device, root);
  PutPlaces(device, root, engine, reference);
  const auto told = engine_->ListPageResponses(root, Call::DeviceId(device));
  if (told.ok()) Show(engine, hardware_, *told);
  ShowTold(reference, state_, device);
  CompareSheets(what, engine, reference);
  CompareVersion(Kind::kDevice, {"", what},
                 {state_.devices[device].version, view->etag, view->revision});
}

void World::PutPlaces(size_t device, const CallContext& viewer, Sheet& engine, Sheet& reference) {
  const std::string id = Call::DeviceId(device);
  for (const auto& attachment : ReadAll<AttachmentView>(
           [&](const PageRequest& page) { return engine_->ListAttachments(viewer, id, page); })) {
    Show(engine, attachment);
  }
  for (const auto& taken : ReadAll<PasidView>(
           [&](const PageRequest& page) { return engine_->ListPasids(viewer, id, page); })) {
    Show(engine, taken);
  }
  const Isolation& group = state_.GroupOf(device);
  if (!viewer.is_operator && group.claimed_by != viewer.principal) return;
  for (const Spot at : state_.devices[device].attached) {
    ShowAttachment(reference, state_, device, at, viewer.principal);
  }
  for (const auto& [pasid, taken] : group.pasids) {
    ShowPasid(reference, state_, device, pasid, viewer.principal);
  }
}

void World::Compare(const Touched& touched) {
  Touched all = touched;
  SortOut(all.regions);
  SortOut(all.spaces);
  SortOut(all.domains);
  SortOut(all.devices);
  SortOut(all.queues);
  SortOut(all.viommus);
  SortOut(all.vdevices);
  SortOut(all.event_queues);
  for (const Name& name : all.regions) CompareRegion(name);
  for (const Name& name : all.spaces) CompareSpace(name);
  for (const Name& name : all.domains) CompareDomain(name);
  for (const size_t device : all.devices) CompareDevice(device);
  for (const Name& name : all.queues) CompareQueue(name);
  for (const Name& name : all.viommus) CompareViommu(name);
  for (const Name& name : all.vdevices) CompareVdevice(name);
  for (const Name& name : all.event_queues) CompareEventQueue(name);
  const CallContext root = ContextOf(Caller::kRoot);
  Sheet engine(setting_.in_words), reference(setting_.in_words);
  Show(engine, engine_->ListUsage(root));
  ShowUsage(reference, state_, root);
  CompareSheets("usage", engine, reference);
}

void World::CompareListings(const CallContext& viewer) {
  const std::string& me = viewer.principal;
  Sheet engine(setting_.in_words), reference(setting_.in_words);
  for (const auto& region : ReadAll<MemoryRegionView>(
           [&](const PageRequest& page) { return engine_->ListMemoryRegions(viewer, page); })) {
    Show(engine, region);
  }
  for (const auto& [name, region] : state_.regions) {
    if (MaySee(viewer, name)) ShowRegion(reference, state_, name);
  }
  for (const auto& space : ReadAll<IoasView>(
           [&](const PageRequest& page) { return engine_->ListIoas(viewer, page); })) {
    Show(engine, space);
  }
  for (const auto& [name, space] : state_.spaces) {
    if (MaySee(viewer, name)) ShowSpace(reference, state_, name, me);
  }
  for (const auto& domain : ReadAll<DomainView>(
           [&](const PageRequest& page) { return engine_->ListDomains(viewer, page); })) {
    Show(engine, domain);
  }
  ShowStaticDomain(reference, state_, Target::Kind::kBlocked, viewer);
  ShowStaticDomain(reference, state_, Target::Kind::kIdentity, viewer);
  for (const auto& [name, domain] : state_.domains) {
    if (MaySee(viewer, name)) ShowDomain(reference, state_, name, me);
  }
  for (const auto& device : ReadAll<DeviceView>(
           [&](const PageRequest& page) { return engine_->ListDevices(viewer, page); })) {
    Show(engine, device);
  }
  for (size_t device = 0; device < state_.devices.size(); ++device) {
    if (state_.devices[device].present) ShowDevice(reference, state_, device, viewer);
  }
  for (size_t device = 0; device < state_.devices.size(); ++device) {
    if (state_.devices[device].present) PutPlaces(device, viewer, engine, reference);
  }
  for (const auto& attachment : ReadAll<AttachmentView>(
           [&](const PageRequest& page) { return engine_->ListAttachments(viewer, "", page); })) {
    Show(engine, attachment);
  }
  for (size_t device = 0; device < state_.devices.size(); ++device) {
    const bool may_see = viewer.is_operator || state_.GroupOf(device).claimed_by == me;
    for (const Spot at : state_.devices[device].attached) {
      if (may_see) ShowAttachment(reference, state_, device, at, me);
    }
  }
  ListGuests(viewer, engine, reference);
  Show(engine, engine_->ListUsage(viewer));
  ShowUsage(reference, state_, viewer);
  CompareSheets(absl::StrCat("what is listed for ", me), engine, reference);
}

void World::CompareNumbers() {
  const EngineStats stats = engine_->Stats();
  Sheet engine(setting_.in_words), reference(setting_.in_words);
  for (const auto& [kind, count] : stats.objects) engine.Put(kind, count);
  const auto present = std::count_if(state_.devices.begin(), state_.devices.end(),
                                     [](const Function& device) { return device.present; });
  reference.Put("memory_region", state_.regions.size());
  reference.Put("ioas", state_.spaces.size());
  reference.Put("domain", state_.domains.size());
  reference.Put("fault_queue", state_.queues.size());
  reference.Put("viommu", state_.viommus.size());
  reference.Put("vdevice", state_.vdevices.size());
  reference.Put("event_queue", state_.event_queues.size());
  reference.Put("hardware_queue", 0);  // No verb makes any.
  reference.Put("device", present);
  reference.Put("iommu", hardware_.topology.iommus.size());
  uint64_t mappings = 0, claimed = 0, attached = 0, waiting = 0;
  for (const auto& [name, space] : state_.spaces) mappings += space.areas.size();
  for (size_t device = 0; device < state_.devices.size(); ++device) {
    const bool held = !state_.GroupOf(device).claimed_by.empty();
    claimed += state_.devices[device].present && held ? 1 : 0;
    attached += state_.devices[device].attached.empty() ? 0 : 1;
  }
  engine.Put("mappings", stats.mappings);
  reference.Put("mappings", mappings);
  engine.Put("claimed", stats.claimed_devices);
  reference.Put("claimed", claimed);
  engine.Put("attached", stats.attached_devices);
  reference.Put("attached", attached);
  for (const Isolation& group : state_.groups) waiting += group.waiting.size();
  engine.Put("waiting", stats.flush_queues.waiting);
  reference.Put("waiting", waiting);
  uint64_t groups = 0;
  for (const auto& [name, queue] : state_.queues) groups += queue.waiting.size();
  engine.Put("groups", stats.page_faults.waiting);
  reference.Put("groups", groups);
  engine.Put("remembered", stats.remembered_requests);
  reference.Put("remembered", requests_.size());
  CompareSheets("the numbers of the host", engine, reference);
}

std::string World::CompareAll() {
  trouble_.clear();
  Touched all;
  for (const auto& [name, region] : state_.regions) all.regions.push_back(name);
  for (const auto& [name, space] : state_.spaces) all.spaces.push_back(name);
  for (const auto& [name, domain] : state_.domains) all.domains.push_back(name);
  for (const auto& [name, queue] : state_.queues) all.queues.push_back(name);
  for (const auto& [name, viommu] : state_.viommus) all.viommus.push_back(name);
  for (const auto& [name, vdevice] : state_.vdevices) all.vdevices.push_back(name);
  for (const auto& [name, queue] : state_.event_queues) all.event_queues.push_back(name);
  for (size_t device = 0; device < state_.devices.size(); ++device) all.devices.push_back(device);
  Compare(all);
  for (int i = 0; i < kCallers; ++i) CompareListings(ContextOf(static_cast<Caller>(i)));
  CompareNumbers();
  if (const auto* const fake = dynamic_cast<const FakeBackend*>(backend_.get())) {
    for (const std::string& breach : fake->breaches()) Differ("the backend was told: " + breach);
  }
  return trouble_;
}

}  // namespace viommu::differential
