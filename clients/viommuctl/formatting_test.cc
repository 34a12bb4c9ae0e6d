// What operators write and read: numbers, names, tables, rates.
#include <string>

#include "absl/time/time.h"
#include "clients/viommuctl/kinds.h"
#include "clients/viommuctl/nearest.h"
#include "clients/viommuctl/rates.h"
#include "clients/viommuctl/table.h"
#include "clients/viommuctl/values.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using ::testing::HasSubstr;

TEST(ValuesTest, ReadsSizesExactly) {
  const struct {
    const char* text;
    uint64_t want;
  } kCases[] = {{"0", 0},
                {"4096", 4096},
                {"0x1B", 27},
                {"4K", 4096},
                {"4k", 4096},
                {"2M", 2 << 20},
                {"1GiB", 1 << 30},
                {"16777215T", 0xffffff0000000000},
                {"18446744073709551615", UINT64_MAX}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.text);
    const auto size = ParseSize(c.text);
    ASSERT_TRUE(size.ok()) << size.status();
    EXPECT_EQ(*size, c.want);
  }
}

TEST(ValuesTest, RefusesSizesThatAreNoneAndNamesThem) {
  for (const char* text : {"", "K", "4X", "-1", "+1", " 1", "1.5G", "0x", "16777216T",
                           "18446744073709551616", "4KK", "G4"}) {
    SCOPED_TRACE(text);
    const auto size = ParseSize(text);
    ASSERT_FALSE(size.ok());
    EXPECT_THAT(std::string(size.status().message()), HasSubstr(text));
  }
}

TEST(ValuesTest, GivesBackTheSizeThatItShows) {
  for (const uint64_t bytes : {uint64_t{0}, uint64_t{1}, uint64_t{4096}, uint64_t{4097},
                               uint64_t{3} << 30, uint64_t{5} << 40, UINT64_MAX}) {
    EXPECT_EQ(ParseSize(FormatSize(bytes)).value_or(~bytes), bytes) << FormatSize(bytes);
  }
  EXPECT_EQ(FormatSize(1536), "1536");
  EXPECT_EQ(FormatSize(1 << 30), "1G");
}

TEST(ValuesTest, ReadsAddressesInBothBases) {
  EXPECT_EQ(ParseAddress("0xFFFFffffFFFFffff").value_or(0), UINT64_MAX);
  EXPECT_EQ(ParseAddress("4096").value_or(0), 4096u);
  for (const char* text : {"", "4K", "0x10000000000000000", "abc", "-1"}) {
    EXPECT_FALSE(ParseAddress(text).ok()) << text;
  }
}

TEST(ValuesTest, ReadsRangesInBothForms) {
  const auto whole = ParseRange("0x0-0xffffffffffffffff");
  ASSERT_TRUE(whole.ok());
  EXPECT_EQ(whole->last(), UINT64_MAX);
  const auto sized = ParseRange("0x1000+4K");
  ASSERT_TRUE(sized.ok());
  EXPECT_EQ(sized->last(), 0x1fffu);
  EXPECT_TRUE(ParseRange("0xfffffffffffff000+4K").ok());
  for (const char* text : {"", "1", "5-4", "0x1000+0", "0xfffffffffffff000+8K", "1-", "-1"}) {
    EXPECT_FALSE(ParseRange(text).ok()) << text;
  }
}

TEST(ValuesTest, RefusesTimesThatDoNotPass) {
  EXPECT_EQ(ParseDuration("500ms").value_or(absl::ZeroDuration()), absl::Milliseconds(500));
  for (const char* text : {"", "0s", "-1s", "5", "0", "inf"}) {
    EXPECT_FALSE(ParseDuration(text).ok()) << text;
  }
  EXPECT_EQ(ParseDuration("5").status().message(), "\"5\" has no unit; write 5s or 5ms");
}

TEST(ValuesTest, ReadsBytesInHexadecimal) {
  EXPECT_EQ(ParseHexBytes("00 ffA0").value_or(""), std::string("\0\xff\xa0", 3));
  EXPECT_EQ(ParseHexBytes("0xff00").value_or(""), std::string("\xff\0", 2));
  for (const char* text : {"", "0", "0x", "0x0", "0x0x00", "zz"})
    EXPECT_FALSE(ParseHexBytes(text).ok()) << text;
}

TEST(ValuesTest, DumpsBytesWithTheirAddresses) {
  EXPECT_EQ(HexDump(0, "a"),
            "0x0000000000000000  61                                                |a|\n");
  EXPECT_EQ(HexDump(0x1000, "0123456789abcdef\n"),
            "0x0000000000001000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  "
            "|0123456789abcdef|\n"
            "0x0000000000001010  0a                                                |.|\n");
}

TEST(KindsTest, CompletesShortNames) {
  EXPECT_EQ(ResourceName(Kind::kIoas, "vm0").value_or(""), "ioas/vm0");
  EXPECT_EQ(ResourceName(Kind::kIoas, "ioas/vm0").value_or(""), "ioas/vm0");
  EXPECT_EQ(ResourceName(Kind::kIoas, "owners/x/ioas/vm0").value_or(""), "owners/x/ioas/vm0");
  EXPECT_EQ(ResourceName(Kind::kQueue, "dmar0").value_or(""), "iommus/dmar0/invalidationQueue");
  EXPECT_EQ(ResourceName(Kind::kQueue, "iommus/dmar0").value_or(""),
            "iommus/dmar0/invalidationQueue");
}

TEST(KindsTest, RefusesTheNameOfAnotherKind) {
  for (const char* text : {"", "domains/vm0", "owners/x", "owners/x/domains/vm0", "a/b"}) {
    EXPECT_FALSE(ResourceName(Kind::kIoas, text).ok()) << text;
  }
}

TEST(KindsTest, ShortensWhatItCanReadAgain) {
  EXPECT_EQ(ShortName("devices/0000:01:00.0"), "0000:01:00.0");
  EXPECT_EQ(ShortName("iommus/dmar0/invalidationQueue"), "dmar0");
  EXPECT_EQ(ShortName("owners/x/ioas/vm0"), "owners/x/ioas/vm0");
  EXPECT_EQ(KindOf("owners/x/ioas/vm0"), Kind::kIoas);
  EXPECT_EQ(KindOf("iommus/dmar0"), Kind::kIommu);
  EXPECT_EQ(KindOf("unmap everything"), Kind::kNone);
}

TEST(NearestTest, FindsWhatWasMeant) {
  const std::vector<std::string> words = {"attach", "detach", "list", "get"};
  EXPECT_EQ(Nearest("atach", words), "attach");
  EXPECT_EQ(Nearest("lsit", words), "list");
  EXPECT_EQ(Nearest("frobnicate", words), "");
}

TEST(TableTest, AlignsColumnsAndMarksEmptyCells) {
  Table table({"NAME", "SIZE"});
  table.Add({"a", "4K"});
  table.Add({"longer", ""});
  EXPECT_EQ(table.Format(true), "NAME    SIZE\na       4K\nlonger  -\n");
  EXPECT_EQ(table.Format(false, 2), "  a       4K\n  longer  -\n");
}

TEST(TableTest, ShowsNothingThatATerminalWouldObey) {
  Table table;
  table.Add({"a\x1b[2J\nb", "c"});
  EXPECT_EQ(table.Format(true), "a [2J b  c\n");
}

TEST(RatesTest, CountsPerSecond) {
  const TwoScrapes scrapes = {{{"m{kind=\"a\"}", 10}, {"m{kind=\"b\"}", 1}},
                              {{"m{kind=\"a\"}", 30}, {"m{kind=\"b\"}", 1}, {"mm", 99}},
                              absl::Seconds(2)};
  EXPECT_EQ(RateOf(scrapes, "m"), 10);
  EXPECT_EQ(RateOf(scrapes, "m", "kind", "a"), 10);
  EXPECT_EQ(RateOf(scrapes, "m", "kind", "b"), 0);
}

TEST(RatesTest, CountsFromZeroAfterARestart) {
  const TwoScrapes scrapes = {{{"m", 100}}, {{"m", 4}}, absl::Seconds(2)};
  EXPECT_EQ(RateOf(scrapes, "m"), 2);
}

TEST(RatesTest, ShowsQueuesFaultsAndTheBusiestRpcs) {
  const std::string rpc = "grpc_server_handled_total{grpc_method=\"Map\",grpc_code=\"";
  const TwoScrapes scrapes = {{},
                              {{rpc + "OK\"}", 6},
                               {rpc + "NotFound\"}", 2},
                               {"viommu_invalidation_queue_depth{iommu=\"dmar0\"}", 7},
                               {"viommu_dma_faults_total{reason=\"SPT.2\"}", 3}},
                              absl::Seconds(1)};
  const std::string page = TopPage(scrapes, "here");
  EXPECT_THAT(page, HasSubstr("RPCs               8.0\n"));
  EXPECT_THAT(page, HasSubstr("RPCs that failed   2.0\n"));
  EXPECT_THAT(page, HasSubstr("dmar0  7      0.0    0.0\n"));
  EXPECT_THAT(page, HasSubstr("SPT.2      3.0\n"));
  EXPECT_THAT(page, HasSubstr("Map  8.0   2.0     0.000\n"));
}

}  // namespace
}  // namespace viommu
