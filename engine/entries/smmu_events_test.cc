#include "engine/entries/smmu_events.h"

#include <string>

#include "absl/types/optional.h"
#include "engine/entries/smmu_events_testing.h"
#include "gtest/gtest.h"

namespace viommu::smmu {
namespace {

// A translation fault of stage 1.
Event Fault() {
  Event event;
  event.id = EventId::kTranslation;
  event.stream_id = 0x8001;
  event.reason = EventClass::kTransaction;
  event.address = 0x7fff'1234'5678;
  return event;
}

TEST(SmmuEventsTest, ReadsTheGoldenWords) {
  const Event event =
      DecodeEvent({0x8001'1234'5813, 0x118e'8000'beef, 0x7fff'1234'5678, 0x000a'bcde'f012'3fff});
  EXPECT_EQ(event.id, EventId::kPermission);
  EXPECT_EQ(event.stream_id, 0x8001u);
  EXPECT_EQ(event.ssid, absl::make_optional<uint32_t>(0x12345));
  EXPECT_TRUE(event.stalled);
  EXPECT_EQ(event.stall_tag, 0xbeef);
  EXPECT_TRUE(event.privileged);
  EXPECT_TRUE(event.instruction);
  EXPECT_TRUE(event.read);
  EXPECT_TRUE(event.stage2);
  EXPECT_EQ(event.reason, EventClass::kTable);
  EXPECT_TRUE(event.table_read);
  EXPECT_EQ(event.address, 0x7fff'1234'5678u);
  EXPECT_EQ(event.ipa, 0x000a'bcde'f012'3000u);

  const PageRequest request =
      DecodePageRequest({0x6c01'2345'0000'8001 | uint64_t{1} << 63, 0x7fff'1234'51ff});
  EXPECT_EQ(request.stream_id, 0x8001u);
  EXPECT_EQ(request.ssid, absl::make_optional<uint32_t>(0x12345));
  EXPECT_TRUE(request.privileged);
  EXPECT_TRUE(request.execute);
  EXPECT_FALSE(request.read);
  EXPECT_TRUE(request.write);
  EXPECT_TRUE(request.last);
  EXPECT_EQ(request.group, 0x1ff);
  EXPECT_EQ(request.address, 0x7fff'1234'5000u);
}

// Each field alone sets the bits that are its own.
TEST(SmmuEventsTest, EachFieldHasItsBits) {
  const auto with = [](auto change) {
    Event event;
    event.id = EventId::kTranslation;
    change(&event);
    return EncodeEvent(event);
  };
  const struct {
    const char* name;
    EventRecord record, want;
  } kCases[] = {
      {"stall", with([](Event* e) { e->stalled = true; }), {0x10, 0x8000'0000}},
      {"PnU", with([](Event* e) { e->privileged = true; }), {0x10, 0x2'0000'0000}},
      {"InD", with([](Event* e) { e->instruction = true; }), {0x10, 0x4'0000'0000}},
      {"RnW", with([](Event* e) { e->read = true; }), {0x10, 0x8'0000'0000}},
      {"S2", with([](Event* e) { e->stage2 = true; }), {0x10, 0x80'0000'0000}},
      {"CLASS",
       with([](Event* e) { e->reason = EventClass::kTransaction; }),
       {0x10, 0x200'0000'0000}},
      {"TT_READ", with([](Event* e) { e->table_read = true; }), {0x10, 0x1000'0000'0000}},
      {"SSID 0", with([](Event* e) { e->ssid = 0; }), {0x810, 0}},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(c.record, c.want);
  }
}

TEST(SmmuEventsTest, DecodesWhatWasEncoded) {
  for (const EventId id : {EventId::kTranslation, EventId::kAddressSize, EventId::kAccess,
                           EventId::kPermission, EventId::kBadSte, EventId::kVmsFetch}) {
    for (int flags = 0; flags < 128; ++flags) {
      Event event = Fault();
      event.id = id;
      if ((flags & 1) != 0) event.ssid = 0xfffff;
      if (id != EventId::kBadSte && id != EventId::kVmsFetch) {
        event.stalled = (flags & 2) != 0;
        event.privileged = (flags & 4) != 0;
        event.instruction = (flags & 8) != 0;
        event.read = (flags & 16) != 0;
        event.stage2 = (flags & 32) != 0;
        event.table_read = (flags & 64) != 0;
        event.stall_tag = event.stalled ? 0x8001 : 0;
        event.ipa = event.stage2 ? 0x000f'ffff'ffff'f000 : 0;
      } else {
        event.reason = EventClass::kCd;
        event.address = 0;
      }
      const Event back = DecodeEvent(EncodeEvent(event));
      EXPECT_EQ(EncodeEvent(back), EncodeEvent(event));
      EXPECT_EQ(back.ssid, event.ssid);
      EXPECT_EQ(back.address, event.address);
    }
  }
  for (int flags = 0; flags < 64; ++flags) {
    PageRequest request;
    request.stream_id = 0xffff'ffff;
    if ((flags & 1) != 0) request.ssid = 0x54321;
    request.privileged = (flags & 2) != 0;
    request.execute = (flags & 4) != 0;
    request.read = (flags & 8) != 0;
    request.write = (flags & 16) != 0;
    request.last = (flags & 32) != 0;
    request.group = 0x155;
    request.address = 0xffff'ffff'ffff'f000;
    const PageRequest back = DecodePageRequest(EncodePageRequest(request));
    EXPECT_EQ(EncodePageRequest(back), EncodePageRequest(request));
    EXPECT_EQ(back.ssid, request.ssid);
    EXPECT_EQ(back.read, request.read);
    EXPECT_EQ(back.last, request.last);
  }
}

TEST(SmmuEventsTest, ReadsFaultFieldsOfFaultsAlone) {
  const Event event = DecodeEvent({0x8001'0000'0004, ~uint64_t{0}, 0x1000, 0x2000});
  EXPECT_FALSE(event.stalled);
  EXPECT_FALSE(event.stage2);
  EXPECT_EQ(event.address, 0u);
  EXPECT_TRUE(GuestGets(event));
}

TEST(SmmuEventsTest, TellsAGuestOfItsOwnFaults) {
  for (int code = 0; code < 256; ++code) {
    Event event = Fault();
    event.id = EventId(code);
    const bool want = code == 0x04 || code == 0x06 || code == 0x08 || code == 0x0a ||
                      (code >= 0x10 && code <= 0x13);
    EXPECT_EQ(GuestGets(event), want) << code;
    event.stage2 = true;
    EXPECT_FALSE(GuestGets(event)) << code;
    event.stage2 = false;
    event.stalled = true;
    EXPECT_FALSE(GuestGets(event)) << code;
  }
}

TEST(SmmuEventsTest, ChangesNothingButTheStreamIdForAGuest) {
  EXPECT_EQ(GuestEventRecord({0x8001'1234'5813, 1, 2, 3}, 0xffff'fffe),
            (EventRecord{0xffff'fffe'1234'5813, 1, 2, 3}));
}

TEST(SmmuEventsTest, DescribesEventsInWords) {
  EXPECT_EQ(DescribeEvent(Fault()),
            "F_TRANSLATION (0x10), stream 0x8001, write at 0x7fff12345678, stage 1, for the "
            "request");
  Event event = Fault();
  event.id = EventId::kPermission;
  event.ssid = 5;
  event.privileged = event.read = event.stage2 = event.stalled = true;
  event.reason = EventClass::kTable;
  event.ipa = 0x4000;
  event.stall_tag = 9;
  EXPECT_EQ(DescribeEvent(event),
            "F_PERMISSION (0x13), stream 0x8001, SSID 5, privileged read at 0x7fff12345678, stage "
            "2, while walking the first stage, intermediate address 0x4000, stalled with tag 9");
  event = Fault();
  event.instruction = true;
  event.reason = EventClass::kCd;
  EXPECT_EQ(DescribeEvent(event),
            "F_TRANSLATION (0x10), stream 0x8001, fetch at 0x7fff12345678, stage 1, while fetching "
            "a CD");
  event.reason = EventClass(3);
  EXPECT_NE(DescribeEvent(event).find("for a reserved reason"), std::string::npos);
  event.id = EventId(0xe0);
  EXPECT_EQ(DescribeEvent(event), "unknown (0xe0), stream 0x8001");
  const struct {
    EventId id;
    const char* name;
  } kNames[] = {
      {EventId::kBadStreamId, "C_BAD_STREAMID"},
      {EventId::kSteFetch, "F_STE_FETCH"},
      {EventId::kBadSte, "C_BAD_STE"},
      {EventId::kStreamDisabled, "F_STREAM_DISABLED"},
      {EventId::kBadSubstreamId, "C_BAD_SUBSTREAMID"},
      {EventId::kCdFetch, "F_CD_FETCH"},
      {EventId::kBadCd, "C_BAD_CD"},
      {EventId::kAddressSize, "F_ADDR_SIZE"},
      {EventId::kAccess, "F_ACCESS"},
      {EventId::kVmsFetch, "F_VMS_FETCH"},
  };
  for (const auto& c : kNames) EXPECT_EQ(NameOf(c.id), c.name);
}

}  // namespace
}  // namespace viommu::smmu
