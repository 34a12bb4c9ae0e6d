#include "clients/client/batch_builder.h"

#include <string>

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

MapOne At(uint64_t iova, const std::string& region = "") {
  MapOne entry;
  entry.iova = iova;
  entry.offset = 2 * iova;
  entry.length = 4096;
  entry.memory_region = region;
  return entry;
}

std::string Text(BatchBuilder* builder, uint64_t sequence) {
  return builder->Take(sequence).ShortDebugString();
}

TEST(BatchBuilderTest, PutsEqualValuesOnce) {
  BatchBuilder builder("memoryRegions/ram");
  builder.Add(At(0));
  builder.Add(At(4096));
  EXPECT_EQ(builder.size(), 2u);
  EXPECT_EQ(Text(&builder, 7),
            "map { sequence: 7 iova: 0 iova: 4096 offset: 0 offset: 8192 length: 4096 "
            "permission: PERMISSION_UNSPECIFIED memory_regions: \"memoryRegions/ram\" "
            "memory_region_index: 0 }");
  EXPECT_EQ(builder.size(), 0u);
}

TEST(BatchBuilderTest, NamesEachRegionOnce) {
  BatchBuilder builder("memoryRegions/ram");
  builder.Add(At(0, "memoryRegions/rom"));
  builder.Add(At(4096));
  builder.Add(At(8192, "memoryRegions/rom"));
  const v1::StreamMappingsRequest request = builder.Take(1);
  ASSERT_EQ(request.map().memory_regions_size(), 2);
  EXPECT_EQ(request.map().memory_regions(1), "memoryRegions/ram");
  ASSERT_EQ(request.map().memory_region_index_size(), 3);
  EXPECT_EQ(request.map().memory_region_index(1), 1u);
  EXPECT_EQ(request.map().memory_region_index(2), 0u);
}

TEST(BatchBuilderTest, KeepsTheNumberOfEntriesVisibleWithoutAddresses) {
  BatchBuilder builder("memoryRegions/ram");
  MapOne anywhere;
  anywhere.length = 4096;
  for (int i = 0; i < 3; ++i) builder.Add(anywhere);
  const v1::StreamMappingsRequest request = builder.Take(1);
  EXPECT_EQ(request.map().iova_size(), 0);
  EXPECT_EQ(request.map().length_size(), 3);
  EXPECT_EQ(request.map().offset_size(), 1);
}

TEST(BatchBuilderTest, AcceptsOneKindPerBatch) {
  BatchBuilder builder("memoryRegions/ram");
  EXPECT_TRUE(builder.Accepts(UnmapOne{}));
  builder.Add(At(0));
  EXPECT_TRUE(builder.Accepts(At(1)));
  EXPECT_FALSE(builder.Accepts(MapOne{}));
  EXPECT_FALSE(builder.Accepts(UnmapOne{}));
  builder.Take(1);
  builder.Add(UnmapOne{0, 4096});
  EXPECT_TRUE(builder.Accepts(UnmapOne{}));
  EXPECT_FALSE(builder.Accepts(At(1)));
  EXPECT_EQ(Text(&builder, 2), "unmap { sequence: 2 iova: 0 length: 4096 }");
  builder.AddUnmapAll();
  EXPECT_EQ(Text(&builder, 3), "unmap { sequence: 3 all: true }");
}

TEST(BatchBuilderTest, RefusesAMapWithoutRegion) {
  const BatchBuilder without("");
  EXPECT_EQ(without.Check(At(0)).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(without.Check(At(0, "memoryRegions/ram")).ok());
  EXPECT_TRUE(without.Check(UnmapOne{}).ok());
  EXPECT_TRUE(BatchBuilder("memoryRegions/ram").Check(At(0)).ok());
}

}  // namespace
}  // namespace viommu
