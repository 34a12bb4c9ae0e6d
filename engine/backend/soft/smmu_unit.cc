#include "engine/backend/soft/smmu_unit.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/backend/soft/smmu_capability.h"
#include "engine/backend/soft/smmu_registers.h"
#include "engine/base/errors.h"

namespace viommu {
namespace {

constexpr uint16_t kFirstTag = 1;  // VMID 0 is that of first stages; ASID 0 is nobody's.

}  // namespace

absl::StatusOr<std::unique_ptr<SmmuUnit>> SmmuUnit::Create(const IommuSpec& spec,
                                                           absl::Span<const Requester> requesters,
                                                           PhysicalMemory* memory,
                                                           TableArena* arena) {
  std::unique_ptr<SmmuUnit> unit(new SmmuUnit(spec, memory, arena));
  RETURN_IF_ERROR(unit->SetUp(requesters));
  return unit;
}

SmmuUnit::SmmuUnit(const IommuSpec& spec, PhysicalMemory* memory, TableArena* arena)
    : spec_(spec),
      arena_(*arena),
      hardware_(std::make_unique<hardware::SmmuModel>(smmu::HardwareSpecOf(spec), memory)),
      asids_(spec.smmu_v3.asid_bits, kFirstTag),
      vmids_(spec.smmu_v3.vmid_bits, kFirstTag) {}

absl::Status SmmuUnit::SetUp(absl::Span<const Requester> requesters) {
  absl::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(stream_table_, SmmuStreamTable::Create(spec_.smmu_v3, &arena_));
  for (const Requester& requester : requesters) {
    RETURN_IF_ERROR(AddStream(requester));
  }
  hardware_->Write32(smmu::kTableAttributesRegister, smmu::kTableAttributesCached);
  hardware_->Write32(smmu::kControl2Register, smmu::kControl2RecordBadStreams);
  hardware_->Write64(smmu::kStreamTableRegister, stream_table_->base());
  hardware_->Write32(smmu::kStreamTableConfigRegister, stream_table_->config());
  ASSIGN_OR_RETURN(queue_, SmmuCommandQueue::Create(hardware_.get(), &arena_));
  ASSIGN_OR_RETURN(events_, SmmuEventQueue::Create(hardware_.get(), &arena_));
  if (spec_.smmu_v3.pri) {
    ASSIGN_OR_RETURN(page_requests_,
                     SmmuPageRequestQueue::Create(hardware_.get(), queue_.get(), &arena_));
  }
  return FlushEverything();  // Whatever was cached before the reset.
}

absl::Status SmmuUnit::AddStream(const Requester& requester) {
  const uint32_t id = requester.stream_id;
  RETURN_IF_ERROR(stream_table_->AddStream(id));
  SmmuStream stream;
  stream.id = id;
  stream.pasid_bits = requester.pasid_bits;
  stream.device_tlb = requester.device_tlb;
  stream.stalls = requester.stalls;
  stream.page_requests = requester.page_requests;
  // The unit reads none of it yet. What its entries say of page requests never changes (PPAR).
  const smmu::Ste ste = smmu::SteFor(spec_, stream);
  std::copy(ste.begin(), ste.end(), stream_table_->Words(id));
  streams_.emplace(id, std::move(stream));
  return absl::OkStatus();
}

absl::Status SmmuUnit::EnableTranslation() {
  return SetControl(smmu::kControlEnable | (spec_.smmu_v3.ats ? smmu::kControlCheckAts : 0));
}

absl::Status SmmuUnit::SetControl(uint32_t bits) {
  const uint32_t control = hardware_->Read32(smmu::kControlRegister) | bits;
  hardware_->Write32(smmu::kControlRegister, control);
  if ((hardware_->Read32(smmu::kControlAckRegister) & control) == control) {
    return absl::OkStatus();
  }
  return Error(absl::StatusCode::kInternal, "HARDWARE_ERROR",
               absl::StrCat("iommu ", spec_.id, " does not follow CR0 = ", Hex(control)))
      .Errno("ETIMEDOUT");
}

smmu::Ste SmmuUnit::SteOf(uint32_t stream_id) const {
  absl::MutexLock lock(&mutex_);
  return stream_table_->Read(stream_id);
}

smmu::Cd SmmuUnit::CdOf(uint32_t stream_id, uint32_t pasid) const {
  absl::MutexLock lock(&mutex_);
  const SmmuStream& stream = streams_.at(stream_id);
  return stream.cds == nullptr ? smmu::Cd{} : stream.cds->Read(pasid);
}

bool SmmuUnit::IsNested(uint32_t stream_id) const {
  absl::MutexLock lock(&mutex_);
  return streams_.at(stream_id).At(kRidPasid).kind == TranslationKind::kNested;
}

// ---- Requests that wait ----

std::vector<smmu::Event> SmmuUnit::TakeStalls() {
  return events_->TakeStalls([](const smmu::Event&) { return true; });
}

absl::Status SmmuUnit::Resume(uint32_t stream_id, uint16_t stall_tag, smmu::ResumeAction action) {
  return queue_->Submit({smmu::Resume(stream_id, stall_tag, action)});
}

void SmmuUnit::AnswerUntaken(const SmmuStream& stream, uint32_t pasid, const UnitTranslation& old) {
  // With its entry goes all that a guest had, what its descriptors hold as well.
  const bool every_ssid = pasid == kRidPasid && old.kind == TranslationKind::kNested;
  AnswerUntakenAt(stream, every_ssid ? std::nullopt : std::make_optional(pasid));
}

void SmmuUnit::AnswerUntakenAt(const SmmuStream& stream, std::optional<uint32_t> pasid) {
  const auto goes = [&](const auto& asked) {
    return !pasid.has_value() || asked.value_or(kRidPasid) == *pasid;
  };
  if (spec_.smmu_v3.stall) {
    AbortStalls(
        [&](const smmu::Event& event) { return event.stream_id == stream.id && goes(event.ssid); });
  }
  if (!stream.page_requests) return;
  page_requests_->Drop([&](const SmmuPageRequestQueue::Request& request) {
    return request.requester == stream.id && goes(request.pasid);
  });
}

void SmmuUnit::AbortStalls(absl::FunctionRef<bool(const smmu::Event&)> gone) {
  Commands answers;
  for (const smmu::Event& event : events_->TakeStalls(gone)) {
    answers.push_back(smmu::Resume(event.stream_id, event.stall_tag, smmu::ResumeAction::kAbort));
  }
  // One that is not answered waits until it is reset; nothing better can be done for it.
  if (!answers.empty()) queue_->Submit(answers).IgnoreError();
}

// ---- Before a change ----

absl::Status SmmuUnit::CheckPasid(uint32_t stream_id, uint32_t pasid) const {
  absl::MutexLock lock(&mutex_);
  return CheckLocked(streams_.at(stream_id), pasid);
}

absl::Status SmmuUnit::CheckLocked(const SmmuStream& stream, uint32_t pasid) const {
  if (pasid >> stream.pasid_bits == 0) return absl::OkStatus();
  return Error(absl::StatusCode::kOutOfRange, "PASID_OUT_OF_RANGE",
               absl::StrCat("PASID ", pasid, " is more than the device behind iommu ", spec_.id,
                            " can issue"))
      .Errno("EINVAL")
      .Field("pasid");
}

absl::Status SmmuUnit::PrepareEntry(uint32_t stream_id, uint32_t pasid, TranslationKind kind) {
  absl::MutexLock lock(&mutex_);
  return PrepareLocked(&streams_.at(stream_id), pasid, kind);
}

absl::Status SmmuUnit::PrepareLocked(SmmuStream* stream, uint32_t pasid, TranslationKind kind) {
  RETURN_IF_ERROR(CheckLocked(*stream, pasid));
  if (pasid == kRidPasid && !IsFirstStage(kind)) return absl::OkStatus();
  if (stream->cds == nullptr) {
    ASSIGN_OR_RETURN(stream->cds, SmmuCdTable::Create(stream->pasid_bits, &arena_));
  }
  return stream->cds->Prepare(pasid);
}

Transition SmmuUnit::PlanChange(uint32_t stream_id, uint32_t pasid,
                                const UnitTranslation& target) const {
  absl::MutexLock lock(&mutex_);
  const SmmuStream& stream = streams_.at(stream_id);
  if (pasid != kRidPasid || IsFirstStage(target.kind)) {
    const smmu::Cd cd = stream.cds == nullptr ? smmu::Cd{} : stream.cds->Read(pasid);
    if (!PlanEntry<smmu::CdArchitecture>(cd, smmu::CdFor(spec_, stream, target)).hitless()) {
      return {false, "the context descriptor changes in more than one atomic store"};
    }
  }
  const smmu::Ste now = stream_table_->Read(stream_id);
  SmmuStream then{stream.id,     stream.pasid_bits,    stream.device_tlb,
                  stream.stalls, stream.page_requests, stream.translations};
  then.quarantined = stream.quarantined;
  then.Put(pasid, target);
  smmu::Ste ste = smmu::SteFor(spec_, then);
  if (stream.cds != nullptr && smmu::HasStage1(smmu::ConfigOf(ste))) {
    ste[0] |= stream.cds->root().value;  // `then` has no table of its own.
  }
  if (PlanEntry<smmu::SteArchitecture>(now, ste).hitless()) return {};
  return {false, "the stream table entry changes in more than one atomic store"};
}

// ---- Behind a change ----

void SmmuUnit::SwitchAts(SmmuStream* stream, bool on) {
  if (!stream->device_tlb || stream->ats_on == on) return;
  hardware_->SetDeviceTlb(stream->id, on);
  stream->ats_on = on;
}

void SmmuUnit::ReleaseTable(uint32_t stream_id, uint32_t pasid) {
  absl::MutexLock lock(&mutex_);
  SmmuStream& stream = streams_.at(stream_id);
  if (stream.cds == nullptr) return;
  std::shared_ptr<const void> unused;
  absl::Status status = FlushWhatIsOwed();
  if (!stream.NeedsCds()) {
    // The entry was flushed when it ceased to lead there.
    unused = std::shared_ptr<SmmuCdTable>(std::move(stream.cds));
  } else {
    unused = stream.cds->Unlink(pasid);
    if (unused != nullptr && status.ok()) {
      const smmu::Command forget = smmu::InvalidateCd(stream_id, pasid, /*leaf_only=*/false);
      status = queue_->Submit(absl::MakeConstSpan(&forget, 1));
    }
  }
  if (unused == nullptr || status.ok()) return;
  kept_.push_back(std::move(unused));
  flush_owed_ = true;
}

// ---- Tags ----

absl::StatusOr<uint32_t> SmmuUnit::TakeTag(TranslationKind kind) {
  absl::MutexLock lock(&mutex_);
  const bool first = IsFirstStage(kind);
  const auto id = first ? asids_.Take() : vmids_.Take();
  if (id.has_value()) return *id;
  return Error(absl::StatusCode::kResourceExhausted, "DOMAIN_IDS_EXHAUSTED",
               absl::StrCat("iommu ", spec_.id, " has no free ", first ? "ASID" : "VMID", " of ",
                            first ? spec_.smmu_v3.asid_bits : spec_.smmu_v3.vmid_bits, " bits"))
      .Errno("ENOSPC")
      .Meta("iommu", spec_.id);
}

uint32_t SmmuUnit::TagToCome(TranslationKind kind) const {
  absl::MutexLock lock(&mutex_);
  return (IsFirstStage(kind) ? asids_ : vmids_).Next().value_or(0);
}

void SmmuUnit::ReturnTag(const UnitTag& tag) {
  absl::MutexLock lock(&mutex_);
  (IsFirstStage(tag.kind) ? asids_ : vmids_).Return(static_cast<uint16_t>(tag.id));
}

}  // namespace viommu
