// The looks of the world: cold after every store, and through caches that were filled before.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "engine/backend/soft/soft_backend_inl.h"
#include "tests/property/small_host.h"
#include "tests/property/world.h"

namespace viommu::property {
namespace {

constexpr size_t kEyes = 5;

bool IsBlocked(uint8_t fault) { return fault == kBlocked || fault == kNoPasidTable; }

std::string Describe(const View& view) {
  return view.fault != 0 ? absl::StrFormat("fault 0x%x", view.fault)
                         : absl::StrFormat("region %d at 0x%x", view.region, view.offset);
}

absl::Span<char> BytesOf(uint64_t* word) { return {reinterpret_cast<char*>(word), sizeof(*word)}; }

}  // namespace

hardware::VtdModel& World::HardwareOf(int device) {
  return backend_->machine().unit_of(device).hardware();
}

hardware::Request World::RequestOf(const Eye& eye) const {
  hardware::Request request;
  request.source_id = backend_->machine().source_id_of(eye.who.device);
  if (eye.who.pasid != kRid) request.pasid = eye.who.pasid;
  if (eye.says_zero) request.pasid = 0;
  request.address = eye.iova;
  request.write = eye.write;
  return request;
}

uint64_t World::Physical(const View& view) const {
  return view.region < 0 ? view.offset : region_base_[view.region] + view.offset;
}

bool World::SameFault(const Eye& eye, uint8_t expected, uint8_t seen) const {
  if (expected == kSomeFault) return seen != 0 && !IsBlocked(seen) && seen != kNoPasids;
  if (expected == kBlocked && eye.who.pasid != kRid) return IsBlocked(seen);
  return expected == seen;
}

bool World::Same(const Eye& eye, const View& expected, const hardware::Translation& seen) const {
  if (!SameFault(eye, expected.fault, seen.fault_reason)) return false;
  return expected.fault != 0 || Physical(expected) == seen.physical.value;
}

Iova World::WhereToLook(const Requester& who, const std::vector<Iova>& pages) {
  const RefDomain* const domain = reference_->DomainAt(who);
  Iova iova = pages.empty() || Random(4) == 0 ? RandomIova() : pages[Random(pages.size())];
  if (domain != nullptr && domain->nested()) {
    if (Random(8) != 0) iova = RandomGuestIova();
  } else if (domain != nullptr && (pages.empty() || Random(4) == 0)) {
    iova = MappedIova(domain->ioas).value_or(iova);
  }
  // Requests into the interrupt window are no memory accesses.
  return kMsiWindow.Contains(iova) ? kPage : iova;
}

void World::OpenEyes(const std::vector<Iova>& pages, std::optional<int> device) {
  eyes_.clear();
  while (eyes_.size() < kEyes) {
    Eye eye{};
    eye.who = RandomRequester();
    // Who the verb is about is looked at above all, and first.
    if (device.has_value() && (eyes_.empty() || Random(2) == 0)) eye.who.device = *device;
    if (eyes_.empty()) eye.who.pasid = kRid;
    eye.iova = WhereToLook(eye.who, pages);
    eye.write = Random(2) == 0;
    const bool issues_pasids = backend_->topology().devices[eye.who.device].pasid_bits > 0;
    eye.says_zero = eye.who.pasid == kRid && issues_pasids && Random(4) == 0;
    eyes_.push_back(eye);
    FillCaches(eye);
  }
}

// A stale translation can only be used if it was cached: by the unit, and by the device.
void World::FillCaches(const Eye& eye) {
  hardware::Request request = RequestOf(eye);
  HardwareOf(eye.who.device).Translate(request);
  request.write = false;
  request.address = eye.iova + kTagOffset;
  uint64_t word = 0;
  HardwareOf(eye.who.device).Access(request, BytesOf(&word));
}

bool World::MayBeBlocked(const Eye& eye, const hardware::Translation& seen) {
  if (!IsBlocked(seen.fault_reason)) return false;
  ++tally_.looks_blocked;
  if (resetting_ != eye.who.device) seen_blocked_ = true;
  return true;
}

void World::LookOut() {
  ++tally_.stores_watched;
  for (const Eye& eye : eyes_) {
    ++tally_.looks;
    const hardware::Translation seen = HardwareOf(eye.who.device).Probe(RequestOf(eye));
    if (Same(eye, eye.before, seen) || Same(eye, eye.after, seen)) continue;
    if (MayBeBlocked(eye, seen)) continue;
    Trouble(absl::StrFormat(
        "after a store device %d pasid %d at 0x%x (write %d) sees fault 0x%x, physical 0x%x; "
        "before: %s; after: %s",
        eye.who.device, eye.who.pasid, eye.iova, eye.write, seen.fault_reason, seen.physical.value,
        Describe(eye.before), Describe(eye.after)));
  }
  // What is flushed may be asked for again before the change is done.
  if (Random(2) == 0) FillCaches(eyes_[Random(eyes_.size())]);
}

bool World::ReadsTag(const Eye& eye, const hardware::VtdModel::Outcome& outcome, uint64_t word,
                     const View& view) const {
  if (!SameFault(eye, view.fault, outcome.fault_reason)) return false;
  if (view.fault != 0) return true;
  if (view.region >= 0) return word == TagOf(Physical(view));
  // Under identity anything but the page of a region elsewhere.
  return word >> 52 != kTagMark >> 52 || word == TagOf(view.offset);
}

bool World::Meets(const Eye& eye, const std::vector<View>& views, std::string* what) {
  hardware::VtdModel& hardware = HardwareOf(eye.who.device);
  hardware::Request request = RequestOf(eye);
  const hardware::Translation seen = hardware.Translate(request);
  *what = absl::StrFormat("fault 0x%x, physical 0x%x", seen.fault_reason, seen.physical.value);
  const auto is_seen = [&](const View& view) { return Same(eye, view, seen); };
  if (std::none_of(views.begin(), views.end(), is_seen)) return false;
  const bool untouchable = std::any_of(views.begin(), views.end(), [](const View& view) {
    return view.fault == 0 && view.region < 0;  // Page tables may be there.
  });
  if (eye.write && untouchable) return true;
  uint64_t word = random_() & ~uint64_t{1};
  const uint64_t written = word;
  request.address = eye.iova + (eye.write ? kScratchOffset : kTagOffset);
  if (!eye.write) word = 0;
  const auto outcome = hardware.Access(request, BytesOf(&word));
  absl::StrAppendFormat(what, "; accessed: fault 0x%x, word 0x%x", outcome.fault_reason, word);
  return std::any_of(views.begin(), views.end(), [&](const View& view) {
    if (!eye.write) return ReadsTag(eye, outcome, word, view);
    if (!SameFault(eye, view.fault, outcome.fault_reason)) return false;
    if (view.fault != 0) return true;
    uint64_t there = 0;
    backend_->simulation()
        ->ReadMemory(region_uid_[view.region], view.offset + kScratchOffset, BytesOf(&there))
        .IgnoreError();
    return there == written;
  });
}

void World::Count(const Eye& eye, const std::vector<View>& views) {
  ++tally_.dma_checks;
  if (views.front().fault == 0) ++tally_.reached_memory;
  if (backend_->topology().devices[eye.who.device].ats) ++tally_.with_device_tlb;
  const RefDomain* const domain = reference_->DomainAt(eye.who);
  const char* kind = "static domains and the host's";
  if (domain != nullptr) {
    kind = domain->nested()      ? "nested"
           : domain->first_stage ? "first stage"
           : domain->nest_parent ? "nest parent"
                                 : "second stage";
  }
  ++tally_.dma_checks_by_kind[absl::StrCat(kind, eye.who.pasid == kRid ? "" : " by PASID")];
}

void World::CheckThroughCaches() {
  std::string what;
  for (const Eye& eye : eyes_) {
    const std::vector<View> views = reference_->LookThroughCaches(eye.who, eye.iova, eye.write);
    Count(eye, views);
    if (Meets(eye, views, &what)) continue;
    Trouble(absl::StrFormat("device %d pasid %d at 0x%x (write %d) sees %s; expected %s%s",
                            eye.who.device, eye.who.pasid, eye.iova, eye.write, what,
                            Describe(views.front()), views.size() > 1 ? " or a former one" : ""));
  }
}

}  // namespace viommu::property
