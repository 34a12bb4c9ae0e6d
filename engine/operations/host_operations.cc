#include "engine/operations/host_operations.h"

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/model/default_domains.h"
#include "engine/operations/claims.h"

namespace viommu {
namespace {

constexpr uint64_t kPageBytes = 4096;

absl::Status CheckOperator(const CallContext& context) {
  if (context.is_operator) return absl::OkStatus();
  return Error(absl::StatusCode::kPermissionDenied, "NOT_OPERATOR",
               "only an operator may act as the host")
      .Errno("EPERM");
}

Usage HoldsOf(const PlacedArea& area) { return Usage::OfMappings(1, area.range.size_bytes()); }

absl::Status CheckRoom(Ledger& ledger, uint64_t length_bytes) {
  const Account& host = ledger.host();
  if (ledger.Left(host, Resource::kMappings) == 0) {
    return ledger.Refusal(host, Resource::kMappings, 1);
  }
  if (ledger.Left(host, Resource::kMappedBytes) < length_bytes) {
    return ledger.Refusal(host, Resource::kMappedBytes, length_bytes);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<Uid>> HostMapOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  return std::vector<Uid>{model.GroupOf(*device).uid};
}

absl::Status HostMapOperation::CheckSource(uint64_t region_bytes) const {
  if (source_.length_bytes == 0) {
    return Error(absl::StatusCode::kInvalidArgument, "INVALID_LENGTH", "length is 0")
        .Errno("EINVAL")
        .Field("length");
  }
  if (!IsAligned(source_.length_bytes | source_.offset_bytes, kPageBytes)) {
    return Error(absl::StatusCode::kInvalidArgument, "MISALIGNED",
                 absl::StrCat("offset ", Hex(source_.offset_bytes), " and length ",
                              Hex(source_.length_bytes), " must be multiples of 0x1000"))
        .Errno("EINVAL")
        .Field("length");
  }
  if (source_.offset_bytes < region_bytes &&
      source_.length_bytes <= region_bytes - source_.offset_bytes) {
    return absl::OkStatus();
  }
  return Error(absl::StatusCode::kOutOfRange, "SOURCE_OUT_OF_BOUNDS",
               absl::StrCat("offset ", Hex(source_.offset_bytes), " + length ",
                            Hex(source_.length_bytes), " is not inside the memory region of ",
                            Hex(region_bytes), " bytes"))
      .Errno("EINVAL")
      .Field("offset");
}

absl::StatusOr<Iova> HostMapOperation::Choose(Model& model, Group& group,
                                              const MemoryRegion& region) const {
  if (translated_) {
    return group.host.space.Allocate(group.host.areas, source_.length_bytes, source_.offset_bytes);
  }
  ASSIGN_OR_RETURN(const PhysAddr address,
                   const_cast<Backend&>(model.backend())
                       .simulation()
                       ->PhysicalAddress(region.uid(), source_.offset_bytes));
  return address.value;
}

absl::Status HostMapOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  device_ = device->index;
  RETURN_IF_ERROR(CheckOperator(context()));
  RETURN_IF_ERROR(CheckHostHas(model, *device));
  ASSIGN_OR_RETURN(region_, model.Find<MemoryRegion>(context(), source_.region));
  if (region_->suspended) return region_->SuspendedError();
  RETURN_IF_ERROR(CheckSource(region_->size_bytes));
  if (region_->read_only && CanWrite(source_.permission)) return region_->ReadOnlyError();
  Group& group = model.GroupOf(*device);
  translated_ = IsTranslated(group.default_domain);
  ASSIGN_OR_RETURN(const Iova iova, Choose(model, group, *region_));
  RETURN_IF_ERROR(CheckRoom(model.ledger, source_.length_bytes));
  area_ = {IovaRange{iova, iova + (source_.length_bytes - 1)},
           Area(region_->uid(), source_.offset_bytes, source_.permission, /*is_planned=*/true)};
  if (!group.host.areas.Insert(area_.range, area_.area)) {
    return Error(absl::StatusCode::kAlreadyExists, "IOVA_OCCUPIED",
                 absl::StrCat("the host maps a part of ", ToString(area_.range), " already"))
        .Errno("EEXIST");
  }
  region_->AddReferences(group.uid, 1);
  model.ledger.Charge(model.ledger.host(), HoldsOf(area_));
  answer() = iova;
  return absl::OkStatus();
}

void HostMapOperation::Unplan(Model& model) {
  Group& group = model.GroupOf(model.devices[device_]);
  group.host.areas.Erase(area_.range.first);
  region_->DropReferences(group.uid, 1);
  model.ledger.GiveBack(model.ledger.host(), HoldsOf(area_));
}

LogicalOperation HostMapOperation::Logical() const {
  return record::HostMapping{device_id_, area_.range, true};
}

absl::Status HostMapOperation::Apply(Backend& backend) {
  if (!translated_) return absl::OkStatus();
  return backend.simulation()->HostMap(device_, area_.ToBackend());
}

void HostMapOperation::Commit(Model& model) {
  Group& group = model.GroupOf(model.devices[device_]);
  group.host.areas.Find(area_.range.first).value().planned = 0;
  ++model.revision;
}

absl::StatusOr<std::vector<Uid>> HostUnmapOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  return std::vector<Uid>{model.GroupOf(*device).uid};
}

absl::Status HostUnmapOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  device_ = device->index;
  RETURN_IF_ERROR(CheckOperator(context()));
  Group& group = model.GroupOf(*device);
  type_ = group.default_domain;
  const auto it = group.host.areas.Find(iova_);
  if (it == group.host.areas.end() || it.first() != iova_ ||
      it.last() - it.first() != length_bytes_ - 1 || group.host.queue.Holds(iova_)) {
    return Error(absl::StatusCode::kNotFound, "IOVA_NOT_COVERED",
                 absl::StrCat("the host has no mapping of ", Hex(length_bytes_), " bytes at ",
                              Hex(iova_), " for ", device->Name()))
        .Errno("ENOENT")
        .Field("iova");
  }
  area_ = {IovaRange{it.first(), it.last()}, it.value()};
  flush_ = FlushStep();
  if (type_ == DefaultDomainType::kDmaFq && group.host.queue.full()) {
    flush_.Plan(group, FlushQueue::Cause::kFull);
  }
  return absl::OkStatus();
}

void HostUnmapOperation::Unplan(Model& model) {
  flush_.Unplan(model, model.GroupOf(model.devices[device_]));
}

LogicalOperation HostUnmapOperation::Logical() const {
  return record::HostMapping{device_id_, area_.range, false};
}

absl::Status HostUnmapOperation::Apply(Backend& backend) {
  if (!IsTranslated(type_)) return absl::OkStatus();
  if (type_ == DefaultDomainType::kDma) {
    return backend.simulation()->HostUnmap(device_, area_.range);
  }
  RETURN_IF_ERROR(flush_.Apply(backend, device_));
  return backend.simulation()->HostUnmapDeferred(device_, area_.range);
}

void HostUnmapOperation::Commit(Model& model) {
  Group& group = model.GroupOf(model.devices[device_]);
  flush_.Commit(model, group);
  if (type_ == DefaultDomainType::kDmaFq) {
    group.host.queue.Push(area_, model.env().Now());
  } else {
    ReleaseFlushed(model, group, {area_});
  }
  model.ledger.GiveBack(model.ledger.host(), HoldsOf(area_));
  ++model.revision;
  committed_ = true;
}

absl::Status SetHealthOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, Locate(model));
  device_ = device->index;
  RETURN_IF_ERROR(CheckOperator(context()));
  answer().health = health_;
  answer().health_cause = cause_;
  answer().health_reason = health_ == DeviceHealth::kHealthy ? "" : reason_;
  return absl::OkStatus();
}

void SetHealthOperation::Commit(Model& model) {
  Device& device = model.devices[device_];
  device.health = health_;
  device.health_cause = cause_;
  device.health_reason = health_ == DeviceHealth::kHealthy ? "" : reason_;
  model.Bump(device);
  AnswerWithDevice(model);
}

}  // namespace viommu
