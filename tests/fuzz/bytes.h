// tests/fuzz/bytes.h -- Takes a fuzzer's input apart into numbers and texts.
#ifndef VIOMMU_TESTS_FUZZ_BYTES_H_
#define VIOMMU_TESTS_FUZZ_BYTES_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>

namespace viommu::fuzz {

// Reads from the front; past the end everything is 0, so that every input means something.
// Thread-compatible.
class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : next_(data), end_(data + size) {}

  bool empty() const { return next_ == end_; }
  size_t left() const { return static_cast<size_t>(end_ - next_); }

  uint8_t Byte() { return empty() ? 0 : *next_++; }

  // Little-endian, `bytes` of it: 1 to 8.
  uint64_t Number(int bytes) {
    uint64_t number = 0;
    for (int i = 0; i < bytes; ++i) number |= uint64_t{Byte()} << (8 * i);
    return number;
  }

  // 0..below-1; `below` is 1 to 256.
  uint32_t Below(uint32_t below) { return Byte() % below; }

  // At most `most` bytes, fewer where the input ends.
  std::string Text(size_t most) {
    const size_t size = std::min(most, left());
    std::string text(reinterpret_cast<const char*>(next_), size);
    next_ += size;
    return text;
  }

  // A number that mostly lies at, one before or one behind an edge of addresses and lengths.
  uint64_t Edge() {
    constexpr uint64_t kEdges[] = {0,
                                   1,
                                   0x1000,
                                   0x2000,
                                   0x10000,
                                   0x200000,
                                   0x40000000,
                                   0xfee00000,
                                   0xfef00000,
                                   0x100000000,
                                   uint64_t{1} << 39,
                                   uint64_t{1} << 48,
                                   uint64_t{1} << 52,
                                   uint64_t{1} << 57,
                                   uint64_t{1} << 63};
    const uint8_t selector = Byte();
    if (selector >= 0xf0) return Number(8);
    const uint64_t edge = kEdges[selector % std::size(kEdges)];
    switch (selector / std::size(kEdges)) {
      case 0:
        return edge - 1;
      case 1:
        return edge + 1;
      case 2:
        return edge - 0x1000;
      case 3:
        return edge + 0x1000;
      default:
        return edge;
    }
  }

 private:
  const uint8_t* next_;
  const uint8_t* end_;
};

}  // namespace viommu::fuzz

#endif  // VIOMMU_TESTS_FUZZ_BYTES_H_
