// What an image has, and what it has not. That it can be walked: tests/tables.
#include "engine/backend/soft/vtd_table_image.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "engine/backend/soft/image_pages.h"
#include "engine/backend/soft/stages_world.h"
#include "engine/base/errors.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

class VtdTableImageTest : public StagesWorld {
 protected:
  void SetUp() override {
    Claim(kDiskA);
    Claim(kFarDisk);
    ASSERT_TRUE(Switch(kDiskA, kRid, On(kParentB)).ok());
    ASSERT_TRUE(Switch(kDiskA, 5, On(kFirstA)).ok());
    ASSERT_TRUE(Switch(kDiskA, 777, On(kNestedA)).ok());
  }
  TableImage Export() {
    auto image = backend_->tables()->ExportTables();
    EXPECT_TRUE(image.ok()) << image.status();
    return *std::move(image);
  }
  static const TableImage::MemoryPage* PageOf(const TableImage& image, uint64_t address) {
    const PhysAddr page{address & ~(kPage - 1)};
    for (const auto& one : image.pages) {
      if (one.address == page) return &one;
    }
    return nullptr;
  }
  static uint64_t WordIn(const TableImage& image, uint64_t address) {
    const auto* page = PageOf(image, address);
    return page == nullptr ? ~uint64_t{0} : (*page->words)[address % kPage / 8];
  }
  uint64_t GuestAt(uint64_t offset) {
    return sim_->PhysicalAddress(kRegion, GuestOffset(0) + offset)->value;
  }
};

TEST_F(VtdTableImageTest, HasEveryEntryOnEveryPath) {
  const TableImage image = Export();
  EXPECT_TRUE(image.complete);
  size_t entries = 0;
  for (const DeviceIndex device : {kDiskA, kFarDisk, kHostNic}) {
    for (const std::optional<uint32_t> pasid : {kRid, {5}, {777}, {778}}) {
      for (const Iova iova : {iova_, iova_ + kPage, Iova{0}}) {
        for (const TableEntryDump& entry : sim_->DumpTables(device, pasid, iova)) {
          ++entries;
          for (size_t i = 0; i < entry.words.size(); ++i) {
            EXPECT_EQ(WordIn(image, entry.address.value + 8 * i), entry.words[i]) << entry.table;
          }
        }
      }
    }
  }
  EXPECT_GT(entries, 150u);
}

TEST_F(VtdTableImageTest, SaysHowToReadIt) {
  const TableImage image = Export();
  ASSERT_EQ(image.units.size(), backend_->topology().iommus.size());
  EXPECT_EQ(image.units[0].architecture, "vtd");
  EXPECT_EQ(image.units[0].physical_address_bits,
            backend_->topology().iommus[0].host_address_width_bits);
  std::map<std::string, uint64_t> registers;
  for (const auto& one : image.registers) {
    if (one.iommu == image.units[0].iommu) registers[one.name] = one.value;
    if (one.name == "RTADDR") {
      EXPECT_EQ(one.offset, 0x20u);
    }
  }
  const hardware::VtdModel& unit = HardwareOf(kDiskA);
  EXPECT_EQ(registers.at("RTADDR"), unit.Read64(0x20));
  EXPECT_EQ(registers.at("CAP"), unit.Read64(0x08));
  EXPECT_EQ(registers.at("ECAP"), unit.Read64(0x10));
  EXPECT_EQ(registers.at("GSTS"), unit.Read32(0x1c));
  EXPECT_EQ(registers.at("IQH"), unit.Read64(0x80));
  EXPECT_EQ(registers.at("IQT"), unit.Read64(0x88));
  EXPECT_EQ(registers.at("IQA"), unit.Read64(0x90));
  // Both pages of the ring.
  EXPECT_NE(PageOf(image, registers.at("IQA")), nullptr);
  EXPECT_NE(PageOf(image, registers.at("IQA") + kPage), nullptr);
  ASSERT_EQ(image.requesters.size(), backend_->topology().devices.size());
  EXPECT_EQ(image.requesters[kDiskA].device, backend_->topology().devices[kDiskA].id);
  EXPECT_EQ(image.requesters[kDiskA].source_id, backend_->machine().source_id_of(kDiskA));
  EXPECT_EQ(image.requesters[kDiskA].iommu, backend_->topology().devices[kDiskA].iommu);
}

TEST_F(VtdTableImageTest, HasGuestsTablesButNoPagesOfData) {
  const TableImage image = Export();
  for (int level = 4; level >= 1; --level) {
    EXPECT_NE(PageOf(image, GuestAt(GuestTables(0) + kPage * (4 - level))), nullptr) << level;
  }
  EXPECT_EQ(PageOf(image, GuestAt(GuestPage(0))), nullptr);
  EXPECT_EQ(PageOf(image, GuestAt(GuestTables(1))), nullptr) << "kNestedA2 is on no device";
  uint64_t last = 0;
  for (const auto& page : image.pages) {
    EXPECT_GT(page.address.value, last);
    EXPECT_EQ(page.address.value % kPage, 0u);
    last = page.address.value;
  }
}

TEST_F(VtdTableImageTest, LeavesOutWhatNothingLeadsToAnyMore) {
  const size_t attached = Export().pages.size();
  ASSERT_TRUE(Switch(kDiskA, 777, {}).ok());
  const TableImage without = Export();
  EXPECT_LT(without.pages.size(), attached);
  EXPECT_EQ(PageOf(without, GuestAt(GuestTables(0))), nullptr);
}

TEST_F(VtdTableImageTest, EndsThoughAGuestsTablesGoInCircles) {
  // Every entry of the top table leads to itself.
  for (uint64_t i = 0; i < 512; ++i)
    Put(GuestOffset(0) + GuestTables(0) + i * 8, GuestTables(0) | 7);
  const TableImage image = Export();
  EXPECT_TRUE(image.complete);
  EXPECT_NE(PageOf(image, GuestAt(GuestTables(0))), nullptr);
  EXPECT_EQ(PageOf(image, GuestAt(GuestTables(0) + kPage)), nullptr);
}

TEST_F(VtdTableImageTest, FollowsGuestsOnlyWhereTheSecondStageLetsThem) {
  UnmapPage(kIoasParentA, GuestTables(0) + kPage);  // The guest's table of level 3.
  const TableImage image = Export();
  EXPECT_NE(PageOf(image, GuestAt(GuestTables(0))), nullptr);
  EXPECT_EQ(PageOf(image, GuestAt(GuestTables(0) + kPage)), nullptr);
  EXPECT_EQ(PageOf(image, GuestAt(GuestTables(0) + 2 * kPage)), nullptr);
}

TEST_F(VtdTableImageTest, LimitsWhatGuestsCanPutIntoIt) {
  ImagePages pages(&backend_->machine().memory().physical());
  VtdTableCollector collector(&pages, /*guest_limit=*/2);
  ASSERT_TRUE(collector.Collect(HardwareOf(kDiskA)).ok());
  EXPECT_FALSE(collector.complete());
  TableImage image;
  image.pages = pages.Take();
  EXPECT_NE(PageOf(image, GuestAt(GuestTables(0) + kPage)), nullptr);
  EXPECT_EQ(PageOf(image, GuestAt(GuestTables(0) + 2 * kPage)), nullptr);
}

TEST_F(VtdTableImageTest, LimitsWhatGuestsCanHaveItLookFor) {
  // Every entry of the top table leads to where nothing is mapped.
  for (uint64_t i = 0; i < 512; ++i) {
    Put(GuestOffset(0) + GuestTables(0) + i * 8, ((uint64_t{1} << 39) + i * kPage) | 7);
  }
  ImagePages pages(&backend_->machine().memory().physical());
  VtdTableCollector all(&pages, /*guest_limit=*/513);
  ASSERT_TRUE(all.Collect(HardwareOf(kDiskA)).ok());
  EXPECT_TRUE(all.complete());
  VtdTableCollector less(&pages, /*guest_limit=*/512);
  ASSERT_TRUE(less.Collect(HardwareOf(kDiskA)).ok());
  EXPECT_FALSE(less.complete());
}

TEST_F(VtdTableImageTest, RefusesToHoldMoreThanItsLimit) {
  ImagePages pages(&backend_->machine().memory().physical(), /*limit=*/10);
  VtdTableCollector collector(&pages);
  const absl::Status status = collector.Collect(HardwareOf(kDiskA));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(DetailOf(status)->reason, "IMAGE_TOO_LARGE");
  EXPECT_EQ(pages.Take().size(), 10u);
}

TEST_F(VtdTableImageTest, CopiesAPageOnce) {
  ImagePages pages(&backend_->machine().memory().physical());
  const PhysAddr page = *sim_->PhysicalAddress(kRegion, 0);
  Put(0, 1);
  EXPECT_EQ((**pages.Copy(page))[0], 1u);
  Put(0, 2);
  EXPECT_EQ((**pages.Copy(page))[0], 1u);
  EXPECT_EQ(*pages.Copy(PhysAddr{0}), nullptr) << "no memory is there";
  EXPECT_EQ(pages.Take().size(), 1u);
}

}  // namespace
}  // namespace viommu
