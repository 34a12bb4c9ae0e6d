#include "server/batches.h"

#include <optional>
#include <string>
#include <vector>

#include "engine/base/errors.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

ErrorDetail DetailIn(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  return DetailOf(status).value_or(ErrorDetail());
}

v1::MapEntry* AddEntry(v1::MapRequest* request, const char* region) {
  v1::MapEntry* entry = request->add_mappings();
  entry->set_memory_region(region);
  entry->set_length(4096);
  return entry;
}

TEST(ParseMapTest, ReadsEntriesAndCollectsTheirRegions) {
  v1::MapRequest request;
  AddEntry(&request, "memoryRegions/a")->set_iova(0);
  v1::MapEntry* second = AddEntry(&request, "memoryRegions/b");
  second->set_offset(8192);
  second->set_permission(v1::PERMISSION_READ);
  AddEntry(&request, "owners/alice/memoryRegions/a");
  AddEntry(&request, "memoryRegions/a");

  const absl::StatusOr<MapBatch> batch = ParseMap(request);
  ASSERT_TRUE(batch.ok()) << batch.status();
  ASSERT_EQ(batch->regions.size(), 3u);
  EXPECT_EQ(batch->regions[2].owner, "alice");
  ASSERT_EQ(batch->entries.size(), 4u);
  EXPECT_EQ(batch->entries[0].iova, 0u);
  EXPECT_EQ(batch->entries[0].permission, Permission::kReadWrite);
  EXPECT_FALSE(batch->entries[1].iova.has_value());
  EXPECT_EQ(batch->entries[1].offset_bytes, 8192u);
  EXPECT_EQ(batch->entries[1].length_bytes, 4096u);
  EXPECT_EQ(batch->entries[1].permission, Permission::kRead);
  EXPECT_EQ(batch->entries[1].region, 1u);
  EXPECT_EQ(batch->entries[2].region, 2u);
  EXPECT_EQ(batch->entries[3].region, 0u);
}

TEST(ParseMapTest, LeavesTheEmptyBatchToTheEngine) {
  EXPECT_TRUE(ParseMap(v1::MapRequest()).ok());
  EXPECT_TRUE(ParseUnmap(v1::UnmapRequest()).ok());
}

TEST(ParseMapTest, SaysWhichEntryIsWrong) {
  const struct {
    const char* what;
    void (*spoil)(v1::MapEntry*);
    const char* reason;
    const char* field;
  } kCases[] = {
      {"no region", [](v1::MapEntry* e) { e->clear_memory_region(); }, "MISSING_FIELD",
       "mappings[1].memory_region"},
      {"malformed region", [](v1::MapEntry* e) { e->set_memory_region("ram"); }, "MALFORMED_NAME",
       "mappings[1].memory_region"},
      {"permission NONE", [](v1::MapEntry* e) { e->set_permission(v1::PERMISSION_NONE); },
       "INVALID_PERMISSION", "mappings[1].permission"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.what);
    v1::MapRequest request;
    AddEntry(&request, "memoryRegions/a");
    c.spoil(AddEntry(&request, "memoryRegions/a"));
    const ErrorDetail detail = DetailIn(ParseMap(request).status());
    EXPECT_EQ(detail.reason, c.reason);
    EXPECT_EQ(detail.field, c.field);
    EXPECT_EQ(detail.index, 1u);
  }
}

TEST(ParseMapTest, RefusesTooManyEntriesBeforeReadingThem) {
  v1::MapRequest request;
  for (size_t i = 0; i <= kMaxBatchEntries; ++i) request.add_mappings();
  EXPECT_EQ(DetailIn(ParseMap(request).status()).reason, "BATCH_TOO_LARGE");
  v1::UnmapRequest unmap;
  for (size_t i = 0; i <= kMaxBatchEntries; ++i) unmap.add_ranges();
  EXPECT_EQ(DetailIn(ParseUnmap(unmap).status()).reason, "BATCH_TOO_LARGE");
}

TEST(ParseUnmapTest, ReadsRanges) {
  v1::UnmapRequest request;
  request.add_ranges()->set_iova(0);
  request.mutable_ranges(0)->set_length(4096);
  const absl::StatusOr<UnmapBatch> batch = ParseUnmap(request);
  ASSERT_TRUE(batch.ok()) << batch.status();
  EXPECT_FALSE(batch->all);
  ASSERT_EQ(batch->entries.size(), 1u);
  EXPECT_EQ(batch->entries[0].iova, 0u);
  EXPECT_EQ(batch->entries[0].length_bytes, 4096u);
}

TEST(ParseUnmapTest, TakesNoRangesWithAll) {
  v1::UnmapRequest request;
  request.set_all(true);
  EXPECT_TRUE(ParseUnmap(request)->all);
  request.add_ranges()->set_iova(0);
  EXPECT_EQ(DetailIn(ParseUnmap(request).status()).reason, "CONFLICTING_FIELDS");
}

TEST(ParseUnmapTest, WantsEveryIova) {
  v1::UnmapRequest request;
  request.add_ranges()->set_length(4096);
  const ErrorDetail detail = DetailIn(ParseUnmap(request).status());
  EXPECT_EQ(detail.reason, "MISSING_FIELD");
  EXPECT_EQ(detail.field, "ranges[0].iova");
}

StreamDefaults DefaultsWithRegion() {
  v1::OpenStream open;
  open.set_default_memory_region("memoryRegions/ram");
  open.set_default_permission(v1::PERMISSION_READ);
  return *ParseDefaults(open);
}

TEST(ParseArraysTest, SpreadsSingleElementsAndDefaults) {
  v1::MapBatch batch;
  for (const uint64_t iova : {0x1000, 0x2000, 0x3000}) batch.add_iova(iova);
  batch.add_length(4096);
  for (const uint64_t offset : {0, 4096, 8192}) batch.add_offset(offset);
  const absl::StatusOr<MapBatch> out = ParseArrays(batch, DefaultsWithRegion());
  ASSERT_TRUE(out.ok()) << out.status();
  ASSERT_EQ(out->regions.size(), 1u);
  EXPECT_EQ(out->regions[0].id, "ram");
  ASSERT_EQ(out->entries.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(out->entries[i].iova, 0x1000 * (i + 1));
    EXPECT_EQ(out->entries[i].offset_bytes, 4096 * i);
    EXPECT_EQ(out->entries[i].length_bytes, 4096u);
    EXPECT_EQ(out->entries[i].region, 0u);
    EXPECT_EQ(out->entries[i].permission, Permission::kRead);
  }
}

TEST(ParseArraysTest, TakesEveryArrayElementByElement) {
  v1::MapBatch batch;
  batch.add_memory_regions("memoryRegions/a");
  batch.add_memory_regions("memoryRegions/b");
  for (const uint32_t index : {1, 0}) batch.add_memory_region_index(index);
  for (const uint64_t length : {4096, 8192}) batch.add_length(length);
  batch.add_permission(v1::PERMISSION_WRITE);
  batch.add_permission(v1::PERMISSION_UNSPECIFIED);
  const absl::StatusOr<MapBatch> out = ParseArrays(batch, DefaultsWithRegion());
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_EQ(out->regions[1].id, "b");
  EXPECT_FALSE(out->entries[0].iova.has_value());
  EXPECT_EQ(out->entries[0].region, 1u);
  EXPECT_EQ(out->entries[1].region, 0u);
  EXPECT_EQ(out->entries[1].length_bytes, 8192u);
  EXPECT_EQ(out->entries[0].permission, Permission::kWrite);
  EXPECT_EQ(out->entries[1].permission, Permission::kRead);
}

TEST(ParseArraysTest, RefusesArraysThatDoNotFit) {
  const struct {
    const char* what;
    void (*spoil)(v1::MapBatch*);
    const char* reason;
    const char* field;
  } kCases[] = {
      {"two lengths for three", [](v1::MapBatch* b) { b->add_length(1); }, "ARRAY_LENGTH_MISMATCH",
       "map.length"},
      {"two offsets for three", [](v1::MapBatch* b) { b->add_offset(1), b->add_offset(2); },
       "ARRAY_LENGTH_MISMATCH", "map.offset"},
      {"two permissions for three",
       [](v1::MapBatch* b) {
         b->add_permission(v1::PERMISSION_READ), b->add_permission(v1::PERMISSION_READ);
       },
       "ARRAY_LENGTH_MISMATCH", "map.permission"},
      {"two indexes for three",
       [](v1::MapBatch* b) { b->add_memory_region_index(0), b->add_memory_region_index(0); },
       "ARRAY_LENGTH_MISMATCH", "map.memory_region_index"},
      {"one iova for three",
       [](v1::MapBatch* b) {
         b->mutable_iova()->Truncate(1);
         b->add_offset(0), b->add_offset(1), b->add_offset(2);
       },
       "ARRAY_LENGTH_MISMATCH", "map.iova"},
      {"no length", [](v1::MapBatch* b) { b->clear_length(); }, "MISSING_FIELD", "map.length"},
      {"malformed region", [](v1::MapBatch* b) { b->add_memory_regions("ram"); }, "MALFORMED_NAME",
       "map.memory_regions[0]"},
      {"region index", [](v1::MapBatch* b) { b->add_memory_region_index(1); },
       "REGION_INDEX_OUT_OF_RANGE", "map.memory_region_index[0]"},
      {"permission NONE", [](v1::MapBatch* b) { b->add_permission(v1::PERMISSION_NONE); },
       "INVALID_PERMISSION", "map.permission[0]"},
      {"unknown permission",
       [](v1::MapBatch* b) { b->add_permission(static_cast<v1::Permission>(9)); },
       "UNKNOWN_ENUM_VALUE", "map.permission[0]"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.what);
    v1::MapBatch batch;
    for (int i = 0; i < 3; ++i) batch.add_iova(i);
    batch.add_length(4096);
    c.spoil(&batch);
    const ErrorDetail detail = DetailIn(ParseArrays(batch, DefaultsWithRegion()).status());
    EXPECT_EQ(detail.reason, c.reason);
    EXPECT_EQ(detail.field, c.field);
  }
}

TEST(ParseArraysTest, NamesTheFirstEntryThatUsesAMalformedRegion) {
  const struct {
    const char* what;
    std::vector<uint32_t> indexes;
    std::optional<uint64_t> entry;
  } kCases[] = {
      {"each has its own", {0, 0, 1, 1}, 2},
      {"one stands for all", {1}, 0},
      {"none does, which means the first region", {}, std::nullopt},
      {"it is named in vain", {0, 0, 0, 0}, std::nullopt},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.what);
    v1::MapBatch batch;
    for (int i = 0; i < 4; ++i) batch.add_length(4096);
    batch.add_memory_regions("memoryRegions/good");
    batch.add_memory_regions("bad");
    for (const uint32_t index : c.indexes) batch.add_memory_region_index(index);
    const absl::Status status = ParseArrays(batch, DefaultsWithRegion()).status();
    const ErrorDetail detail = DetailIn(status);
    EXPECT_EQ(detail.reason, "MALFORMED_NAME");
    EXPECT_EQ(detail.field, "map.memory_regions[1]");
    EXPECT_EQ(detail.index, c.entry);
    EXPECT_EQ(std::string(status.message()).rfind("entry ", 0) == 0, c.entry.has_value()) << status;

    // Without indexes every entry shows the first region.
    batch.set_memory_regions(0, "bad");
    batch.clear_memory_region_index();
    EXPECT_EQ(DetailIn(ParseArrays(batch, DefaultsWithRegion()).status()).index, 0u);
  }
}

TEST(ParseArraysTest, NamesBothLengthsThatDisagree) {
  v1::MapBatch batch;
  for (int i = 0; i < 5; ++i) batch.add_iova(i);
  for (int i = 0; i < 3; ++i) batch.add_length(1);
  const absl::Status status = ParseArrays(batch, DefaultsWithRegion()).status();
  EXPECT_EQ(status.message(), "map.length has 3 elements, map.iova has 5");
}

TEST(ParseArraysTest, WantsARegionFromSomewhere) {
  v1::MapBatch batch;
  batch.add_length(4096);
  EXPECT_EQ(DetailIn(ParseArrays(batch, StreamDefaults()).status()).field, "map.memory_regions");
}

TEST(ParseArraysTest, RefusesTooManyEntries) {
  v1::MapBatch map;
  v1::UnmapBatch unmap;
  for (size_t i = 0; i <= kMaxBatchEntries; ++i) map.add_length(1), unmap.add_iova(i);
  unmap.add_length(1);
  EXPECT_EQ(DetailIn(ParseArrays(map, DefaultsWithRegion()).status()).reason, "BATCH_TOO_LARGE");
  EXPECT_EQ(DetailIn(ParseArrays(unmap).status()).reason, "BATCH_TOO_LARGE");
}

TEST(ParseArraysTest, ReadsUnmaps) {
  v1::UnmapBatch batch;
  for (const uint64_t iova : {0x1000, 0x3000}) batch.add_iova(iova);
  batch.add_length(4096);
  const absl::StatusOr<UnmapBatch> out = ParseArrays(batch);
  ASSERT_TRUE(out.ok()) << out.status();
  ASSERT_EQ(out->entries.size(), 2u);
  EXPECT_EQ(out->entries[1].iova, 0x3000u);
  EXPECT_EQ(out->entries[1].length_bytes, 4096u);
  EXPECT_FALSE(out->all);
}

TEST(ParseArraysTest, RefusesUnmapsThatDoNotFit) {
  v1::UnmapBatch all;
  all.set_all(true);
  EXPECT_TRUE(ParseArrays(all)->all);
  all.add_iova(0);
  EXPECT_EQ(DetailIn(ParseArrays(all).status()).reason, "CONFLICTING_FIELDS");

  v1::UnmapBatch batch;
  for (int i = 0; i < 3; ++i) batch.add_iova(i);
  EXPECT_EQ(DetailIn(ParseArrays(batch).status()).field, "unmap.length");
  batch.add_length(1), batch.add_length(1);
  EXPECT_EQ(DetailIn(ParseArrays(batch).status()).reason, "ARRAY_LENGTH_MISMATCH");

  v1::UnmapBatch one_iova;
  one_iova.add_iova(0);
  one_iova.add_length(1), one_iova.add_length(1);
  EXPECT_EQ(DetailIn(ParseArrays(one_iova).status()).field, "unmap.iova");
  one_iova.clear_iova();
  EXPECT_EQ(DetailIn(ParseArrays(one_iova).status()).reason, "MISSING_FIELD");
}

TEST(ArrayNamesTest, NamesTheElementThatTheClientSent) {
  v1::MapBatch columns;
  for (int i = 0; i < 5; ++i) columns.add_iova(i), columns.add_length(1), columns.add_offset(0);
  columns.add_permission(v1::PERMISSION_READ);
  for (int i = 0; i < 5; ++i) columns.add_memory_region_index(0);
  columns.add_memory_regions("memoryRegions/ram");
  v1::MapBatch defaults;
  defaults.add_length(1);
  v1::UnmapBatch unmap;
  for (int i = 0; i < 5; ++i) unmap.add_iova(i);
  unmap.add_length(1);
  const struct {
    ArrayNames names;
    const char* engine;
    const char* message;
  } kCases[] = {
      {ArrayNames(columns), "mappings[3].iova", "map.iova[3]"},
      {ArrayNames(columns), "mappings[3].length", "map.length[3]"},
      {ArrayNames(columns), "mappings[3].offset", "map.offset[3]"},
      {ArrayNames(columns), "mappings[3].permission", "map.permission[0]"},
      {ArrayNames(columns), "mappings[3].memory_region", "map.memory_region_index[3]"},
      {ArrayNames(columns), "mappings[3]", "map.length[3]"},
      {ArrayNames(columns), "mappings", "map.length"},
      {ArrayNames(columns), "sequence", "map.sequence"},
      {ArrayNames(columns), "name", "name"},
      {ArrayNames(defaults), "mappings[3].iova", "map.iova"},
      {ArrayNames(defaults), "mappings[3].length", "map.length[0]"},
      {ArrayNames(defaults), "mappings[3].permission", "open.default_permission"},
      {ArrayNames(defaults), "mappings[3].memory_region", "open.default_memory_region"},
      {ArrayNames(unmap), "ranges[3].iova", "unmap.iova[3]"},
      {ArrayNames(unmap), "ranges[3].length", "unmap.length[0]"},
      {ArrayNames(unmap), "ranges[3]", "unmap.iova[3]"},
      {ArrayNames(unmap), "ranges", "unmap.iova"},
      {ArrayNames(unmap), "sequence", "unmap.sequence"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.engine);
    const absl::Status status = c.names.Rename(Error(absl::StatusCode::kNotFound, "REASON", "why")
                                                   .Errno("ENOENT")
                                                   .Index(3)
                                                   .Resource("ioas/vm0")
                                                   .Violation("violation")
                                                   .Meta("key", "value")
                                                   .Field(c.engine));
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(status.message(), "why");
    const ErrorDetail detail = DetailOf(status).value_or(ErrorDetail());
    EXPECT_EQ(detail.field, c.message);
    EXPECT_EQ(detail.reason, "REASON");
    EXPECT_EQ(detail.errno_name, "ENOENT");
    EXPECT_EQ(detail.index, 3u);
    EXPECT_EQ(detail.resource, "ioas/vm0");
    EXPECT_EQ(detail.violations.size(), 1u);
    EXPECT_EQ(detail.metadata.at("key"), "value");
  }
  EXPECT_EQ(ArrayNames(unmap).Rename(absl::AbortedError("no detail")),
            absl::AbortedError("no detail"));
}

TEST(ParseDefaultsTest, FallsBackToReadWriteWithoutRegion) {
  const absl::StatusOr<StreamDefaults> defaults = ParseDefaults(v1::OpenStream());
  ASSERT_TRUE(defaults.ok()) << defaults.status();
  EXPECT_EQ(defaults->permission, Permission::kReadWrite);
  EXPECT_FALSE(defaults->region.has_value());
}

TEST(ParseDefaultsTest, RefusesBadDefaults) {
  v1::OpenStream open;
  open.set_default_permission(v1::PERMISSION_NONE);
  EXPECT_EQ(DetailIn(ParseDefaults(open).status()).reason, "INVALID_PERMISSION");
  open.set_default_permission(v1::PERMISSION_READ);
  open.set_default_memory_region("ram");
  EXPECT_EQ(DetailIn(ParseDefaults(open).status()).field, "open.default_memory_region");
}

}  // namespace
}  // namespace viommu
