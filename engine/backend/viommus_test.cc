#include "engine/backend/viommus.h"

#include <array>
#include <cstdint>

#include "gtest/gtest.h"

namespace viommu {
namespace {

using Record = std::array<uint64_t, 4>;

TEST(ArmSmmuV3EventTest, PutsEachFieldInItsPlace) {
  ArmSmmuV3Event event;
  event.id = 0x10;
  event.stream_id = 0x80000001;
  event.address = 0x1234567000;
  EXPECT_EQ(RecordOf(event), (Record{0x8000000100000010, 0, 0x1234567000, 0}));
  event.substream_valid = true;
  event.substream_id = 0xabcde;
  EXPECT_EQ(RecordOf(event)[0], 0x80000001abcde810u);
  event.privileged = true;
  EXPECT_EQ(RecordOf(event)[1], uint64_t{1} << 33);
  event.instruction = true;
  EXPECT_EQ(RecordOf(event)[1], uint64_t{3} << 33);
  event.read = true;
  event.access_class = 2;
  EXPECT_EQ(RecordOf(event)[1], uint64_t{7} << 33 | uint64_t{1} << 41);
}

TEST(ArmSmmuV3EventTest, LetsNoFieldReachIntoAnother) {
  ArmSmmuV3Event event;
  event.substream_id = ~0u;
  event.access_class = 0xff;
  EXPECT_EQ(RecordOf(event), (Record{0xfffff000, uint64_t{3} << 40, 0, 0}));
}

}  // namespace
}  // namespace viommu
