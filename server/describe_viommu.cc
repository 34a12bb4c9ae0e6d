#include "server/describe_viommu.h"

#include <string>

#include "server/describe_object.h"
#include "server/names.h"

namespace viommu {
namespace {

v1::ViommuType ToProto(ViommuType type) {
  switch (type) {
    case ViommuType::kArmSmmuV3:
      return v1::VIOMMU_TYPE_ARM_SMMU_V3;
    case ViommuType::kTegra241Cmdqv:
      return v1::VIOMMU_TYPE_TEGRA241_CMDQV;
  }
  return v1::VIOMMU_TYPE_UNSPECIFIED;
}

v1::EventType ToProto(ViommuEventType type) {
  switch (type) {
    case ViommuEventType::kArmSmmuV3:
      return v1::EVENT_TYPE_ARM_SMMU_V3;
    case ViommuEventType::kTegra241Cmdqv:
      return v1::EVENT_TYPE_TEGRA241_CMDQV;
  }
  return v1::EVENT_TYPE_UNSPECIFIED;
}

v1::ArmSmmuV3Event DescribeEvent(const ArmSmmuV3Event& event) {
  v1::ArmSmmuV3Event out;
  out.set_id(event.id);
  out.set_stream_id(event.stream_id);
  if (event.substream_valid) out.set_substream_id(event.substream_id);
  out.set_privileged(event.privileged);
  out.set_instruction(event.instruction);
  out.set_read(event.read);
  out.set_access_class(event.access_class);
  out.set_address(event.address);
  for (const uint64_t word : RecordOf(event)) out.add_record(word);
  return out;
}

}  // namespace

v1::Viommu Describe(const ViommuView& view, const CallContext& caller) {
  v1::Viommu out;
  DescribeObject(NameKind::kViommu, view.object, caller, &out);
  out.set_type(ToProto(view.type));
  out.set_parent(view.parent);
  out.set_iommu(view.iommu);
  out.set_ioas(view.ioas);
  for (const std::string& name : view.domains) out.add_domains(name);
  for (const std::string& name : view.vdevices) out.add_vdevices(name);
  for (const std::string& name : view.event_queues) out.add_event_queues(name);
  for (const std::string& name : view.hardware_queues) out.add_hardware_queues(name);
  return out;
}

v1::Vdevice Describe(const VdeviceView& view, const CallContext& caller) {
  v1::Vdevice out;
  DescribeObject(NameKind::kVdevice, view.object, caller, &out);
  out.set_viommu(view.viommu);
  out.set_device(view.device);
  out.set_virtual_id(view.virtual_id);
  return out;
}

v1::EventQueue Describe(const EventQueueView& view, const CallContext& caller) {
  v1::EventQueue out;
  DescribeObject(NameKind::kEventQueue, view.object, caller, &out);
  out.set_viommu(view.viommu);
  out.set_type(ToProto(view.type));
  out.set_depth(view.depth);
  out.set_queued(view.queued);
  out.set_reported(view.reported);
  out.set_lost(view.lost);
  out.set_next_sequence(view.next_sequence);
  return out;
}

v1::Event Describe(const EventView& view) {
  v1::Event out;
  out.set_sequence(view.sequence);
  out.set_lost(view.lost);
  if (!view.lost) *out.mutable_arm_smmu_v3() = DescribeEvent(view.event);
  return out;
}

v1::HardwareQueue Describe(const HardwareQueueView& view, const CallContext& caller) {
  v1::HardwareQueue out;
  DescribeObject(NameKind::kHardwareQueue, view.object, caller, &out);
  out.set_viommu(view.viommu);
  if (view.type == HardwareQueueType::kTegra241Cmdqv) {
    out.set_type(v1::HARDWARE_QUEUE_TYPE_TEGRA241_CMDQV);
  }
  out.set_index(view.spec.index);
  out.set_base(view.spec.base);
  out.set_length(view.spec.length_bytes);
  return out;
}

}  // namespace viommu
