// Random operations against a plain model: a map of leaves.
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include "engine/base/errors.h"
#include "engine/pagetable/page_table.h"
#include "engine/pagetable/page_table_kinds.h"
#include "engine/pagetable/page_table_testing.h"
#include "engine/pagetable/store.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

struct Leaf {
  uint64_t size;
  uint64_t to;
  PageAccess permission;
};

// What must be mapped, leaf by leaf.
class Model {
 public:
  explicit Model(std::vector<uint64_t> sizes) : sizes_(std::move(sizes)) {}

  // Where the first leaf that touches the range meets it; nullopt when none does.
  absl::optional<Iova> FirstMapped(Iova iova, uint64_t size) const {
    auto it = leaves_.upper_bound(iova);
    if (it != leaves_.begin()) {
      const auto before = std::prev(it);
      if (before->first + before->second.size > iova) return iova;
    }
    if (it != leaves_.end() && it->first < iova + size) return it->first;
    return absl::nullopt;
  }

  void Map(Iova iova, uint64_t to, uint64_t size, PageAccess permission) {
    while (size > 0) {
      uint64_t leaf = 0;
      for (const uint64_t s : sizes_) {
        if (iova % s == 0 && to % s == 0 && s <= size) leaf = std::max(leaf, s);
      }
      leaves_[iova] = {leaf, to, permission};
      iova += leaf, to += leaf, size -= leaf;
    }
  }

  uint64_t Unmap(Iova iova, uint64_t size) {
    uint64_t bytes = 0;
    auto it = leaves_.lower_bound(iova);
    while (it != leaves_.end() && it->first + it->second.size <= iova + size) {
      bytes += it->second.size;
      it = leaves_.erase(it);
    }
    return bytes;
  }

  Seen At(Iova iova) const {
    auto it = leaves_.upper_bound(iova);
    if (it == leaves_.begin()) return {};
    --it;
    const Leaf& leaf = it->second;
    if (iova - it->first >= leaf.size) return {};
    return {true, leaf.to + (iova - it->first), leaf.size, leaf.permission.read,
            leaf.permission.write};
  }

  // The tables that these leaves need, the root among them, as one.
  template <typename Kind>
  uint64_t Tables() const {
    uint64_t tables = 1;
    for (int level = 0; level < Kind::kLevels - 1; ++level) {
      absl::optional<Iova> counted;  // Leaves are in order, so tables are too.
      for (const auto& [iova, leaf] : leaves_) {
        const Iova table = iova / SpanOf<Kind>(level + 1);
        if (leaf.size > SpanOf<Kind>(level) || counted == table) continue;
        counted = table;
        ++tables;
      }
    }
    return tables;
  }

  const std::map<Iova, Leaf>& leaves() const { return leaves_; }

 private:
  std::vector<uint64_t> sizes_;
  std::map<Iova, Leaf> leaves_;
};

template <typename Kind>
class PageTableModelTest : public ::testing::Test {
 protected:
  // Few enough that maps run out of tables, and that places are used again and again.
  static constexpr uint64_t kTables = Kind::kLevels == 2 ? 12 : 24;
  static constexpr uint64_t kPage = kPageOf<Kind>;
  static constexpr uint64_t kBlock = kBlockOf<Kind>;
  static constexpr uint64_t kLargest = kLargestOf<Kind>;
  // How much longer filling a table takes than one of 512 entries: it is done less often.
  static constexpr uint64_t kEffort = kEntriesOf<Kind> / 512;

  PageTableModelTest() : seed_(ChooseSeed()), random_(seed_) {
    std::cout << "VIOMMU_TEST_SEED=" << seed_ << "\n";
  }

  // Another one every time, unless a run is to be repeated.
  static uint64_t ChooseSeed() {
    const char* wanted = std::getenv("VIOMMU_TEST_SEED");
    return wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : std::random_device{}();
  }

  uint64_t Below(uint64_t n) { return random_() % n; }

  // Near one of the places where tables begin and end.
  Iova RandomIova() {
    constexpr Iova kTop = Iova{1} << Kind::kInputBits;
    // Where a table two levels up begins, or one of the tables of a root.
    constexpr Iova kBorder = std::min(SpanOf<Kind>(2), kTop / 2);
    const Iova places[] = {0, kBorder - 4 * kBlock,
                           std::min(2 * kBorder, kTop - 4 * kBlock) - 4 * kBlock,
                           kTop - std::max(2 * kLargest, 8 * kBlock), kTop - 8 * kBlock};
    const uint64_t steps[] = {kPage, kBlock};
    return places[Below(5)] + Below(8) * steps[Below(2)];
  }

  uint64_t RandomSize() {
    const uint64_t sizes[] = {
        kPage,  3 * kPage, kEntriesOf<Kind> * kPage, (kEntriesOf<Kind> + 1) * kPage,
        kBlock, kLargest};
    return Below(4 * kEffort) == 0 ? sizes[Below(6)] : (1 + Below(20)) * kPage;
  }

  void MapSomething() {
    const Iova iova = RandomIova();
    const uint64_t size = RandomSize();
    // A large leaf's size that is not aligned alike would make the model crawl.
    const bool alike = size > kBlock + kPage || Below(2) == 0;
    const uint64_t to = (alike ? iova : RandomIova()) % (8 * kLargest);
    const PageAccess permissions[] = {kReadOnly, kWriteOnly, kReadWrite};
    const PageAccess permission = permissions[Below(3)];
    const absl::Status status = table_.Map(iova, PhysAddr{to}, size, permission);
    const auto conflict = model_.FirstMapped(iova, size);
    if (size - 1 > table_.aperture().last - iova) {
      ASSERT_EQ(status.code(), absl::StatusCode::kOutOfRange);
    } else if (conflict.has_value()) {
      ASSERT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
      ASSERT_EQ(DetailOf(status)->metadata["iova"], Hex(*conflict));
    } else if (!status.ok()) {
      ASSERT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
      if (++exhausted_ % 50 != 0) return;  // Slow: copies the model.
      Model with = model_;
      with.Map(iova, to, size, permission);
      ASSERT_GT(with.template Tables<Kind>(), kTables);
    } else {
      model_.Map(iova, to, size, Granted<Kind>(permission));
      ++mapped_;
    }
  }

  void UnmapSomething() {
    Iova iova = RandomIova();
    uint64_t size = RandomSize();
    if (Below(2) == 0 && !model_.leaves().empty()) {  // Something that is there.
      auto it = model_.leaves().lower_bound(iova);
      if (it == model_.leaves().end()) --it;
      iova = it->first;
    }
    if (Below(100) == 0) iova = 0, size = table_.aperture().last + 1;
    PageList freed;
    ASSERT_EQ(table_.Unmap(iova, size, &freed), model_.Unmap(iova, size));
    memory_.arena()->Free(&freed);
  }

  void CompareAt(Iova iova) {
    const Seen want = model_.At(iova);
    ASSERT_EQ(Kind::Look(memory_, table_.root().value, iova), want) << Hex(iova);
    const auto got = table_.Translate(iova);
    ASSERT_EQ(got.has_value(), want.mapped) << Hex(iova);
    if (!want.mapped) return;
    ASSERT_EQ(got->address.value, want.physical);
    ASSERT_EQ(got->leaf_bytes, want.leaf_bytes);
    ASSERT_EQ(got->permission, (PageAccess{want.read, want.write}));
  }

  void CompareAll() {
    for (const auto& [iova, leaf] : model_.leaves()) {
      CompareAt(iova);
      CompareAt(iova + leaf.size - 1);
      CompareAt(iova + leaf.size);
      if (iova > 0) CompareAt(iova - 1);
    }
    const uint64_t needed = model_.template Tables<Kind>();
    ASSERT_EQ(memory_.arena()->pages_in_use(), PagesFor<Kind>(needed));
    const TableCounts counts = table_.Count();
    uint64_t leaves = 0, tables = 0;
    for (const uint64_t n : counts.leaves) leaves += n;
    for (const uint64_t n : counts.tables) tables += n;
    ASSERT_EQ(leaves, model_.leaves().size());
    ASSERT_EQ(tables, needed - 1 + (1u << Kind::kRootTablesLog2));
  }

  const uint64_t seed_;
  std::mt19937_64 random_;
  TableMemory memory_{PagesFor<Kind>(kTables), TableMemory::kAlignedBase};
  Model model_{{kPage, kBlock, kLargest}};
  PageTable table_ =
      *PageTable::Create(Kind::MakeFormat(kAllSizesOf<Kind>), PlainStore(), memory_.arena());
  int mapped_ = 0;
  int exhausted_ = 0;
};

TYPED_TEST_SUITE(PageTableModelTest, PageTableKinds);

TYPED_TEST(PageTableModelTest, AgreesWithTheModelAfterRandomOperations) {
  constexpr int kOperations = 40000 / TestFixture::kEffort;
  for (int i = 0; i < kOperations; ++i) {
    SCOPED_TRACE(i);
    if (this->Below(2) == 0) {
      this->MapSomething();
    } else {
      this->UnmapSomething();
    }
    this->CompareAt(this->RandomIova() + this->Below(this->kPage));
    if (i % 500 == 0) this->CompareAll();
    if (this->HasFatalFailure()) return;
  }
  EXPECT_GT(this->mapped_, kOperations / 20);
  EXPECT_GT(this->exhausted_, 0);
  this->CompareAll();
  PageList freed;
  this->table_.Unmap(0, ~uint64_t{0}, &freed);
  this->memory_.arena()->Free(&freed);
  EXPECT_EQ(this->memory_.arena()->pages_in_use(), kRootPagesOf<TypeParam>);
}

}  // namespace
}  // namespace viommu
