// What a device may see while tables change, and when table pages run out.
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "engine/pagetable/page_table.h"
#include "engine/pagetable/page_table_kinds.h"
#include "engine/pagetable/page_table_testing.h"
#include "engine/pagetable/store.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

struct Mapping {
  Iova iova;
  uint64_t to;
  uint64_t size;
};

template <typename Kind>
class PageTableDeviceTest : public ::testing::Test {
 protected:
  template <typename Store>
  static PageTable Make(TableMemory* memory, const Store& store) {
    return *PageTable::Create(Kind::MakeFormat(kAllSizesOf<Kind>), store, memory->arena());
  }

  static constexpr uint64_t kPage = kPageOf<Kind>;
  static constexpr uint64_t kBlock = kBlockOf<Kind>;
  static constexpr uint64_t kLargest = kLargestOf<Kind>;
};

TYPED_TEST_SUITE(PageTableDeviceTest, PageTableKinds);

// Looks at a set of addresses after every store and remembers what it finds wrong.
template <typename Kind>
class Watcher {
 public:
  Watcher(const TableMemory* memory, std::vector<Iova> addresses)
      : memory_(memory), addresses_(std::move(addresses)) {}

  std::vector<Seen> LookAtAll(PhysAddr root) const {
    std::vector<Seen> seen;
    for (const Iova a : addresses_) seen.push_back(Kind::Look(*memory_, root.value, a));
    return seen;
  }

  // From here on each address shows `old` until it shows `wanted`, and then stays.
  void Expect(PhysAddr root, std::vector<Seen> old, std::vector<Seen> wanted) {
    root_ = root, old_ = std::move(old), wanted_ = std::move(wanted);
    stores_ = 0;
  }

  void AfterStore(size_t width_bytes) {
    ++stores_;
    wrong_ += width_bytes != 8;
    for (size_t i = 0; i < wanted_.size(); ++i) {
      const Seen seen = Kind::Look(*memory_, root_.value, addresses_[i]);
      if (seen == wanted_[i]) {
        old_[i] = seen;  // No way back.
      } else if (!(seen == old_[i])) {
        ++wrong_;
      }
    }
  }

  void Pause() { wanted_.clear(); }
  int wrong() const { return wrong_; }
  int stores() const { return stores_; }

 private:
  const TableMemory* memory_;
  std::vector<Iova> addresses_;
  PhysAddr root_;
  std::vector<Seen> old_, wanted_;
  int wrong_ = 0;
  int stores_ = 0;
};

std::vector<Iova> Around(const std::vector<Mapping>& mappings, uint64_t page_bytes) {
  std::vector<Iova> addresses;
  for (const Mapping& m : mappings) {
    const uint64_t step = std::max(page_bytes, m.size / 97 / page_bytes * page_bytes);
    for (uint64_t offset = 0; offset < m.size; offset += step) {
      addresses.push_back(m.iova + offset);
      addresses.push_back(m.iova + offset + step - 1);
    }
    addresses.push_back(m.iova - 1);
    addresses.push_back(m.iova + m.size);
  }
  return addresses;
}

TYPED_TEST(PageTableDeviceTest, ShowsOldOrNewAfterEverySingleStore) {
  constexpr uint64_t kPage = TestFixture::kPage, kBlock = TestFixture::kBlock;
  constexpr Iova kPlace = 4 * TestFixture::kLargest;  // Tables of all levels begin here.
  struct Case {
    const char* name;
    std::vector<Mapping> there;
    Mapping change;
  };
  std::vector<Case> cases = {
      {"one page, new tables", {}, {kPlace, 5 * kPage, kPage}},
      {"one page, beside another", {{kPlace + kPage, 0, kPage}}, {kPlace, 5 * kPage, kPage}},
      {"over two tables", {{kPlace - 2 * kPage, 0, kPage}}, {kPlace - kPage, 5 * kPage, 2 * kPage}},
      {"a whole table of pages", {}, {kPlace, 5 * kPage, kBlock}},
      {"ends of tables and one between", {}, {kBlock - kPage, 5 * kPage, kBlock + 2 * kPage}},
      {"mixed leaves with ragged ends",
       {},
       {kPlace - 3 * kPage, kPlace - 3 * kPage, TestFixture::kLargest + kBlock + 5 * kPage}},
      {"blocks beside pages", {{kPlace, 0, kPage}}, {kPlace + kBlock, 0, 3 * kBlock}},
  };
  if (TypeParam::kPageShift == 12) {
    cases.push_back({"mixed leaves", {}, {0x3fe400000, 0x3fe400000, 0xc2200000}});
  }
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    TableMemory memory(PagesFor<TypeParam>(64), TableMemory::kAlignedBase);
    std::vector<Mapping> all = c.there;
    all.push_back(c.change);
    Watcher<TypeParam> watcher(&memory, Around(all, kPage));
    const StoreObserver observer = [&](const uint64_t*, size_t width) {
      watcher.AfterStore(width);
    };
    PageTable table = this->Make(&memory, ObservedStore(&observer));
    for (const Mapping& m : c.there) {
      ASSERT_TRUE(table.Map(m.iova, PhysAddr{m.to}, m.size, kReadOnly).ok());
    }
    // What will be seen at the end, from a table of its own.
    TableMemory other_memory(PagesFor<TypeParam>(64), TableMemory::kAlignedBase);
    PageTable other = this->Make(&other_memory, PlainStore());
    for (const Mapping& m : c.there) {
      ASSERT_TRUE(other.Map(m.iova, PhysAddr{m.to}, m.size, kReadOnly).ok());
    }
    const auto& [iova, to, size] = c.change;
    ASSERT_TRUE(other.Map(iova, PhysAddr{to}, size, kReadWrite).ok());
    const auto before = watcher.LookAtAll(table.root());
    const auto after =
        Watcher<TypeParam>(&other_memory, Around(all, kPage)).LookAtAll(other.root());

    watcher.Expect(table.root(), before, after);
    ASSERT_TRUE(table.Map(iova, PhysAddr{to}, size, kReadWrite).ok());
    EXPECT_EQ(watcher.wrong(), 0);
    EXPECT_GT(watcher.stores(), 0);
    EXPECT_EQ(watcher.LookAtAll(table.root()), after);

    watcher.Expect(table.root(), after, before);
    PageList freed;
    EXPECT_EQ(table.Unmap(iova, size, &freed), size);
    EXPECT_EQ(watcher.wrong(), 0);
    EXPECT_GT(watcher.stores(), 0);
    EXPECT_EQ(watcher.LookAtAll(table.root()), before);
    memory.arena()->Free(&freed);
    watcher.Pause();
  }
}

TYPED_TEST(PageTableDeviceTest, StoresNothingWhenAMapIsRefused) {
  constexpr uint64_t kPage = TestFixture::kPage, kBlock = TestFixture::kBlock;
  constexpr Iova kPlace = 4 * TestFixture::kLargest;
  TableMemory memory(PagesFor<TypeParam>(TypeParam::kLevels + 1), TableMemory::kAlignedBase);
  int stores = 0;
  const StoreObserver observer = [&](const uint64_t*, size_t) { ++stores; };
  PageTable table = this->Make(&memory, ObservedStore(&observer));
  ASSERT_TRUE(table.Map(kPlace + 2 * kBlock, PhysAddr{0}, kPage, kReadWrite).ok());
  stores = 0;
  EXPECT_EQ(table.Map(kPlace, PhysAddr{kPage}, 2 * kBlock + kBlock / 2, kReadWrite).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(table.Map(kPlace, PhysAddr{kPage}, 2 * kBlock, kReadWrite).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(table.Map(kPlace, PhysAddr{1}, kPage, kReadWrite).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(stores, 0);
  EXPECT_EQ(memory.arena()->pages_in_use(), PagesFor<TypeParam>(TypeParam::kLevels));
}

TYPED_TEST(PageTableDeviceTest, ChangesNothingWhicheverTablePageIsMissing) {
  // Needs tables of every level, in several places.
  constexpr uint64_t kPage = TestFixture::kPage, kBlock = TestFixture::kBlock;
  constexpr uint64_t kLargest = TestFixture::kLargest;
  const Mapping kWanted = {4 * kLargest - kBlock - kPage, 7 * kPage, kLargest + 4 * kBlock};
  for (uint64_t tables = TypeParam::kLevels;; ++tables) {
    SCOPED_TRACE(tables);
    const uint64_t pages = PagesFor<TypeParam>(tables);
    TableMemory memory(pages, TableMemory::kAlignedBase);
    PageTable table = this->Make(&memory, PlainStore());
    ASSERT_TRUE(table.Map(0, PhysAddr{3 * kPage}, 3 * kPage, kReadOnly).ok());
    const char* const data = reinterpret_cast<char*>(memory.arena()->WordsAt(memory.base()));
    const std::vector<char> before(data, data + pages * 4096);
    const uint64_t in_use = memory.arena()->pages_in_use();
    const absl::Status status =
        table.Map(kWanted.iova, PhysAddr{kWanted.to}, kWanted.size, kReadWrite);
    if (status.ok()) {
      EXPECT_EQ(memory.arena()->pages_in_use(), pages) << "the first arena that is large enough";
      break;
    }
    ASSERT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    ASSERT_EQ(memory.arena()->pages_in_use(), in_use);
    ASSERT_EQ(std::memcmp(data, before.data(), before.size()), 0);
  }
}

// A device that walks all the time, with no cache: so the flush is to wait until it is between two
// walks. It must never meet a word that leads nowhere or elsewhere.
TYPED_TEST(PageTableDeviceTest, CanBeWalkedWhileItChanges) {
  constexpr uint64_t kPage = TestFixture::kPage;
  constexpr uint64_t kEntries = kEntriesOf<TypeParam>;
  constexpr Iova kStart = 4 * TestFixture::kLargest - TestFixture::kBlock;
  TableMemory memory(PagesFor<TypeParam>(64), TableMemory::kAlignedBase);
  PageTable table = this->Make(&memory, PlainStore());
  constexpr uint64_t kDelta = 8 * kGiB + kPage;
  absl::Mutex walking;
  std::atomic<bool> stop = false;
  std::atomic<int> hits = 0;
  std::thread device([&] {
    for (uint64_t i = 0; !stop; ++i) {
      const Iova iova = kStart + i * 37 % (2 * kEntries) * kPage + i % kPage;
      absl::ReaderMutexLock lock(&walking);
      const Seen seen = TypeParam::Look(memory, table.root().value, iova);
      if (!seen.mapped) continue;
      ASSERT_EQ(seen.physical, iova + kDelta);
      ++hits;
    }
  });
  for (uint64_t i = 0; i < 3000 || hits == 0; ++i) {
    const Iova iova = kStart + i * 61 % kEntries * kPage;
    const uint64_t size = (1 + i * 17 % kEntries) * kPage;
    ASSERT_TRUE(table.Map(iova, PhysAddr{iova + kDelta}, size, kReadWrite).ok());
    PageList freed;
    ASSERT_EQ(table.Unmap(iova, size, &freed), size);
    { absl::MutexLock flush(&walking); }
    memory.arena()->Free(&freed);
  }
  stop = true;
  device.join();
}

}  // namespace
}  // namespace viommu
