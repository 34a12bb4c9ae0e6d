#include "server/describe_tables.h"

#include <cstring>
#include <memory>
#include <vector>

#include "gtest/gtest.h"

namespace viommu {
namespace {

TableEntryDump GuestEntry() {
  TableEntryDump entry;
  entry.table = "first-stage level 3";
  entry.address = PhysAddr{0x5008};
  entry.words = {1, 0xff};
  entry.decoded = "table";
  entry.stage = TableStage::kStage1;
  entry.level = 3;
  entry.looks_up = 0x40000000;
  entry.in_stage1_as = 0x2008;
  return entry;
}

TEST(DescribeTablesTest, ShowsAnEntryWithBothItsAddresses) {
  const v1::TableEntry entry = Describe(GuestEntry());
  EXPECT_EQ(entry.table(), "first-stage level 3");
  EXPECT_EQ(entry.physical_address(), 0x5008u);
  EXPECT_EQ(entry.physical_address_text(), "0x5008");
  EXPECT_EQ(entry.words_text(1), "0xff");
  EXPECT_EQ(entry.stage(), v1::TABLE_STAGE_1);
  EXPECT_EQ(entry.level(), 3u);
  EXPECT_EQ(entry.input_address_text(), "0x40000000");
  EXPECT_EQ(entry.guest_address(), 0x2008u);
  EXPECT_EQ(entry.guest_address_text(), "0x2008");
}

TEST(DescribeTablesTest, AnEntryOutsideOfPageTablesHasNoInput) {
  const v1::TableEntry entry = Describe(TableEntryDump());
  EXPECT_EQ(entry.stage(), v1::TABLE_STAGE_CONFIGURATION);
  EXPECT_FALSE(entry.has_input_address());
  EXPECT_FALSE(entry.has_guest_address());
}

TEST(DescribeTablesTest, AnAccessHasOneOutcome) {
  TranslationExplanation explanation;
  explanation.physical = PhysAddr{0x123};
  explanation.page_bytes = 4096;
  EXPECT_EQ(Describe(explanation).translated().physical_address_text(), "0x123");
  EXPECT_EQ(Describe(explanation).translated().page_size_bytes(), 4096u);
  explanation.interrupt_message = true;
  EXPECT_TRUE(Describe(explanation).has_interrupt_message());
  TranslationExplanation::Fault fault;
  fault.code = 0x71;
  fault.reason = "SFS.2";
  fault.stage = TableStage::kStage1;
  fault.level = 3;
  fault.entry = GuestEntry();
  fault.why = "because";
  explanation.fault = fault;
  const v1::TranslationFault shown = Describe(explanation).fault();
  EXPECT_EQ(shown.code(), 0x71u);
  EXPECT_EQ(shown.reason(), "SFS.2");
  EXPECT_EQ(shown.stage(), v1::TABLE_STAGE_1);
  EXPECT_EQ(shown.level(), 3u);
  EXPECT_EQ(shown.entry().guest_address(), 0x2008u);
  EXPECT_EQ(shown.why(), "because");
  explanation.fault->entry.reset();
  EXPECT_EQ(Describe(explanation).fault().stage(), v1::TABLE_STAGE_UNSPECIFIED);
}

TableImage SomeImage(size_t pages) {
  TableImage image;
  image.units.push_back({"dmar0", "vtd", 46});
  image.registers.push_back({"dmar0", "RTADDR", 0x20, 0x1400});
  image.requesters.push_back({"0000:01:00.0", "dmar0", 0x100, 20});
  for (size_t i = 0; i < pages; ++i) {
    auto words = std::make_unique<TableImage::Words>();
    words->fill(i);
    image.pages.push_back({PhysAddr{0x1000 * (i + 1)}, std::move(words)});
  }
  return image;
}

std::vector<v1::ExportTablesResponse> PartsOf(const TableImage& image, size_t most = 1000) {
  std::vector<v1::ExportTablesResponse> parts;
  DescribeInParts(image, [&](const v1::ExportTablesResponse& part) {
    parts.push_back(part);
    return parts.size() < most;
  });
  return parts;
}

TEST(DescribeTablesTest, SendsAnImageInBoundedParts) {
  const auto parts = PartsOf(SomeImage(130));
  ASSERT_EQ(parts.size(), 5u);
  EXPECT_EQ(parts[0].summary().page_count(), 130u);
  EXPECT_EQ(parts[0].summary().register_count(), 1u);
  EXPECT_FALSE(parts[0].summary().guest_tables_left_out());
  EXPECT_EQ(parts[0].units(0).iommu(), "iommus/dmar0");
  EXPECT_EQ(parts[0].units(0).physical_address_bits(), 46u);
  EXPECT_EQ(parts[0].registers(0).register_(), "RTADDR");
  EXPECT_EQ(parts[0].registers(0).value(), 0x1400u);
  EXPECT_EQ(parts[1].requesters(0).device(), "devices/0000:01:00.0");
  EXPECT_EQ(parts[1].requesters(0).source_id(), 0x100u);
  EXPECT_EQ(parts[2].pages_size(), kPagesInPart);
  EXPECT_EQ(parts[3].pages_size(), kPagesInPart);
  ASSERT_EQ(parts[4].pages_size(), 2);
  EXPECT_EQ(parts[4].pages(1).physical_address(), 0x1000u * 130);
  uint64_t word = 0;
  ASSERT_EQ(parts[4].pages(1).data().size(), TableImage::kPageBytes);
  std::memcpy(&word, parts[4].pages(1).data().data() + 4088, 8);
  EXPECT_EQ(word, 129u);
}

TEST(DescribeTablesTest, StopsWhenNobodyTakesTheParts) {
  for (const size_t most : {1u, 2u, 3u}) EXPECT_EQ(PartsOf(SomeImage(200), most).size(), most);
}

TEST(DescribeTablesTest, SaysThatGuestsTablesAreLeftOut) {
  TableImage image = SomeImage(0);
  image.complete = false;
  EXPECT_TRUE(PartsOf(image)[0].summary().guest_tables_left_out());
}

TEST(DescribeTablesTest, NamesTheArchitectureOfEachUnit) {
  TableImage image = SomeImage(0);
  image.units.push_back({"smmu0", "smmuv3", 48});
  const auto parts = PartsOf(image);
  ASSERT_EQ(parts[0].units_size(), 2);
  EXPECT_EQ(parts[0].units(0).architecture(), "vtd");
  EXPECT_EQ(parts[0].units(1).architecture(), "smmuv3");
}

}  // namespace
}  // namespace viommu
