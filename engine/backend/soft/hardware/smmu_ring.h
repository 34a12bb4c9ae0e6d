// engine/backend/soft/hardware/smmu_ring.h -- A queue of an SMMUv3 in memory, with its base
// register and its two indices.
//
// Source: Arm IHI 0070 3.5.1. An index counts entries modulo twice the size of the ring: its top
// bit is the wrap flag, so that full and empty differ.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_RING_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_RING_H_

#include <algorithm>
#include <cstdint>

#include "engine/backend/soft/hardware/smmu_spec.h"
#include "engine/base/address.h"

namespace viommu::hardware::smmu {

class Ring {
 public:
  // Entries of 2^`entry_log2` bytes, at most 2^`max_log2` of them.
  Ring(int entry_log2, int max_log2) : entry_log2_(entry_log2), max_log2_(max_log2) {}

  // Q_BASE: ADDR 51:5, RA or WA 62, LOG2SIZE 4:0.
  void WriteBase(uint64_t value) { base_ = value & (Bit(62) | Bits(51, 0)); }
  uint64_t base() const { return base_; }

  // Indices, as software reads and writes them (19:0).
  uint32_t producer() const { return producer_; }
  uint32_t consumer() const { return consumer_; }
  void WriteProducer(uint32_t value) { producer_ = value & kIndex; }
  void WriteConsumer(uint32_t value) { consumer_ = value & kIndex; }

  bool empty() const { return Wrapped(producer_) == Wrapped(consumer_); }
  bool full() const { return (Wrapped(producer_) ^ Wrapped(consumer_)) == size(); }

  // Where the next entry is written, and read.
  PhysAddr ProducerAddress() const { return AddressOf(producer_); }
  PhysAddr ConsumerAddress() const { return AddressOf(consumer_); }
  void Produce() { producer_ = Wrapped(producer_ + 1); }
  void Consume() { consumer_ = Wrapped(consumer_ + 1); }

 private:
  static constexpr uint32_t kIndex = 0xfffff;

  int log2() const { return std::min(static_cast<int>(Field(base_, 4, 0)), max_log2_); }
  uint32_t size() const { return uint32_t{1} << log2(); }
  uint32_t Wrapped(uint32_t index) const { return index & (2 * size() - 1); }
  // A ring lies at a multiple of its size, or of 32 bytes.
  PhysAddr AddressOf(uint32_t index) const {
    const int alignment = std::max(5, log2() + entry_log2_);
    const uint64_t base = (base_ & Bits(51, 5)) >> alignment << alignment;
    return PhysAddr{base + (uint64_t{index & (size() - 1)} << entry_log2_)};
  }

  const int entry_log2_;
  const int max_log2_;
  uint64_t base_ = 0;
  uint32_t producer_ = 0;
  uint32_t consumer_ = 0;
};

}  // namespace viommu::hardware::smmu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_RING_H_
