// tests/property/device_eye.h -- What a device meets, whichever unit is in front of it: cold and
// through its caches, and whether that is what the reference says.
#ifndef VIOMMU_TESTS_PROPERTY_DEVICE_EYE_H_
#define VIOMMU_TESTS_PROPERTY_DEVICE_EYE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/soft_machine.h"
#include "engine/base/address.h"
#include "tests/property/reference.h"

namespace viommu::property {

class DeviceEye {
 public:
  struct Request {
    int device = 0;
    std::optional<uint32_t> pasid;
    Iova iova = 0;
    bool write = false;
  };
  // VT-d's fault reason, an SMMUv3's event, or that an entry aborts without one.
  struct Sight {
    uint16_t code = 0;  // 0: no fault.
    uint64_t physical = 0;
  };

  // `machine` outlives it.
  explicit DeviceEye(SoftMachine* machine) : machine_(*machine) {}

  // From now on SMMUv3s read again what recent requests needed, whenever they have dropped it.
  void LetUnitsSpeculate();

  // By the tables as they are.
  Sight Probe(const Request& request);
  // Through the unit's caches.
  Sight Translate(const Request& request);
  // Through the device's as well: reads or writes data.
  uint16_t Access(const Request& request, absl::Span<char> data);
  // As the others say it.
  uint16_t CodeOf(int device, const DmaFault& fault);

  // Whether `code` is what `fault` is called.
  bool Means(const Request& request, uint16_t code, Fault fault);
  // Whether it is what a blocked device meets, on the way from one entry to another too.
  bool IsBlocked(const Request& request, uint16_t code);

 private:
  bool IsArm(DeviceIndex device) { return machine_.find_vtd(device) == nullptr; }

  SoftMachine& machine_;
};

std::string InWords(const DeviceEye::Sight& sight);

}  // namespace viommu::property

#endif  // VIOMMU_TESTS_PROPERTY_DEVICE_EYE_H_
