// What an image has of an SMMUv3, read back and walked by the hardware model.
#include "engine/backend/soft/smmu_table_image.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/hardware/smmu_request.h"
#include "engine/backend/soft/hardware/smmu_test_world.h"
#include "engine/backend/soft/hardware/smmu_trace.h"
#include "engine/backend/soft/image_pages.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/backend/soft/smmu_capability.h"
#include "engine/backend/soft/smmu_world.h"
#include "engine/backend/table_view.h"
#include "engine/base/address.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using hardware::SmmuModel;
using hardware::Stages;
using World = hardware::SmmuTestWorld;

constexpr uint64_t kPage = 4096;

TableImage ImageOf(const SmmuModel& unit, const PhysicalMemory& memory) {
  ImagePages pages(&memory);
  SmmuTableCollector collector(&pages);
  EXPECT_TRUE(collector.Collect(unit).ok());
  TableImage image;
  AppendSmmuRegisters("smmu0", unit, &image.registers);
  image.pages = pages.Take();
  image.complete = collector.complete();
  return image;
}

std::map<std::string, uint64_t> RegistersOf(const TableImage& image) {
  std::map<std::string, uint64_t> registers;
  for (const auto& one : image.registers) registers[one.name] = one.value;
  return registers;
}

bool Has(const TableImage& image, uint64_t address) {
  for (const auto& page : image.pages) {
    if (page.address.value == address / kPage * kPage) return true;
  }
  return false;
}

// A unit of the same kind before memory that has nothing but the image.
struct Copy {
  Copy(const TableImage& image, const SmmuModel::Spec& spec) : model(spec, &memory) {
    for (const auto& page : image.pages) {
      EXPECT_TRUE(memory.AddWindowAt(page.address, kPage).ok());
      const auto* bytes = reinterpret_cast<const char*>(page.words->data());
      EXPECT_TRUE(memory.Write(page.address, absl::MakeConstSpan(bytes, kPage)));
    }
    const auto registers = RegistersOf(image);
    model.Write64(0x80, registers.at("STRTAB_BASE"));
    model.Write32(0x88, static_cast<uint32_t>(registers.at("STRTAB_BASE_CFG")));
    model.Write32(0x2c, static_cast<uint32_t>(registers.at("CR2")));
    constexpr uint64_t kWithoutQueues = 1 | 1 << 4;  // SMMUEN, ATSCHK
    model.Write32(0x20, static_cast<uint32_t>(registers.at("CR0") & kWithoutQueues));
  }

  PhysicalMemory memory{PhysAddr{kPage}, 48};
  SmmuModel model;
};

// Both answer alike, on the same way, on which the same words are. True: it leads somewhere.
bool Compare(const SmmuModel& live, const PhysicalMemory& memory, const Copy& copy,
             const hardware::smmu::Request& request) {
  hardware::smmu::Trace way, copied_way;
  const auto want = live.Explain(request, &way);
  const auto seen = copy.model.Explain(request, &copied_way);
  EXPECT_EQ(seen.ok(), want.ok());
  EXPECT_EQ(seen.fault.id, want.fault.id);
  EXPECT_EQ(seen.fault.stage2, want.fault.stage2);
  EXPECT_EQ(seen.fault.second_address, want.fault.second_address);
  EXPECT_EQ(seen.physical, want.physical);
  EXPECT_EQ(seen.page_shift, want.page_shift);
  EXPECT_EQ(copied_way.size(), way.size());
  for (size_t i = 0; i < std::min(way.size(), copied_way.size()); ++i) {
    EXPECT_EQ(copied_way[i].table, way[i].table);
    EXPECT_EQ(copied_way[i].address, way[i].address);
    EXPECT_EQ(copy.memory.Load64(way[i].address), memory.Load64(way[i].address));
  }
  return want.ok();
}

TEST(SmmuTableImageTest, IsWalkedAsTheTablesAre) {
  for (const Stages stages : {Stages::kFirst, Stages::kSecond, Stages::kNested}) {
    SCOPED_TRACE(static_cast<int>(stages));
    World world(stages);
    const TableImage image = ImageOf(*world.model, world.memory);
    EXPECT_TRUE(image.complete);
    const Copy copy(image, {});
    int good = 0;
    for (const uint64_t address :
         {world.DataAddress(), world.BlockAddress(), World::kIova4K, World::kIova2M, World::kIova1G,
          uint64_t{0}, uint64_t{1} << 50}) {
      for (const std::optional<uint32_t> substream :
           {std::optional<uint32_t>(), {World::kSubstream}, {1}, {1000}}) {
        good += Compare(*world.model, world.memory, copy, World::Read(address, substream)) ? 1 : 0;
        Compare(*world.model, world.memory, copy, World::Write(address, substream));
      }
    }
    EXPECT_GE(good, 2);
    EXPECT_FALSE(Has(image, world.data)) << "pages are no tables";
  }
}

TEST(SmmuTableImageTest, IsWalkedAsGuestsTablesAreHoweverBroken) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int i = 0; i < 400 && !testing::Test::HasFailure(); ++i) {
    World world(Stages::kNested);
    const std::vector<uint64_t> places = {world.context0,    world.context0 + 8,
                                          world.context3,    world.entry0,
                                          world.entry1,      world.entry2,
                                          world.leaf_1g,     world.leaf_2m,
                                          world.leaf_4k,     world.second_entry1,
                                          world.second_1g,   world.SecondEntryOf(world.contexts),
                                          world.second_data, world.SecondEntryOf(world.level1)};
    for (int change = 0; change < 2; ++change) {
      world.Flip(places[random() % places.size()], uint64_t{1} << random() % 64);
    }
    const Copy copy(ImageOf(*world.model, world.memory), {});
    for (const uint64_t address : {World::kIova4K, World::kIova2M, World::kIova1G}) {
      Compare(*world.model, world.memory, copy, World::Read(address));
      Compare(*world.model, world.memory, copy, World::Write(address, World::kSubstream));
    }
  }
}

TEST(SmmuTableImageTest, HasTheUpperHalfThatAGuestMayHave) {
  World world(Stages::kNested);
  // EPD0 instead of EPD1; T1SZ 16, TG1 4 KiB.
  world.Flip(world.context0, 1ull << 14 | 1ull << 30 | 16ull << 16 | 2ull << 22);
  world.Store(world.context0 + 8, 0);
  world.Store(world.context0 + 16, world.Inner(world.level0));
  world.Store(world.context3, 0);
  const Copy copy(ImageOf(*world.model, world.memory), {});
  const uint64_t high = 0xffff'0000'0000'0000;
  EXPECT_TRUE(Compare(*world.model, world.memory, copy, World::Read(high | World::kIova4K)));
  EXPECT_FALSE(Compare(*world.model, world.memory, copy, World::Read(World::kIova4K)));
}

TEST(SmmuTableImageTest, SaysHowToReadIt) {
  World world(Stages::kFirst);
  world.Submit(0x46);  // CMD_SYNC
  const TableImage image = ImageOf(*world.model, world.memory);
  const auto registers = RegistersOf(image);
  const struct {
    const char* name;
    uint32_t offset;
    bool wide;
  } kRegisters[] = {{"IDR0", 0x00, false},
                    {"IDR1", 0x04, false},
                    {"IDR2", 0x08, false},
                    {"IDR3", 0x0c, false},
                    {"IDR4", 0x10, false},
                    {"IDR5", 0x14, false},
                    {"IIDR", 0x18, false},
                    {"AIDR", 0x1c, false},
                    {"CR0", 0x20, false},
                    {"CR0ACK", 0x24, false},
                    {"CR1", 0x28, false},
                    {"CR2", 0x2c, false},
                    {"GERROR", 0x60, false},
                    {"GERRORN", 0x64, false},
                    {"STRTAB_BASE", 0x80, true},
                    {"STRTAB_BASE_CFG", 0x88, false},
                    {"CMDQ_BASE", 0x90, true},
                    {"CMDQ_PROD", 0x98, false},
                    {"CMDQ_CONS", 0x9c, false},
                    {"EVENTQ_BASE", 0xa0, true},
                    {"EVENTQ_PROD", 0x100a8, false},
                    {"EVENTQ_CONS", 0x100ac, false},
                    {"PRIQ_BASE", 0xc0, true},
                    {"PRIQ_PROD", 0x100c8, false},
                    {"PRIQ_CONS", 0x100cc, false}};
  ASSERT_EQ(image.registers.size(), std::size(kRegisters));
  for (size_t i = 0; i < image.registers.size(); ++i) {
    const auto& r = kRegisters[i];
    EXPECT_EQ(image.registers[i].iommu, "smmu0");
    EXPECT_EQ(image.registers[i].name, r.name);
    EXPECT_EQ(image.registers[i].offset, r.offset);
    EXPECT_EQ(image.registers[i].value,
              r.wide ? world.model->Read64(r.offset) : world.model->Read32(r.offset))
        << r.name;
  }
  EXPECT_EQ(registers.at("CMDQ_PROD"), 1u);
  for (const uint64_t queue : {world.commands, world.events, world.pages}) {
    EXPECT_TRUE(Has(image, queue));
  }
  SmmuModel::Spec without;
  without.pri = false;
  World plain(Stages::kFirst, without);
  EXPECT_EQ(RegistersOf(ImageOf(*plain.model, plain.memory)).count("PRIQ_BASE"), 0u);
}

TEST(SmmuTableImageTest, FollowsGuestsOnlyWhereStage2LetsThem) {
  World world(Stages::kNested);
  world.Flip(world.SecondEntryOf(world.level2), 1 << 6);  // Not to be read.
  const TableImage image = ImageOf(*world.model, world.memory);
  EXPECT_TRUE(Has(image, world.contexts));
  EXPECT_TRUE(Has(image, world.level1));
  EXPECT_FALSE(Has(image, world.level2));
  EXPECT_FALSE(Has(image, world.level3));
}

TEST(SmmuTableImageTest, EndsThoughAGuestsTablesGoInCircles) {
  World world(Stages::kNested);
  for (uint64_t at = 0; at < kPage; at += 8) {
    world.Store(world.level0 + at, world.Inner(world.level0) | 3);
  }
  const TableImage image = ImageOf(*world.model, world.memory);
  EXPECT_TRUE(image.complete);
  EXPECT_TRUE(Has(image, world.level0));
  EXPECT_FALSE(Has(image, world.level1));
}

TEST(SmmuTableImageTest, LimitsWhatGuestsCanPutIntoIt) {
  World world(Stages::kNested);
  ImagePages pages(&world.memory);
  SmmuTableCollector collector(&pages, /*guest_limit=*/2);  // Their CDs, and a table.
  ASSERT_TRUE(collector.Collect(*world.model).ok());
  EXPECT_FALSE(collector.complete());
  TableImage image;
  image.pages = pages.Take();
  EXPECT_TRUE(Has(image, world.level0));
  EXPECT_FALSE(Has(image, world.level1));
}

// Memory that is not there is nothing to put down, but looking for it takes as long.
TEST(SmmuTableImageTest, LimitsWhatGuestsCanHaveItLookFor) {
  World world(Stages::kNested);
  constexpr uint64_t kLimit = 400;
  const auto complete = [&world] {
    ImagePages pages(&world.memory);
    SmmuTableCollector collector(&pages, kLimit);
    EXPECT_TRUE(collector.Collect(*world.model).ok());
    return collector.complete();
  };
  EXPECT_TRUE(complete());
  constexpr uint64_t kNowhere = uint64_t{1} << 35, kTableDescriptor = 3;
  for (uint64_t i = 1; i < 512; ++i) {
    world.Store(world.level0 + 8 * i, kNowhere | i << 12 | kTableDescriptor);
  }
  EXPECT_FALSE(complete());
}

TEST(SmmuTableImageTest, RefusesToHoldMoreThanItsLimit) {
  World world(Stages::kNested);
  ImagePages pages(&world.memory, /*limit=*/5);
  SmmuTableCollector collector(&pages);
  EXPECT_EQ(collector.Collect(*world.model).code(), absl::StatusCode::kResourceExhausted);
}

using SmmuDriverImageTest = SmmuWorld;

TEST_F(SmmuDriverImageTest, HasWhatTheDriverWritesInTwoLevels) {
  const Domain first = FirstStage(1), other = FirstStage(2), second = SecondStage(3);
  ASSERT_TRUE(Set(kPlain, 0, first.translation).ok());
  ASSERT_TRUE(Set(kPlain, 0x12345, other.translation).ok());
  ASSERT_TRUE(Set(kNarrow, 7, other.translation).ok());
  ASSERT_TRUE(Set(kBare, 0, second.translation).ok());
  const TableImage image = ImageOf(unit_->hardware(), memory_);
  const Copy copy(image, smmu::HardwareSpecOf(spec_));
  int good = 0;
  for (const uint32_t stream : {kPlain, kNarrow, kCaching, kBare, 0x99u}) {
    for (const std::optional<uint32_t> pasid :
         {kRid, std::optional<uint32_t>(7), {0x12345}, {0x12346}, {0xfffff}}) {
      for (const Iova iova : {iova_, iova_ + kPage, Iova{0}}) {
        hardware::smmu::Request request;
        request.stream_id = stream;
        request.substream_id = pasid;
        request.address = iova;
        good += Compare(unit_->hardware(), memory_, copy, request) ? 1 : 0;
      }
    }
  }
  EXPECT_GE(good, 4);
}

}  // namespace
}  // namespace viommu
