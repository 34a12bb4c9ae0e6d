// What a device may see while tables change, and when table pages run out.
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "engine/pagetable/page_table.h"
#include "engine/pagetable/page_table_testing.h"
#include "engine/pagetable/store.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4 * kKiB;
constexpr uint64_t kAllSizes = kPage | 2 * kMiB | kGiB;

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
    return *PageTable::Create(Kind::MakeFormat(kAllSizes), store, memory->arena());
  }
};

using Kinds = ::testing::Types<VtdSecondStageKind<3>, VtdSecondStageKind<4>, VtdSecondStageKind<5>,
                               X86FirstStageKind<4>, X86FirstStageKind<5>>;
TYPED_TEST_SUITE(PageTableDeviceTest, Kinds);

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

std::vector<Iova> Around(const std::vector<Mapping>& mappings) {
  std::vector<Iova> addresses;
  for (const Mapping& m : mappings) {
    const uint64_t step = std::max(kPage, m.size / 97 / kPage * kPage);
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
  const struct {
    const char* name;
    std::vector<Mapping> there;
    Mapping change;
  } kCases[] = {
      {"one page, new tables", {}, {kGiB, 0x5000, kPage}},
      {"one page, beside another", {{kGiB + kPage, 0, kPage}}, {kGiB, 0x5000, kPage}},
      {"over two tables", {{kGiB - 2 * kPage, 0, kPage}}, {kGiB - kPage, 0x5000, 2 * kPage}},
      {"a whole table of pages", {}, {kGiB, 0x5000, 2 * kMiB}},
      {"ends of tables and one between", {}, {2 * kMiB - kPage, 0x5000, 2 * kMiB + 2 * kPage}},
      {"mixed leaves", {}, {0x3fe400000, 0x3fe400000, 0xc2200000}},
      {"mixed leaves with ragged ends", {}, {kGiB - 0x3000, kGiB - 0x3000, kGiB + 0x205000}},
      {"2 MiB leaves beside pages", {{kGiB, 0, kPage}}, {kGiB + 2 * kMiB, 0, 6 * kMiB}},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    TableMemory memory(64);
    std::vector<Mapping> all = c.there;
    all.push_back(c.change);
    Watcher<TypeParam> watcher(&memory, Around(all));
    const StoreObserver observer = [&](const uint64_t*, size_t width) {
      watcher.AfterStore(width);
    };
    PageTable table = this->Make(&memory, ObservedStore(&observer));
    for (const Mapping& m : c.there) {
      ASSERT_TRUE(table.Map(m.iova, PhysAddr{m.to}, m.size, kReadOnly).ok());
    }
    // What will be seen at the end, from a table of its own.
    TableMemory other_memory(64);
    PageTable other = this->Make(&other_memory, PlainStore());
    for (const Mapping& m : c.there) {
      ASSERT_TRUE(other.Map(m.iova, PhysAddr{m.to}, m.size, kReadOnly).ok());
    }
    const auto& [iova, to, size] = c.change;
    ASSERT_TRUE(other.Map(iova, PhysAddr{to}, size, kReadWrite).ok());
    const auto before = watcher.LookAtAll(table.root());
    const auto after = Watcher<TypeParam>(&other_memory, Around(all)).LookAtAll(other.root());

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
  TableMemory memory(TypeParam::kLevels + 1);
  int stores = 0;
  const StoreObserver observer = [&](const uint64_t*, size_t) { ++stores; };
  PageTable table = this->Make(&memory, ObservedStore(&observer));
  ASSERT_TRUE(table.Map(kGiB + 4 * kMiB, PhysAddr{0}, kPage, kReadWrite).ok());
  stores = 0;
  EXPECT_EQ(table.Map(kGiB, PhysAddr{kPage}, 5 * kMiB, kReadWrite).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(table.Map(kGiB, PhysAddr{kPage}, 4 * kMiB, kReadWrite).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(table.Map(kGiB, PhysAddr{1}, kPage, kReadWrite).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(stores, 0);
}

TYPED_TEST(PageTableDeviceTest, ChangesNothingWhicheverTablePageIsMissing) {
  // Needs tables of every level, in several places.
  const Mapping kWanted = {kGiB - 2 * kMiB - kPage, 0x7000, kGiB + 8 * kMiB};
  for (uint64_t pages = TypeParam::kLevels;; ++pages) {
    SCOPED_TRACE(pages);
    TableMemory memory(pages);
    PageTable table = this->Make(&memory, PlainStore());
    ASSERT_TRUE(table.Map(0, PhysAddr{0x3000}, 3 * kPage, kReadOnly).ok());
    const char* const data = reinterpret_cast<char*>(memory.arena()->WordsAt(TableMemory::kBase));
    const std::vector<char> before(data, data + pages * kPage);
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
  TableMemory memory(64);
  PageTable table = this->Make(&memory, PlainStore());
  constexpr uint64_t kDelta = 8 * kGiB + kPage;
  absl::Mutex walking;
  std::atomic<bool> stop = false;
  std::atomic<int> hits = 0;
  std::thread device([&] {
    for (uint64_t i = 0; !stop; ++i) {
      const Iova iova = kGiB - 2 * kMiB + i * 37 % 1024 * kPage + i % kPage;
      absl::ReaderMutexLock lock(&walking);
      const Seen seen = TypeParam::Look(memory, table.root().value, iova);
      if (!seen.mapped) continue;
      ASSERT_EQ(seen.physical, iova + kDelta);
      ++hits;
    }
  });
  for (uint64_t i = 0; i < 3000 || hits == 0; ++i) {
    const Iova iova = kGiB - 2 * kMiB + i * 61 % 512 * kPage;
    const uint64_t size = (1 + i * 17 % 512) * kPage;
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
