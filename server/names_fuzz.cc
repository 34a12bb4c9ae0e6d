// A name that is accepted is the one spelling of what it means.
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "engine/types.h"
#include "server/names.h"
#include "tests/fuzz/bytes.h"
#include "tests/fuzz/check.h"

namespace viommu {
namespace {

using fuzz::Check;

constexpr NameKind kKinds[] = {NameKind::kIoas,       NameKind::kDomain, NameKind::kMemoryRegion,
                               NameKind::kFaultQueue, NameKind::kDevice, NameKind::kIommu};

void CheckName(NameKind kind, const std::string& name) {
  const auto ref = ParseName(kind, "name", name);
  const auto host = ParseHostName(kind, "name", name);
  Check(host.ok() == ref.ok(), "ParseHostName and ParseName disagree");
  if (!ref.ok()) {
    Check(ref.status().code() == absl::StatusCode::kInvalidArgument, "another code");
    return;
  }
  Check(*host == ref->id, "ParseHostName answers another id");
  CallContext caller;
  ObjectView object;
  object.id = ref->id;
  object.owner = ref->owner.value_or(caller.principal);
  // Somebody else must read the caller's own objects by their long name.
  if (ref->owner.has_value()) caller.principal = *ref->owner + "x";
  Check(FormatName(kind, object, caller) == name, "the name does not come back");
  Check(!ResourceType(name).empty(), "a name without type");
}

void CheckQueue(const std::string& name) {
  const auto id = ParseQueueName("name", name);
  if (id.ok()) Check(QueueName(*id) == name, "the queue's name does not come back");
}

void CheckId(const std::string& id) {
  if (id.empty() || !CheckNewId("id", id).ok()) return;
  for (const NameKind kind : kKinds) {
    const auto ref = ParseName(kind, "name", HostName(kind, id));
    Check(ref.ok() && ref->id == id, "an id that no name can have");
  }
}

}  // namespace
}  // namespace viommu

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  viommu::fuzz::Bytes bytes(data, size);
  const std::string text = bytes.Text(size);
  for (const viommu::NameKind kind : viommu::kKinds) viommu::CheckName(kind, text);
  viommu::CheckQueue(text);
  viommu::CheckId(text);
  viommu::ResourceType(text);
  return 0;
}
