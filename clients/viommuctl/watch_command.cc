// watch: what there is and what becomes of it, a line a message, until it is interrupted.
#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "clients/client/object_watch.h"
#include "clients/viommuctl/commands.h"
#include "viommu/v1/device.pb.h"
#include "viommu/v1/watch.pb.h"

namespace viommu {
namespace {

v1::WatchKind KindNamed(absl::string_view word) {
  if (word == "regions") return v1::WATCH_KIND_MEMORY_REGION;
  if (word == "ioas") return v1::WATCH_KIND_IOAS;
  if (word == "domains") return v1::WATCH_KIND_DOMAIN;
  if (word == "viommus") return v1::WATCH_KIND_VIOMMU;
  if (word == "vdevices") return v1::WATCH_KIND_VDEVICE;
  if (word == "event-queues") return v1::WATCH_KIND_EVENT_QUEUE;
  if (word == "hardware-queues") return v1::WATCH_KIND_HARDWARE_QUEUE;
  if (word == "fault-queues") return v1::WATCH_KIND_FAULT_QUEUE;
  return v1::WATCH_KIND_DEVICE;
}

// "UNPLUG_FAILED" of DEVICE_HEALTH_CAUSE_UNPLUG_FAILED.
std::string CauseWord(v1::DeviceHealthCause cause) {
  constexpr absl::string_view kPrefix = "DEVICE_HEALTH_CAUSE_";
  return v1::DeviceHealthCause_Name(cause).substr(kPrefix.size());
}

std::string DeviceWords(const v1::Device& device) {
  std::string words = "host";
  if (device.ownership() == v1::DEVICE_OWNERSHIP_CLAIMED) {
    words =
        device.claimed_by().empty() ? "claimed" : absl::StrCat("claimed by ", device.claimed_by());
  }
  if (!device.domain().empty()) absl::StrAppend(&words, ", on ", device.domain());
  if (device.attached()) absl::StrAppend(&words, ", attached");
  if (device.health() == v1::DEVICE_HEALTH_UNHEALTHY) {
    absl::StrAppend(&words, ", unhealthy: ", CauseWord(device.health_cause()), " ",
                    device.health_reason());
  }
  return words;
}

std::string MappingWords(uint64_t count, uint64_t bytes) {
  return absl::StrCat(count, " mappings of ", bytes, " bytes");
}

std::string ObjectWords(const v1::WatchedObject& object) {
  switch (object.object_case()) {
    case v1::WatchedObject::kMemoryRegion:
      return absl::StrCat(object.memory_region().size_bytes(), " bytes");
    case v1::WatchedObject::kIoas:
      return MappingWords(object.ioas().mapping_count(), object.ioas().mapped_bytes());
    case v1::WatchedObject::kDomain:
      return absl::StrCat(object.domain().attached_devices_size(), " attached devices");
    case v1::WatchedObject::kDevice:
      return DeviceWords(object.device());
    case v1::WatchedObject::kViommu:
      return absl::StrCat("on ", object.viommu().iommu());
    case v1::WatchedObject::kVdevice:
      return absl::StrCat(object.vdevice().device(), " as ", object.vdevice().virtual_id());
    case v1::WatchedObject::kEventQueue:
      return absl::StrCat(object.event_queue().depth(), " events");
    case v1::WatchedObject::kHardwareQueue:
      return absl::StrCat("index ", object.hardware_queue().index());
    case v1::WatchedObject::kFaultQueue:
      return absl::StrCat(object.fault_queue().waiting_groups(), " groups wait");
    case v1::WatchedObject::OBJECT_NOT_SET:
      break;
  }
  return "";
}

// "modified  ioas/vm0  4 mappings of 16384 bytes".
std::string LineOf(absl::string_view word, absl::string_view name, absl::string_view words) {
  constexpr size_t kWordWidth = 10;
  std::string line(word);
  line.resize(std::max(kWordWidth, line.size() + 1), ' ');
  absl::StrAppend(&line, name, words.empty() ? "" : "  ", words, "\n");
  return line;
}

std::string ChangeLine(const v1::WatchChange& change) {
  if (change.has_deleted()) {
    return LineOf("deleted", change.deleted().name(), change.deleted().reason());
  }
  const bool is_new = change.type() == v1::WATCH_CHANGE_TYPE_ADDED;
  return LineOf(is_new ? "added" : "modified", IdentityOf(change.object()).name,
                ObjectWords(change.object()));
}

std::string LineOf(const v1::WatchResponse& message) {
  switch (message.event_case()) {
    case v1::WatchResponse::kSnapshot:
      return LineOf("there", IdentityOf(message.snapshot()).name, ObjectWords(message.snapshot()));
    case v1::WatchResponse::kSync:
      return LineOf("synced", absl::StrCat("revision ", message.revision()), "");
    case v1::WatchResponse::kChange:
      return ChangeLine(message.change());
    case v1::WatchResponse::kMappings:
      return LineOf(
          "mapped", message.mappings().name(),
          MappingWords(message.mappings().mapping_count(), message.mappings().mapped_bytes()));
    case v1::WatchResponse::EVENT_NOT_SET:
      break;
  }
  return "";
}

}  // namespace

absl::Status WatchObjects(Invocation& call) {
  const absl::StatusOr<Client*> client = call.Connected();
  if (!client.ok()) return client.status();
  ObjectWatchOptions options;
  for (const std::string& word : call.Texts("KIND")) options.kinds.push_back(KindNamed(word));
  ObjectWatch watch(*client, options);
  while (call.out()) {
    const absl::StatusOr<v1::WatchResponse> message = watch.Next();
    if (!message.ok()) return message.status();
    if (call.ForPrograms()) {
      call.Show(*message, Table());
    } else {
      call.Print(LineOf(*message));
    }
    call.out().flush();
    if (message->has_sync() && call.Has("once")) break;
  }
  return absl::OkStatus();
}

}  // namespace viommu
