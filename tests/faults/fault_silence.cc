// tests/faults/fault_silence.cc -- Verbs while a device does not answer invalidations: they come
// about, or are refused for reasons of their own, and the device alone is out until it is reset.

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "tests/faults/fault_world.h"
#include "tests/faults/small_host.h"

namespace viommu::faults {
namespace {

// What cannot be done for a device that does not answer: to put it back.
bool FailsForWhoIsSilent(const absl::Status& status) {
  const auto detail = DetailOf(status);
  return detail.has_value() &&
         (detail->reason == "RESET_FAILED" || detail->reason == "QUEUE_TIMEOUT");
}

bool IsOut(const DeviceSight& device) { return device.shown == "out"; }

}  // namespace

void FaultWorld::SetAnswers(DeviceIndex device, bool answers) {
  SoftMachine& machine = soft_->machine();
  if (SmmuUnit* const smmu = machine.find_smmu(device)) {
    smmu->hardware().SetDeviceTlbAnswers(machine.requester_of(device), answers);
  } else {
    machine.unit_of(device).hardware().SetDeviceTlbAnswers(machine.source_id_of(device), answers);
  }
}

void FaultWorld::CheckQuarantine(DeviceIndex silent, const absl::Status& status, bool is_out) {
  if (status.code() == absl::StatusCode::kInternal && !(is_out && FailsForWhoIsSilent(status))) {
    Trouble(absl::StrCat("it failed: ", status.ToString()));
  }
  for (const DeviceIndex device : soft_->Quarantined()) {
    const bool was_taken_out = IsOut(seen_.devices[device]);  // Before it answered again.
    if (device != silent && !was_taken_out) Trouble(DeviceId(device) + " answers, and is out");
  }
  const DeviceSight& sight = seen_.devices[silent];
  if (!is_out) return;
  ++tally_.quarantines;
  for (const Ways& ways : sight.hardware) {
    if (!ways.blocked()) Trouble("it is out, and yet it gets somewhere");
  }
  const bool is_said = IsOut(sight) || sight.health == HealthReason::kInvalidationFailed ||
                       sight.health == HealthReason::kResetFailed ||
                       sight.health == HealthReason::kUnplugFailed;
  if (!is_said) Trouble("it is out, and nobody says so");
}

void FaultWorld::SilenceADevice(const Verb& verb) {
  const auto device = static_cast<DeviceIndex>(Random(kDevices));
  doing_ = absl::StrCat(verb.text, ", while ", DeviceId(device), " does not answer");
  points_.Disarm();
  SetAnswers(device, false);
  const absl::Status status = verb.call();
  SetAnswers(device, true);
  ++(status.ok() ? tally_.done : tally_.refused);
  if (status.ok()) ++tally_.done_by_kind[verb.kind];
  seen_ = Look();
  const std::vector<DeviceIndex> quarantined = soft_->Quarantined();
  const bool is_out =
      std::find(quarantined.begin(), quarantined.end(), device) != quarantined.end();
  CheckQuarantine(device, status, is_out);
  if (!is_out || IsOut(seen_.devices[device])) return;
  // Once more makes its entries anew: that changes nothing.
  std::vector<Ways> back[2];
  for (std::vector<Ways>& ways : back) {
    const absl::Status reset = engine_->ResetDevice(me_, DeviceId(device)).status();
    if (!reset.ok()) Trouble(absl::StrCat("it can not be reset: ", reset.ToString()));
    const Sight before = std::exchange(seen_, Look());
    ways = seen_.devices[device].hardware;
    for (size_t other = 0; other < seen_.devices.size(); ++other) {
      if (other == device || before.devices[other].hardware == seen_.devices[other].hardware) {
        continue;
      }
      Trouble(absl::StrCat("its reset has moved ", DeviceId(other)));
    }
  }
  if (!(back[0] == back[1])) Trouble("it does not come back to where it is by then");
}

}  // namespace viommu::faults
