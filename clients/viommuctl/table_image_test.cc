#include "clients/viommuctl/table_image.h"

#include <functional>
#include <sstream>
#include <string>

#include "gtest/gtest.h"

namespace viommu {
namespace {

v1::ExportTablesResponse First() {
  v1::ExportTablesResponse part;
  part.mutable_summary()->set_unit_count(2);
  part.mutable_summary()->set_register_count(1);
  part.mutable_summary()->set_requester_count(1);
  part.mutable_summary()->set_page_count(2);
  part.mutable_summary()->set_guest_tables_left_out(true);
  for (const char* name : {"iommus/dmar0", "iommus/dmar1"}) {
    v1::TableImageUnit& unit = *part.add_units();
    unit.set_iommu(name);
    unit.set_architecture("vtd");
    unit.set_physical_address_bits(46);
  }
  part.mutable_units(0)->set_architecture("smmuv3");
  v1::TableImageRegister& one = *part.add_registers();
  one.set_iommu("iommus/dmar1");
  one.set_register_("RTADDR");
  one.set_offset(0x20);
  one.set_value(0x1122334455667788);
  return part;
}

v1::ExportTablesResponse Rest() {
  v1::ExportTablesResponse part;
  v1::TableImageRequester& requester = *part.add_requesters();
  requester.set_device("devices/0000:01:00.0");
  requester.set_iommu("iommus/dmar1");
  requester.set_source_id(0x100);
  requester.set_pasid_bits(20);
  for (const uint64_t address : {0x1000, 0x5000}) {
    v1::TableImagePage& page = *part.add_pages();
    page.set_physical_address(address);
    page.set_data(std::string(4096, static_cast<char>(address >> 12)));
  }
  return part;
}

TEST(TableImageTest, WritesTheFormatByteForByte) {
  std::ostringstream out;
  TableImageWriter writer(&out);
  ASSERT_TRUE(writer.Write(First()).ok());
  ASSERT_TRUE(writer.Write(Rest()).ok());
  ASSERT_TRUE(writer.Finish().ok());
  const auto text = [](std::string value, size_t size) {
    value.resize(size, '\0');
    return value;
  };
  using std::string_literals::operator""s;
  std::string want = "VIOMMUTI\x01\0\0\0\x40\0\0\0"s + "\x01\0\0\0\0\0\0\0"s +
                     "\x02\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0"s + "\x02\0\0\0\0\0\0\0"s +
                     std::string(16, '\0');
  want += text("dmar0", 64) + text("smmuv3", 16) + "\x2e\0\0\0\0\0\0\0"s;
  want += text("dmar1", 64) + text("vtd", 16) + "\x2e\0\0\0\0\0\0\0"s;
  want += text("RTADDR", 16) + "\x01\0\0\0\0\0\0\0"s + "\x20\0\0\0\0\0\0\0"s +
          "\x88\x77\x66\x55\x44\x33\x22\x11";
  want += text("0000:01:00.0", 64) + "\x01\0\0\0\0\x01\0\0\x14\0\0\0\0\0\0\0"s;
  want += "\0\x10\0\0\0\0\0\0"s + std::string(4096, '\x01');
  want += "\0\x50\0\0\0\0\0\0"s + std::string(4096, '\x05');
  ASSERT_EQ(out.str().size(), want.size() + 4) << "and a checksum, which tests/tables looks at";
  EXPECT_EQ(out.str().substr(0, want.size()), want);
}

TEST(TableImageTest, RefusesPartsThatDoNotBelongTogether) {
  using Part = v1::ExportTablesResponse;
  const struct {
    const char* name;
    std::function<void(Part*, Part*)> change;
  } kCases[] = {
      {"no summary", [](Part* first, Part*) { first->clear_summary(); }},
      {"two summaries", [](Part*, Part* rest) { rest->mutable_summary(); }},
      {"a unit is missing", [](Part* first, Part*) { first->mutable_units()->RemoveLast(); }},
      {"a register of nobody",
       [](Part* first, Part*) { first->mutable_registers(0)->set_iommu("iommus/x"); }},
      {"a requester of nobody",
       [](Part*, Part* rest) { rest->mutable_requesters(0)->set_iommu("iommus/x"); }},
      {"a requester is missing", [](Part*, Part* rest) { rest->clear_requesters(); }},
      {"a page is missing", [](Part*, Part* rest) { rest->mutable_pages()->RemoveLast(); }},
      {"a page too many", [](Part*, Part* rest) { *rest->add_pages() = rest->pages(1); }},
      {"a short page", [](Part*, Part* rest) { rest->mutable_pages(1)->set_data("x"); }},
      {"a page off its place",
       [](Part*, Part* rest) { rest->mutable_pages(1)->set_physical_address(0x5008); }},
      {"pages in the wrong order",
       [](Part*, Part* rest) { rest->mutable_pages(1)->set_physical_address(0x1000); }},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    Part first = First(), rest = Rest();
    c.change(&first, &rest);
    std::ostringstream out;
    TableImageWriter writer(&out);
    absl::Status status = writer.Write(first);
    if (status.ok()) status = writer.Write(rest);
    if (status.ok()) status = writer.Finish();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  }
}

TEST(TableImageTest, NoticesAFullDisk) {
  std::ostringstream out;
  out.setstate(std::ios::badbit);
  TableImageWriter writer(&out);
  EXPECT_EQ(writer.Write(First()).code(), absl::StatusCode::kUnknown);
}

}  // namespace
}  // namespace viommu
