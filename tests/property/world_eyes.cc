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

std::string Describe(const View& view) {
  return view.ok() ? absl::StrFormat("region %d at 0x%x", view.region, view.offset)
                   : absl::StrFormat("fault %d", static_cast<int>(view.fault));
}

const char* KindOfNested(const RefDomain& domain) {
  switch (domain.entry) {
    case GuestEntry::kTranslate:
      return "nested";
    case GuestEntry::kBypass:
      return "nested, bypassed";
    case GuestEntry::kAbort:
      return "nested, aborted";
  }
  return "";
}

absl::Span<char> BytesOf(uint64_t* word) { return {reinterpret_cast<char*>(word), sizeof(*word)}; }

}  // namespace

DeviceEye::Request World::RequestOf(const Eye& eye) const {
  DeviceEye::Request request{eye.who.device, std::nullopt, eye.iova, eye.write};
  if (eye.who.pasid != kRid) request.pasid = eye.who.pasid;
  if (eye.says_zero) request.pasid = 0;
  return request;
}

uint64_t World::Physical(const View& view) const {
  return view.region < 0 ? view.offset : region_base_[view.region] + view.offset;
}

bool World::Same(const Eye& eye, const View& expected, const DeviceEye::Sight& seen) {
  if (!device_eye_->Means(RequestOf(eye), seen.code, expected.fault)) return false;
  return !expected.ok() || Physical(expected) == seen.physical;
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
    // Behind an SMMUv3 SSID 0 is no other name of requests without.
    const bool issues_pasids = !IsArm() && host_.topology.devices[eye.who.device].pasid_bits > 0;
    eye.says_zero = eye.who.pasid == kRid && issues_pasids && Random(4) == 0;
    eyes_.push_back(eye);
    FillCaches(eye);
  }
}

// A stale translation can only be used if it was cached: by the unit, and by the device.
void World::FillCaches(const Eye& eye) {
  DeviceEye::Request request = RequestOf(eye);
  device_eye_->Translate(request);
  request.write = false;
  request.iova = eye.iova + kTagOffset;
  uint64_t word = 0;
  device_eye_->Access(request, BytesOf(&word));
}

bool World::MayBeBlocked(const Eye& eye, const DeviceEye::Sight& seen) {
  if (!device_eye_->IsBlocked(RequestOf(eye), seen.code)) return false;
  ++tally_.looks_blocked;
  if (resetting_ != eye.who.device) seen_blocked_ = true;
  return true;
}

void World::LookOut() {
  ++tally_.stores_watched;
  for (const Eye& eye : eyes_) {
    ++tally_.looks;
    const DeviceEye::Sight seen = device_eye_->Probe(RequestOf(eye));
    if (Same(eye, eye.before, seen) || Same(eye, eye.after, seen)) continue;
    if (MayBeBlocked(eye, seen)) continue;
    Trouble(
        absl::StrFormat("after a store device %s at 0x%x (write %d) sees %s; before: %s; after: %s",
                        InWords(eye.who), eye.iova, eye.write, InWords(seen), Describe(eye.before),
                        Describe(eye.after)));
  }
  // What is flushed may be asked for again before the change is done.
  if (Random(2) == 0) FillCaches(eyes_[Random(eyes_.size())]);
}

bool World::ReadsTag(const Eye& eye, uint16_t code, uint64_t word, const View& view) {
  if (!device_eye_->Means(RequestOf(eye), code, view.fault)) return false;
  if (!view.ok()) return true;
  if (view.region >= 0) return word == TagOf(Physical(view));
  // Under identity anything but the page of a region elsewhere.
  return word >> 52 != kTagMark >> 52 || word == TagOf(view.offset);
}

bool World::Meets(const Eye& eye, const std::vector<View>& views, std::string* what) {
  DeviceEye::Request request = RequestOf(eye);
  const DeviceEye::Sight seen = device_eye_->Translate(request);
  *what = InWords(seen);
  const auto is_seen = [&](const View& view) { return Same(eye, view, seen); };
  if (std::none_of(views.begin(), views.end(), is_seen)) return false;
  const bool untouchable = std::any_of(views.begin(), views.end(), [](const View& view) {
    return view.ok() && view.region < 0;  // Page tables may be there.
  });
  if (eye.write && untouchable) return true;
  uint64_t word = random_() & ~uint64_t{1};
  const uint64_t written = word;
  request.iova = eye.iova + (eye.write ? kScratchOffset : kTagOffset);
  if (!eye.write) word = 0;
  const uint16_t code = device_eye_->Access(request, BytesOf(&word));
  absl::StrAppendFormat(what, "; accessed: fault 0x%x, word 0x%x", code, word);
  return std::any_of(views.begin(), views.end(), [&](const View& view) {
    if (!eye.write) return ReadsTag(eye, code, word, view);
    if (!device_eye_->Means(request, code, view.fault)) return false;
    if (!view.ok()) return true;
    uint64_t there = 0;
    backend_->simulation()
        ->ReadMemory(region_uid_[view.region], view.offset + kScratchOffset, BytesOf(&there))
        .IgnoreError();
    return there == written;
  });
}

void World::Count(const Eye& eye, const std::vector<View>& views) {
  ++tally_.dma_checks;
  if (views.front().ok()) ++tally_.reached_memory;
  if (host_.topology.devices[eye.who.device].ats) ++tally_.with_device_tlb;
  const RefDomain* const domain = reference_->DomainAt(eye.who);
  const char* kind = "static domains and the host's";
  if (domain != nullptr) {
    kind = domain->nested()      ? KindOfNested(*domain)
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
    Trouble(absl::StrFormat("device %s at 0x%x (write %d) sees %s; expected %s%s", InWords(eye.who),
                            eye.iova, eye.write, what, Describe(views.front()),
                            views.size() > 1 ? " or a former one" : ""));
  }
}

}  // namespace viommu::property
