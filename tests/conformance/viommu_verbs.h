// tests/conformance/viommu_verbs.h -- Steps about Viommus and what belongs to them.
//
// As elsewhere objects are named by their ids without the suite's prefix; what belongs to a Viommu
// needs none.
#ifndef VIOMMU_TESTS_CONFORMANCE_VIOMMU_VERBS_H_
#define VIOMMU_TESTS_CONFORMANCE_VIOMMU_VERBS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "tests/conformance/case.h"
#include "viommu/v1/domain.pb.h"
#include "viommu/v1/event_queue.pb.h"
#include "viommu/v1/simulation.pb.h"
#include "viommu/v1/viommu.pb.h"

namespace viommu::conformance {

std::string Viommu(const std::string& id);

// ---- Viommus; the device "none" is nobody's part ----
Step NewViommu(const std::string& id, const std::string& device, const std::string& parent,
               v1::ViommuType type = v1::VIOMMU_TYPE_ARM_SMMU_V3);
Step GetViommu(const std::string& id);
Step DeleteViommu(const std::string& id);

// ---- Vdevices, whose ids are the parts that the devices play ----
Step NewVdevice(const std::string& viommu, const std::string& device, uint64_t virtual_id = 1);
Step GetVdevice(const std::string& viommu, const std::string& device);
Step DeleteVdevice(const std::string& viommu, const std::string& device);

// ---- The guest's stream table entries: NESTED domains ----
struct Vste {
  uint64_t ste_0 = 0;
  uint64_t ste_1 = 0;
};
inline constexpr Vste kNotValid = {};
inline constexpr Vste kAbort = {1};            // V, Config 0.
inline constexpr Vste kBypass = {1 | 4 << 1};  // V, Config 4.
// V, Config 5, with one context descriptor there.
inline constexpr Vste Translating(uint64_t descriptor) { return {1 | 5 << 1 | descriptor}; }
v1::Domain OnViommu(const std::string& viommu, const std::string& device, const Vste& vste);
Step NewGuestStage(const std::string& id, const std::string& viommu, const std::string& device,
                   const Vste& vste);

// ---- Events ----
Step NewEventQueue(const std::string& viommu, const std::string& id, uint32_t depth,
                   v1::EventType type = v1::EVENT_TYPE_ARM_SMMU_V3);
Step DeleteEventQueue(const std::string& viommu, const std::string& id);
// The device's hardware reports that event; the step expects that this becomes of it.
Step Report(const std::string& device, uint32_t event, v1::RaiseEventOutcome outcome);
// What waits in the queue: sequence numbers, and "lost" after that of a marker: "0 1 2lost".
Step Events(const std::string& viommu, const std::string& id, const std::string& events);
// The last event in the queue has `text` in its words.
Step LastEventSays(const std::string& viommu, const std::string& id, const std::string& text);

// ---- Hardware queues ----
Step NewHardwareQueue(const std::string& viommu, uint64_t base, uint64_t length);

// ---- The guest's commands; HandledUntil of nested_verbs.h tells what came of them ----
v1::ArmSmmuV3Invalidation SmmuCommand(v1::ArmSmmuV3Opcode opcode);
Step Give(const std::string& viommu, const std::vector<v1::ArmSmmuV3Invalidation>& commands);

}  // namespace viommu::conformance

#endif  // VIOMMU_TESTS_CONFORMANCE_VIOMMU_VERBS_H_
