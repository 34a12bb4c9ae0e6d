#include "engine/entries/smmu_guest.h"

#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "engine/base/address.h"
#include "engine/base/errors.h"
#include "engine/entries/smmu_commands.h"
#include "engine/entries/smmu_ste.h"
#include "gtest/gtest.h"

namespace viommu::smmu {
namespace {

constexpr uint64_t kGranules = 4096 | 16384 | 65536;
constexpr GuestCommandCaps kFullCaps = {true, true, true, 16, 20, kGranules};
constexpr GuestCommandCaps kBareCaps = {false, false, false, 8, 0, 4096};
const GuestCommandTarget kTarget = {0x1234, 0x8001};

// "REASON field value" of a refusal; "" of success. Every refusal is an EIO.
std::string Refusal(const absl::Status& status) {
  if (status.ok()) return "";
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  const auto detail = DetailOf(status);
  if (!detail.has_value()) return "no detail";
  EXPECT_EQ(detail->errno_name, "EIO");
  const auto value = detail->metadata.find("value");
  return detail->reason + " " + detail->field + " " +
         (value == detail->metadata.end() ? "?" : value->second);
}

TEST(SmmuGuestTest, TakesTheEntryThatMayBe) {
  const struct {
    const char* name;
    GuestSteWords words;
    GuestSteKind kind;
    GuestSteWords want;
    bool ats;
  } kCases[] = {
      {"not valid", {0, 0}, GuestSteKind::kAbort, {1, 0}, false},
      {"not valid, full of bits",
       {~uint64_t{1}, ~uint64_t{0}},
       GuestSteKind::kAbort,
       {1, 0},
       false},
      {"abort", {1, 0}, GuestSteKind::kAbort, {1, 0}, false},
      {"abort, with a table and ATS",
       {0x7000'0001, 0x1000'00d6},
       GuestSteKind::kAbort,
       {1, 0},
       false},
      {"bypass", {9, 0}, GuestSteKind::kBypass, {9, 0}, false},
      {"bypass, with a table and ATS",
       {0x7000'0009, 0x1000'00d6},
       GuestSteKind::kBypass,
       {9, 0},
       false},
      {"translate", {0x7000'000b, 0xd6}, GuestSteKind::kTranslate, {0x7000'000b, 0xd6}, false},
      {"translate, ATS",
       {0x7000'000b, 0x1000'00d6},
       GuestSteKind::kTranslate,
       {0x7000'000b, 0xd6},
       true},
      {"translate, all that it has",
       {0xf80f'ffff'ffff'fffb, 0x1800'00ff},
       GuestSteKind::kTranslate,
       {0xf80f'ffff'ffff'fffb, 0x0800'00ff},
       true},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    const auto ste = ValidateVste(c.words);
    ASSERT_TRUE(ste.ok()) << ste.status();
    EXPECT_EQ(ste->kind, c.kind);
    EXPECT_EQ(ste->words, c.want);
    EXPECT_EQ(ste->ats, c.ats);
  }
}

TEST(SmmuGuestTest, RefusesTheEntryThatMayNotBe) {
  const struct {
    const char* name;
    GuestSteWords words;
    const char* want;
  } kCases[] = {
      {"reserved bit of word 0",
       {uint64_t{1} << 52 | 0xb, 0},
       "VSTE_FIELD_NOT_ALLOWED ste[0] 0x10000000000000"},
      {"MEV", {0xb, 0x8'0000}, "VSTE_FIELD_NOT_ALLOWED ste[1] 0x80000"},
      {"S2FWB", {0xb, 0x200'00d6}, "VSTE_FIELD_NOT_ALLOWED ste[1] 0x2000000"},
      {"STRW", {0xb, 0x8000'0000}, "VSTE_FIELD_NOT_ALLOWED ste[1] 0x80000000"},
      {"SHCFG", {9, 0x1000'0000'0000}, "VSTE_FIELD_NOT_ALLOWED ste[1] 0x100000000000"},
      {"a field in abort", {1, 0x100}, "VSTE_FIELD_NOT_ALLOWED ste[1] 0x100"},
      {"stage 2", {0xd, 0}, "VSTE_CONFIG_NOT_ALLOWED ste[0] 0x6"},
      {"nested", {0xf, 0}, "VSTE_CONFIG_NOT_ALLOWED ste[0] 0x7"},
      {"reserved Config", {0x3, 0}, "VSTE_CONFIG_NOT_ALLOWED ste[0] 0x1"},
      {"split-stage ATS", {0xb, 0x2000'0000}, "VSTE_EATS_NOT_ALLOWED ste[1] 0x2"},
      {"reserved EATS", {0x9, 0x3000'0000}, "VSTE_EATS_NOT_ALLOWED ste[1] 0x3"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(Refusal(ValidateVste(c.words).status()), c.want);
  }
  EXPECT_NE(ValidateVste({9, 0x1000'0000'0000}).status().message().find("SHCFG"),
            absl::string_view::npos);
}

TEST(SmmuGuestTest, AllowsNoOtherBitOfAnEntry) {
  constexpr GuestSteWords kAllowed = {0xf80f'ffff'ffff'ffff, 0x3800'00ff};
  for (int word = 0; word < 2; ++word) {
    for (int bit = 0; bit < 64; ++bit) {
      SCOPED_TRACE(std::to_string(word) + ":" + std::to_string(bit));
      GuestSteWords words = {0xb, 0};
      words[word] |= uint64_t{1} << bit;
      const std::string refusal = Refusal(ValidateVste(words).status());
      const bool allowed = (kAllowed[word] >> bit & 1) != 0;
      EXPECT_EQ(refusal.rfind("VSTE_FIELD_NOT_ALLOWED", 0) == 0, !allowed) << refusal;
    }
  }
}

TEST(SmmuGuestTest, MakesTheEntryForTheHardware) {
  Stage2Fields parent;
  parent.root = PhysAddr{0x5000};
  parent.vmid = 7;
  EXPECT_EQ(MakeGuestSte({GuestSteKind::kTranslate, {0x7000'000b, 0xd6}, false}, parent),
            MakeNestedSte(parent, {0x7000'000b, 0xd6}));
  EXPECT_EQ(MakeGuestSte({GuestSteKind::kBypass, {9, 0}, false}, parent), MakeStage2Ste(parent));
  EXPECT_EQ(MakeGuestSte({}, parent), MakeAbortSte());
}

GuestCommand At(Opcode opcode, uint64_t address, bool leaf) {
  GuestCommand command;
  command.opcode = opcode;
  command.address = address;
  command.leaf = leaf;
  return command;
}

TEST(SmmuGuestTest, PutsTheIdsOfTheHostIntoCommands) {
  const auto make = [](Opcode opcode, auto change) {
    GuestCommand command;
    command.opcode = opcode;
    change(&command);
    return command;
  };
  GuestCommand va = At(Opcode::kTlbiNhVa, 0x7fff'ffe0'0000, true);
  va.asid = 0xabcd;
  va.range = {30, 5, 3, 1};
  GuestCommand atc = At(Opcode::kAtcInv, 0x20'0000, false);
  atc.vsid = 5;
  atc.ssid = 0x12345;
  atc.ssv = true;
  atc.size_log2 = 9;
  const struct {
    const char* name;
    GuestCommand command;
    Command want;
  } kCases[] = {
      {"everything is everything of the guest's", {}, InvalidateStage1(0x1234)},
      {"NH_ALL", make(Opcode::kTlbiNhAll, [](auto*) {}), InvalidateStage1(0x1234)},
      {"NH_ASID", make(Opcode::kTlbiNhAsid, [](auto* c) { c->asid = 0xffff; }),
       InvalidateAsid({0x1234, 0xffff})},
      {"NH_VA", va, {0xabcd'1234'0051'e012, 0x7fff'ffe0'0701}},
      {"NH_VAA", At(Opcode::kTlbiNhVaa, 0x5000, false), {0x1234'0000'0013, 0x5000}},
      {"ATC_INV", atc, {0x8001'1234'5840, 0x20'0009}},
      {"ATC_INV, global",
       make(Opcode::kAtcInv,
            [](auto* c) {
              c->ssv = c->global = true;
              c->size_log2 = 52;
            }),
       {0x8001'0000'0a40, 52}},
      {"CFGI_CD",
       make(Opcode::kCfgiCd,
            [](auto* c) {
              c->vsid = 5;
              c->ssid = 1;
              c->leaf = true;
            }),
       {0x8001'0000'1005, 1}},
      {"CFGI_CD_ALL", make(Opcode::kCfgiCdAll, [](auto* c) { c->vsid = 0xffff'ffff; }),
       InvalidateAllCds(0x8001)},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    const auto command = MakePhysicalCommand(c.command, kTarget, kFullCaps);
    ASSERT_TRUE(command.ok()) << command.status();
    EXPECT_EQ(*command, c.want);
  }
}

TEST(SmmuGuestTest, KnowsWhichCommandsNameAStream) {
  for (int code = 0; code < 256; ++code) {
    const bool want = code == 0x40 || code == 0x05 || code == 0x06;
    EXPECT_EQ(NamesStream(Opcode(code)), want) << code;
  }
}

TEST(SmmuGuestTest, RefusesFieldsAndValuesByName) {
  const auto make = [](Opcode opcode, auto change) {
    GuestCommand command;
    command.opcode = opcode;
    change(&command);
    return command;
  };
  const auto va = [&](auto change) { return make(Opcode::kTlbiNhVa, change); };
  const auto range = [&](uint32_t num, uint32_t scale, uint32_t ttl, uint32_t tg) {
    return va([&](auto* c) { c->range = {num, scale, ttl, tg}; });
  };
  GuestCommandCaps narrow = kFullCaps;
  narrow.wide_addresses = false;
  narrow.granules = 4096 | 16384;
  const struct {
    const char* name;
    GuestCommand command;
    GuestCommandCaps caps;
    const char* want;
  } kCases[] = {
      {"a command of the host's", make(Opcode::kCfgiSte, [](auto*) {}), kFullCaps,
       "GUEST_COMMAND_NOT_ALLOWED opcode 0x3"},
      {"no command", make(Opcode(0xff), [](auto*) {}), kFullCaps,
       "GUEST_COMMAND_NOT_ALLOWED opcode 0xff"},
      {"ATC without ATS", make(Opcode::kAtcInv, [](auto*) {}), kBareCaps,
       "GUEST_COMMAND_NOT_ALLOWED opcode 0x40"},
      {"address of everything", At(Opcode::kTlbiNsnhAll, 0x1000, false), kFullCaps,
       "GUEST_COMMAND_FIELD_NOT_ALLOWED address 0x1000"},
      {"ASID of NH_ALL", make(Opcode::kTlbiNhAll, [](auto* c) { c->asid = 1; }), kFullCaps,
       "GUEST_COMMAND_FIELD_NOT_ALLOWED asid 0x1"},
      {"ASID of NH_VAA", make(Opcode::kTlbiNhVaa, [](auto* c) { c->asid = 1; }), kFullCaps,
       "GUEST_COMMAND_FIELD_NOT_ALLOWED asid 0x1"},
      {"stream of NH_ASID", make(Opcode::kTlbiNhAsid, [](auto* c) { c->vsid = 5; }), kFullCaps,
       "GUEST_COMMAND_FIELD_NOT_ALLOWED vsid 0x5"},
      {"SSID of CFGI_CD_ALL", make(Opcode::kCfgiCdAll, [](auto* c) { c->ssid = 5; }), kFullCaps,
       "GUEST_COMMAND_FIELD_NOT_ALLOWED ssid 0x5"},
      {"SSV of CFGI_CD", make(Opcode::kCfgiCd, [](auto* c) { c->ssv = true; }), kFullCaps,
       "GUEST_COMMAND_FIELD_NOT_ALLOWED ssv 0x1"},
      {"SSID without substreams", make(Opcode::kCfgiCd, [](auto* c) { c->ssid = 1; }), kBareCaps,
       "GUEST_COMMAND_FIELD_NOT_ALLOWED ssid 0x1"},
      {"global of NH_VA", va([](auto* c) { c->global = true; }), kFullCaps,
       "GUEST_COMMAND_FIELD_NOT_ALLOWED global 0x1"},
      {"leaf of ATC_INV", make(Opcode::kAtcInv, [](auto* c) { c->leaf = true; }), kFullCaps,
       "GUEST_COMMAND_FIELD_NOT_ALLOWED leaf 0x1"},
      {"size of NH_VA", va([](auto* c) { c->size_log2 = 1; }), kFullCaps,
       "GUEST_COMMAND_FIELD_NOT_ALLOWED size_log2 0x1"},
      {"range without RIL", range(1, 0, 0, 1), kBareCaps,
       "GUEST_COMMAND_FIELD_NOT_ALLOWED range.num 0x1"},
      {"granule without RIL", range(0, 0, 0, 1), kBareCaps,
       "GUEST_COMMAND_FIELD_NOT_ALLOWED range.tg 0x1"},
      {"ASID of 8 bits", va([](auto* c) { c->asid = 0x100; }), kBareCaps,
       "GUEST_COMMAND_FIELD_OUT_OF_RANGE asid 0x100"},
      {"ASID of 16 bits", va([](auto* c) { c->asid = 0x10000; }), kFullCaps,
       "GUEST_COMMAND_FIELD_OUT_OF_RANGE asid 0x10000"},
      {"SSID of 20 bits", make(Opcode::kAtcInv, [](auto* c) { c->ssid = 0x10'0000; }), kFullCaps,
       "GUEST_COMMAND_FIELD_OUT_OF_RANGE ssid 0x100000"},
      {"size beyond everything", make(Opcode::kAtcInv, [](auto* c) { c->size_log2 = 53; }),
       kFullCaps, "GUEST_COMMAND_FIELD_OUT_OF_RANGE size_log2 0x35"},
      {"num", range(32, 0, 0, 1), kFullCaps, "GUEST_COMMAND_FIELD_OUT_OF_RANGE range.num 0x20"},
      {"scale", range(0, 64, 0, 1), kFullCaps, "GUEST_COMMAND_FIELD_OUT_OF_RANGE range.scale 0x40"},
      {"scale without DS", range(0, 32, 0, 1), narrow,
       "GUEST_COMMAND_FIELD_OUT_OF_RANGE range.scale 0x20"},
      {"ttl", range(0, 0, 4, 1), kFullCaps, "GUEST_COMMAND_FIELD_OUT_OF_RANGE range.ttl 0x4"},
      {"tg", range(0, 0, 1, 4), kFullCaps, "GUEST_COMMAND_FIELD_OUT_OF_RANGE range.tg 0x4"},
      {"address within a page", At(Opcode::kTlbiNhVa, 0x1800, false), kFullCaps,
       "GUEST_COMMAND_FIELD_OUT_OF_RANGE address 0x1800"},
      {"num without tg", range(1, 0, 0, 0), kFullCaps, "GUEST_RANGE_RESERVED range.num 0x1"},
      {"scale without tg", range(0, 2, 0, 0), kFullCaps, "GUEST_RANGE_RESERVED range.scale 0x2"},
      {"ttl without tg", range(0, 0, 3, 0), kFullCaps, "GUEST_RANGE_RESERVED range.ttl 0x3"},
      {"tg alone", range(0, 0, 0, 1), kFullCaps, "GUEST_RANGE_RESERVED range.tg 0x1"},
      {"level 1 of 16 KiB", range(0, 0, 1, 2), narrow, "GUEST_RANGE_RESERVED range.ttl 0x1"},
      {"64 KiB that is not there", range(1, 0, 0, 3), narrow,
       "GUEST_GRANULE_NOT_SUPPORTED range.tg 0x3"},
      {"level 1 of 16 KiB with DS", range(0, 0, 1, 2), kFullCaps, ""},
      {"level 2 of 16 KiB", range(0, 0, 2, 2), narrow, ""},
      {"level 1 of 4 KiB", range(0, 0, 1, 1), narrow, ""},
      {"the widest range with DS", range(31, 63, 0, 1), kFullCaps, ""},
      {"the widest range without", range(31, 31, 0, 1), narrow, ""},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(Refusal(MakePhysicalCommand(c.command, kTarget, c.caps).status()), c.want);
  }
  GuestCommand unknown;
  unknown.opcode = Opcode::kCfgiCdAll;
  unknown.vsid = 6;
  EXPECT_EQ(Refusal(MakePhysicalCommand(unknown, {1, absl::nullopt}, kFullCaps).status()),
            "VSID_UNKNOWN vsid 0x6");
}

TEST(SmmuGuestTest, AllowsNoBitOfACommandBeyondItsFields) {
  const struct {
    uint64_t opcode;
    Command allowed;
  } kCases[] = {
      {0x30, {0xff, 0}},
      {0x10, {0x0000'ffff'0000'00ff, 0}},
      {0x11, {0xffff'ffff'0000'00ff, 0}},
      {0x12, {0xffff'ffff'03f1'f0ff, 0xffff'ffff'ffff'ff01}},
      {0x13, {0x0000'ffff'03f1'f0ff, 0xffff'ffff'ffff'ff01}},
      {0x40, {0xffff'ffff'ffff'faff, 0xffff'ffff'ffff'f03f}},
      {0x05, {0xffff'ffff'ffff'f0ff, 1}},
      {0x06, {0xffff'ffff'0000'00ff, 0}},
  };
  for (const auto& c : kCases) {
    EXPECT_EQ(Refusal(ParseGuestCommand({c.opcode, 0}).status()), "");
    for (int bit = 8; bit < 128; ++bit) {
      SCOPED_TRACE(Hex(c.opcode) + " bit " + std::to_string(bit));
      Command raw = {c.opcode, 0};
      raw[bit / 64] |= uint64_t{1} << bit % 64;
      const bool allowed = (c.allowed[bit / 64] >> bit % 64 & 1) != 0;
      EXPECT_EQ(Refusal(ParseGuestCommand(raw).status()),
                allowed ? ""
                        : "GUEST_COMMAND_FIELD_NOT_ALLOWED cmd[" + std::to_string(bit / 64) + "] " +
                              Hex(uint64_t{1} << bit % 64));
    }
  }
}

TEST(SmmuGuestTest, ParsesTheCommandsOfGuestsAlone) {
  for (uint64_t code = 0; code < 256; ++code) {
    bool guests = false;
    for (const uint64_t known : {0x30, 0x12, 0x13, 0x10, 0x11, 0x40, 0x05, 0x06}) {
      guests |= code == known;
    }
    EXPECT_EQ(Refusal(ParseGuestCommand({code, 0}).status()),
              guests ? "" : "GUEST_COMMAND_NOT_ALLOWED opcode " + Hex(code));
  }
}

// Linux 7.3's conversion, as section 10 words it: masks of raw bits, of this hardware. nullopt:
// EIO.
absl::optional<Command> Converted(Command raw, const GuestCommandCaps& caps) {
  const uint64_t op = raw[0] & 0xff;
  const uint64_t asid = ((uint64_t{1} << caps.asid_bits) - 1) << 48;
  Command allowed = {0xff, 0};
  if (op == 0x12 || op == 0x13) {
    allowed = {0x0000'ffff'0000'00ff | (op == 0x12 ? asid : 0), 0xffff'ffff'ffff'f001};
    if (caps.range_invalidation) {
      allowed[0] |= caps.wide_addresses ? 0x3f1'f000 : 0x1f1'f000;
      allowed[1] |= 0xf00;
      const uint64_t tg = raw[1] >> 10 & 3, ttl = raw[1] >> 8 & 3;
      const bool range = (raw[0] & 0x3f1'f000) != 0;
      if (tg == 0 && (range || ttl != 0)) return absl::nullopt;
      if (tg == 2 && ttl == 1 && !caps.wide_addresses) return absl::nullopt;
      if (tg != 0 && !range && ttl == 0) return absl::nullopt;
      // Ours beyond that: a granule that is not there.
      if (tg != 0 && (caps.granules >> (10 + 2 * tg) & 1) == 0) return absl::nullopt;
    }
  } else if (op == 0x10 || op == 0x11) {
    allowed[0] |= 0x0000'ffff'0000'0000 | (op == 0x11 ? asid : 0);
  } else if (op == 0x40) {
    if (!caps.ats || (raw[1] & 0x3f) > 52) return absl::nullopt;
    allowed = {0xffff'ffff'0000'00ff, 0xffff'ffff'ffff'f03f};
    if (caps.ssid_bits != 0) allowed[0] |= 0xffff'fa00;
  } else if (op == 0x05) {
    allowed = {0xffff'ffff'0000'00ff, 1};
    if (caps.ssid_bits != 0) allowed[0] |= 0xffff'f000;
  } else if (op == 0x06) {
    allowed = {0xffff'ffff'0000'00ff, 0};
  } else if (op != 0x30) {
    return absl::nullopt;
  }
  if ((raw[0] & ~allowed[0]) != 0 || (raw[1] & ~allowed[1]) != 0) return absl::nullopt;
  if (op == 0x30) return Command{0x1234'0000'0010, 0};
  if (op >= 0x10 && op <= 0x13) {
    raw[0] = (raw[0] & ~uint64_t{0xffff'0000'0000}) | 0x1234'0000'0000;
  } else {
    raw[0] = (raw[0] & 0xffff'ffff) | 0x8001'0000'0000;
  }
  return raw;
}

TEST(SmmuGuestTest, ConvertsRawCommandsAsLinuxDoes) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  const uint64_t kOpcodes[] = {0x30, 0x12, 0x12, 0x12, 0x13, 0x10, 0x11,
                               0x40, 0x40, 0x05, 0x06, 0x03, 0x20};
  int accepted = 0;
  for (int round = 0; round < 200'000; ++round) {
    const GuestCommandCaps caps = {
        random() % 2 != 0,          random() % 2 != 0,
        random() % 4 != 0,          random() % 2 != 0 ? 16 : 8,
        random() % 4 != 0 ? 20 : 0, random() % 2 != 0 ? kGranules : 4096};
    Command raw = {kOpcodes[random() % 13], 0};
    if (random() % 2 != 0) raw[0] |= random() << 48;
    if (random() % 2 != 0) raw[0] |= (random() & 0xffff) << 32;
    if (random() % 3 == 0) raw[0] |= random() & 0xffff'f000;
    if (random() % 3 == 0) raw[0] |= random() & 0x1f1'f000;
    if (random() % 8 == 0) raw[0] |= uint64_t{1} << random() % 64;
    if (random() % 2 != 0) raw[1] |= random() << 12;
    if (random() % 2 != 0) raw[1] |= random() & 0xf00;
    if (random() % 2 != 0) raw[1] |= random() & 0x3f;
    if (random() % 2 != 0) raw[1] &= ~uint64_t{0x3e};
    const auto want = Converted(raw, caps);
    const auto parsed = ParseGuestCommand(raw);
    absl::optional<Command> got;
    if (parsed.ok()) {
      const auto physical = MakePhysicalCommand(*parsed, kTarget, caps);
      if (physical.ok()) got = *physical;
    }
    ASSERT_EQ(got, want) << Hex(raw[0]) << " " << Hex(raw[1]);
    accepted += got.has_value();
  }
  EXPECT_GT(accepted, 10'000);
}

}  // namespace
}  // namespace viommu::smmu
