// clients/demo/pattern.h -- Bytes that tell where they belong.
#ifndef VIOMMU_CLIENTS_DEMO_PATTERN_H_
#define VIOMMU_CLIENTS_DEMO_PATTERN_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace viommu {

// `length` bytes that depend on `seed` and their place: another seed, or bytes moved by some
// places, do not compare equal.
inline std::string Pattern(uint64_t seed, size_t length) {
  constexpr uint64_t kMultiplier = 6364136223846793005;  // Knuth's, for a linear congruence.
  std::string bytes(length, '\0');
  uint64_t state = seed * 2 + 1;
  for (char& byte : bytes) {
    state = state * kMultiplier + 1442695040888963407;
    byte = static_cast<char>(state >> 56);
  }
  return bytes;
}

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEMO_PATTERN_H_
