// What devices wrote, read from the tables and cleared in them.
#include <algorithm>
#include <random>
#include <vector>

#include "engine/base/dirty_bitmap.h"
#include "engine/pagetable/page_table.h"
#include "engine/pagetable/page_table_testing.h"
#include "engine/pagetable/store.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4 * kKiB;
constexpr uint64_t kAllSizes = kPage | 2 * kMiB | kGiB;
constexpr uint64_t kAccessed = 1 << 8, kDirty = 1 << 9;  // VT-d 9.8.

using Kind = VtdSecondStageKind<4>;

uint64_t* LeafWord(TableMemory* memory, const PageTable& table, Iova iova) {
  const PhysAddr at = table.PathTo(iova).back().address;
  const PhysAddr page{at.value & ~uint64_t{4095}};
  return memory->arena()->WordsAt(page) + (at.value & 4095) / sizeof(uint64_t);
}

// As hardware that writes through the leaf.
void Write(TableMemory* memory, const PageTable& table, Iova iova) {
  __atomic_fetch_or(LeafWord(memory, table, iova), kAccessed | kDirty, __ATOMIC_RELAXED);
}

IovaRange Pages(Iova first, uint64_t count) { return {first, first + count * kPage - 1}; }

class PageTableDirtyTest : public ::testing::Test {
 protected:
  PageTableDirtyTest()
      : memory_(64),
        table_(*PageTable::Create(Kind::MakeFormat(kAllSizes), PlainStore(), memory_.arena())) {}

  void Map(Iova iova, uint64_t size_bytes) {
    ASSERT_TRUE(table_.Map(iova, PhysAddr{iova}, size_bytes, kReadWrite).ok());
  }

  std::vector<uint64_t> Read(const IovaRange& range, uint64_t page_bytes = kPage,
                             bool clear = false, bool want_cleaned = false) {
    DirtyBitmap bitmap(range, page_bytes);
    EXPECT_EQ(table_.ReadDirty(clear, &bitmap), want_cleaned);
    return bitmap.words();
  }

  TableMemory memory_;
  PageTable table_;
};

TEST_F(PageTableDirtyTest, TellsWhatWasWrittenRelativeToTheRange) {
  Map(kGiB, 8 * kPage);
  Write(&memory_, table_, kGiB + 3 * kPage);
  Write(&memory_, table_, kGiB + 7 * kPage + 5);
  EXPECT_EQ(Read(Pages(kGiB, 8)), std::vector<uint64_t>{0x88});
  EXPECT_EQ(Read(Pages(kGiB + 3 * kPage, 5)), std::vector<uint64_t>{0x11});
  EXPECT_EQ(Read(Pages(kGiB + 4 * kPage, 3)), std::vector<uint64_t>{0});
  EXPECT_EQ(Read(Pages(kGiB, 8)), std::vector<uint64_t>{0x88}) << "reading clears nothing";
}

TEST_F(PageTableDirtyTest, ClearsWhatItReadsAndNothingElse) {
  Map(kGiB, 8 * kPage);
  for (int page = 0; page < 8; ++page) Write(&memory_, table_, kGiB + page * kPage);
  EXPECT_EQ(Read(Pages(kGiB + 2 * kPage, 4), kPage, true, true), std::vector<uint64_t>{0xf});
  EXPECT_EQ(Read(Pages(kGiB + 2 * kPage, 4), kPage, true, false), std::vector<uint64_t>{0});
  EXPECT_EQ(Read(Pages(kGiB, 8)), std::vector<uint64_t>{0xc3});
  const Seen still = Kind::Look(memory_, table_.root().value, kGiB + 2 * kPage);
  EXPECT_EQ(still, (Seen{true, kGiB + 2 * kPage, kPage, true, true}));
}

TEST_F(PageTableDirtyTest, CountsALargeLeafAsAWhole) {
  Map(kGiB, kGiB + 4 * kMiB);
  Write(&memory_, table_, kGiB + 5 * kMiB);
  Write(&memory_, table_, 2 * kGiB + 3 * kMiB);
  EXPECT_EQ(Read(Pages(2 * kGiB, 1024)), [] {
    std::vector<uint64_t> words(16);
    std::fill(words.begin() + 8, words.end(), ~uint64_t{0});
    return words;
  }()) << "a leaf of 2 MiB in pages of 4 KiB";
  EXPECT_EQ(Read({kGiB, 2 * kGiB + 4 * kMiB - 1}, 2 * kMiB).back(), 2u) << "behind 512 of 1 GiB";
  EXPECT_EQ(Read(Pages(kGiB + 512 * kMiB, 64)), std::vector<uint64_t>{~uint64_t{0}})
      << "a part of the leaf of 1 GiB";
  EXPECT_EQ(Read({kGiB, 3 * kGiB - 1}, kGiB), std::vector<uint64_t>{3}) << "coarser than a leaf";
  EXPECT_EQ(Read({kGiB, kGiB + 511}, 64), std::vector<uint64_t>{0xff}) << "finer than any";
}

// Whoever reads the other half next must hear of it.
TEST_F(PageTableDirtyTest, LeavesALeafDirtyOfWhichItToldAPart) {
  Map(kGiB, 4 * kMiB);
  Write(&memory_, table_, kGiB);
  Write(&memory_, table_, kGiB + 2 * kMiB);
  EXPECT_EQ(Read({kGiB, kGiB + 3 * kMiB - 1}, kMiB, true, true), std::vector<uint64_t>{7});
  EXPECT_EQ(Read({kGiB, kGiB + 4 * kMiB - 1}, kMiB), std::vector<uint64_t>{0xc});
  EXPECT_EQ(Read({kGiB + 3 * kMiB, kGiB + 4 * kMiB - 1}, kMiB, true), std::vector<uint64_t>{1});
}

TEST_F(PageTableDirtyTest, FindsNothingWhereNothingIsMapped) {
  Map(kGiB, kPage);
  EXPECT_EQ(Read(Pages(0, 64)), std::vector<uint64_t>{0});
  EXPECT_EQ(Read({uint64_t{1} << 48, (uint64_t{1} << 48) + 63}, 1), std::vector<uint64_t>{0});
  const IovaRange rest{uint64_t{1} << 47, kMaxAddress};
  EXPECT_EQ(Read(rest, uint64_t{1} << 47).size(), 2048u) << "beyond what the table translates";
}

TEST_F(PageTableDirtyTest, LosesWithAnUnmapWhatWasNotRead) {
  Map(kGiB, 2 * kPage);
  Write(&memory_, table_, kGiB);
  PageList freed;
  EXPECT_EQ(table_.Unmap(kGiB, kPage, &freed), kPage);
  Map(kGiB, kPage);
  EXPECT_EQ(Read(Pages(kGiB, 2)), std::vector<uint64_t>{0});
}

TEST_F(PageTableDirtyTest, ClearsEverything) {
  Map(0, 2 * kMiB + kPage);
  Map(uint64_t{1} << 47, kPage);
  EXPECT_FALSE(table_.ClearDirty());
  for (const Iova iova : {Iova{0}, Iova{2 * kMiB}, Iova{1} << 47}) Write(&memory_, table_, iova);
  EXPECT_TRUE(table_.ClearDirty());
  for (const Iova iova : {Iova{0}, Iova{2 * kMiB}, Iova{1} << 47}) {
    EXPECT_EQ(*LeafWord(&memory_, table_, iova) & kDirty, 0u);
  }
}

TEST_F(PageTableDirtyTest, MarksAgainWhatWasCleared) {
  Map(kGiB, 4 * kPage);
  Map(2 * kGiB, 2 * kMiB);
  ASSERT_TRUE(table_.Map(kGiB + 4 * kPage, PhysAddr{0}, kPage, kReadOnly).ok());
  Write(&memory_, table_, kGiB + 2 * kPage);
  Write(&memory_, table_, 2 * kGiB);
  DirtyBitmap small(Pages(kGiB, 5), kPage), large({2 * kGiB, 2 * kGiB + 2 * kMiB - 1}, kPage);
  EXPECT_TRUE(table_.ReadDirty(true, &small));
  EXPECT_TRUE(table_.ReadDirty(true, &large));
  table_.MarkDirty(small);
  table_.MarkDirty(large);
  EXPECT_EQ(Read(Pages(kGiB, 5)), std::vector<uint64_t>{4});
  EXPECT_EQ(Read(Pages(2 * kGiB, 1)), std::vector<uint64_t>{1});
  DirtyBitmap coarse({kGiB, kGiB + 8 * kPage - 1}, 8 * kPage);
  coarse.Mark({kGiB, kGiB});
  table_.MarkDirty(coarse);
  EXPECT_EQ(Read(Pages(kGiB, 5)), std::vector<uint64_t>{0xf}) << "not what can not be written";
}

TEST(PageTableArmDirtyTest, TellsAndClearsPagesOfAnyGranule) {
  using Stage1 = ArmStage1Kind<16, 42, 2, true>;
  constexpr uint64_t kGranule = 64 * kKiB;
  TableMemory memory(128);
  auto table =
      *PageTable::Create(Stage1::MakeFormat(kGranule | 512 * kMiB), PlainStore(), memory.arena());
  ASSERT_TRUE(table.Map(kGiB, PhysAddr{kGiB}, 3 * kGranule, kReadWrite).ok());
  const Iova written = kGiB + kGranule;
  __atomic_fetch_and(LeafWord(&memory, table, written), ~(uint64_t{1} << 7), __ATOMIC_RELAXED);
  DirtyBitmap first(Pages(kGiB, 48), kPage), second(Pages(kGiB, 48), kPage);
  EXPECT_TRUE(table.ReadDirty(true, &first));
  EXPECT_EQ(first.words(), std::vector<uint64_t>{0xffff0000});
  EXPECT_FALSE(table.ReadDirty(true, &second));
  EXPECT_EQ(second.dirty_count(), 0u);
  table.MarkDirty(first);
  EXPECT_EQ(*LeafWord(&memory, table, written) & (uint64_t{1} << 7), 0u);
}

TEST(PageTableFirstStageDirtyTest, SaysNothingOfAFormatThatDoesNotTrack) {
  using FirstStage = X86FirstStageKind<4>;
  TableMemory memory(16);
  auto table = *PageTable::Create(FirstStage::MakeFormat(kAllSizes), PlainStore(), memory.arena());
  ASSERT_TRUE(table.Map(kGiB, PhysAddr{0}, kPage, kReadWrite).ok());
  const uint64_t before = *LeafWord(&memory, table, kGiB);
  DirtyBitmap bitmap(Pages(kGiB, 1), kPage);
  EXPECT_FALSE(table.ReadDirty(true, &bitmap));
  EXPECT_FALSE(table.ClearDirty());
  EXPECT_EQ(bitmap.dirty_count(), 0u);
  EXPECT_EQ(*LeafWord(&memory, table, kGiB), before);
}

// Hardware that sets a bit of a word between our load of it and our store.
class MeddlingStore {
 public:
  explicit MeddlingStore(uint64_t* bits) : bits_(bits) {}
  void Store64(uint64_t* word, uint64_t value) const {
    if (*word != 0) Meddle(word);
    plain_.Store64(word, value);
  }
  void Fill64(uint64_t* words, uint64_t count, uint64_t first, uint64_t step) const {
    plain_.Fill64(words, count, first, step);
  }
  bool Exchange64(uint64_t* word, uint64_t seen, uint64_t value) const {
    Meddle(word);
    return plain_.Exchange64(word, seen, value);
  }

 private:
  void Meddle(uint64_t* word) const {
    __atomic_fetch_or(word, *bits_, __ATOMIC_RELAXED);
    *bits_ = 0;
  }
  PlainStore plain_;
  uint64_t* bits_;
};

TEST(PageTableDirtyRaceTest, KeepsWhatHardwareSetsMeanwhile) {
  TableMemory memory(16);
  uint64_t bits = 0;
  auto table =
      *PageTable::Create(Kind::MakeFormat(kAllSizes), MeddlingStore(&bits), memory.arena());
  ASSERT_TRUE(table.Map(kGiB, PhysAddr{0}, kPage, kReadWrite).ok());
  uint64_t* const word = LeafWord(&memory, table, kGiB);
  *word |= kDirty;
  bits = kAccessed;
  DirtyBitmap bitmap(Pages(kGiB, 1), kPage);
  EXPECT_TRUE(table.ReadDirty(true, &bitmap));
  EXPECT_EQ(bitmap.dirty_count(), 1u);
  EXPECT_EQ(*word & (kAccessed | kDirty), kAccessed);
  *word &= ~kAccessed;
  bits = kAccessed;
  table.MarkDirty(bitmap);
  EXPECT_EQ(*word & (kAccessed | kDirty), kAccessed | kDirty);
}

TEST_F(PageTableDirtyTest, AgreesWithASetOfPages) {
  const unsigned seed = std::random_device()();
  std::mt19937_64 random(seed);
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  constexpr uint64_t kCount = 2048;  // Pages from kGiB: leaves of 4 KiB, then of 2 MiB.
  Map(kGiB, kCount / 2 * kPage);
  table_.SetLargeLeaves(false);
  Map(kGiB + kCount / 2 * kPage, kCount / 2 * kPage);
  std::vector<bool> want(kCount);
  for (int step = 0; step < 2000; ++step) {
    const uint64_t page = random() % kCount;
    if (random() % 4 != 0) {
      Write(&memory_, table_, kGiB + page * kPage);
      const bool large = page < kCount / 2;
      for (uint64_t p = large ? page / 512 * 512 : page, n = 0; n < (large ? 512u : 1u); ++n) {
        want[p + n] = true;
      }
      continue;
    }
    // Whole leaves, so that what is cleared is what was read.
    const uint64_t first = random() % 4 * 512, count = (1 + random() % (4 - first / 512)) * 512;
    const uint64_t pages_log2 = random() % 10;
    const bool clear = random() % 2 == 0;
    DirtyBitmap bitmap(Pages(kGiB + first * kPage, count), kPage << pages_log2);
    const bool cleaned = table_.ReadDirty(clear, &bitmap);
    bool any = false;
    std::vector<bool> coarse(bitmap.page_count());
    for (uint64_t p = 0; p < count; ++p) {
      if (!want[first + p]) continue;
      coarse[p >> pages_log2] = any = true;
      if (clear) want[first + p] = false;
    }
    EXPECT_EQ(cleaned, clear && any);
    for (uint64_t p = 0; p < coarse.size(); ++p) {
      ASSERT_EQ(bitmap.IsDirty(p), coarse[p]) << "step " << step << " page " << p;
    }
  }
}

}  // namespace
}  // namespace viommu
