// engine/pagetable/walker.h -- The one algorithm over page tables, for every format and store.
//
// Devices walk the tables while we change them. Three rules keep every instant right:
//   1. A table is complete before it is linked, and linked by one store; so one store makes a whole
//      subtree appear.
//   2. An entry that leads to a table is cleared before the table is given away; so one store makes
//      a whole subtree vanish. Its entries are not cleared one by one: until the caller has flushed
//      the devices' caches they may serve old translations, afterwards nothing leads there.
//   3. A leaf is one 64-bit store.
// Every table but the root holds at least one present entry (TableArena::LiveEntries counts them);
// an emptied one is unlinked at once. So a large leaf never finds an empty table in its place, and
// a present entry in the way of a map is always a conflict.
#ifndef VIOMMU_ENGINE_PAGETABLE_WALKER_H_
#define VIOMMU_ENGINE_PAGETABLE_WALKER_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/types/optional.h"
#include "engine/base/address.h"
#include "engine/pagetable/format.h"
#include "engine/pagetable/table_arena.h"
#include "engine/pagetable/table_walker.h"

namespace viommu {

template <typename Format, typename Store>
class Walker final : public TableWalker {
 public:
  // How many pages of the arena a table takes, and the root of `format`.
  static constexpr int kTablePagesLog2 = Geometry<Format>::kTableBytesLog2 - TableArena::kPageShift;
  static constexpr int RootPagesLog2(const Format& format) {
    return kTablePagesLog2 + format.root_tables_log2();
  }

  // `root` is a zeroed block of `arena`, which outlives this object, for so many pages. It stays
  // the caller's.
  Walker(const Format& format, const Store& store, TableArena* arena, PhysAddr root)
      : format_(format),
        store_(store),
        arena_(arena),
        root_(root),
        leaf_sizes_(format.page_sizes()) {
    static_assert(kTablePagesLog2 >= 0, "a table is a block of the arena");
    arena_->LiveEntries(root_) = 0;
  }

  // Looks first (conflicts, tables needed), takes all tables at once, then cannot fail any more:
  // a refused map never shows anything to a device.
  MapOutcome Map(const IovaRange& range, PhysAddr to, PageAccess permission,
                 MemoryType memory) override {
    Path path;
    const int level = Descend(range, &path);
    if (MapRun(path[level], level, {range.first, range.last, to}, permission, memory)) return {};
    MapOutcome outcome;
    Survey(path[level], level, {range.first, range.last, to}, &outcome);
    if (outcome.kind != MapOutcome::kDone) return outcome;
    MapContext context{permission, memory, {}};
    if (!arena_->TakeUninitialized(outcome.tables_needed, kTablePagesLog2, &context.spare)) {
      outcome.kind = MapOutcome::kExhausted;
      return outcome;
    }
    MapInto<kLinked>(path[level], level, {range.first, range.last, to}, &context);
    return outcome;
  }

  uint64_t Unmap(const IovaRange& range, PageList* freed) override {
    Path path;
    int level = Descend(range, &path);
    const uint64_t bytes = UnmapFrom(path[level], level, range.first, range.last, freed);
    while (level < top() && arena_->LiveEntries(path[level]) == 0) {
      const PhysAddr emptied = path[level++];
      store_.Store64(WordFor(path[level], range.first, level), 0);
      --arena_->LiveEntries(path[level]);
      GiveAway(emptied, freed);
    }
    return bytes;
  }

  void SetLeafSizes(uint64_t page_sizes) override { leaf_sizes_ = page_sizes; }

  void Clear(PageList* freed) override { DiscardBelow(root_, top(), freed); }

  absl::optional<PageTranslation> Translate(Iova iova) const override {
    PhysAddr table = root_;
    for (int level = top();; --level) {
      const uint64_t entry = Load(WordFor(table, iova, level));
      if (!Format::IsPresent(entry)) return absl::nullopt;
      if (Format::IsLeaf(entry, level)) {
        const uint64_t offset = iova & (G::Span(level) - 1);
        return PageTranslation{Format::LeafAddress(entry, level) + offset, G::Span(level),
                               Format::PermissionOf(entry)};
      }
      table = Format::TableAddress(entry);
    }
  }

  std::vector<TableEntry> PathTo(Iova iova) const override {
    std::vector<TableEntry> path;
    PhysAddr table = root_;
    for (int level = top();; --level) {
      const uint64_t* word = WordFor(table, iova, level);
      const uint64_t entry = Load(word);
      path.push_back({level, arena_->AddressOf(word), entry});
      if (!Format::IsPresent(entry) || Format::IsLeaf(entry, level)) return path;
      table = Format::TableAddress(entry);
    }
  }

  TableCounts Count() const override {
    TableCounts counts;
    CountIn(root_, top(), G::kEntries << format_.root_tables_log2(), &counts);
    return counts;
  }

 private:
  using G = Geometry<Format>;

  // Ranges go from function to function as two numbers: the compiler copies a struct of them with
  // one wide load that waits for both halves to leave the store buffer.

  // Tables on the way to an address, by level.
  using Path = std::array<PhysAddr, TableCounts::kMaxLevels>;

  // A range and where its first byte leads to.
  struct Piece {
    Iova first;
    Iova last;
    PhysAddr to;

    Piece UpTo(Iova end) const { return {first, std::min(last, end), to}; }
    // Drops the front up to `end`; false when nothing is left.
    bool DropUpTo(Iova end) {
      if (end >= last) return false;
      to = to + (end + 1 - first);
      first = end + 1;
      return true;
    }
  };

  struct MapContext {
    PageAccess permission;
    MemoryType memory;
    PageList spare;  // Exactly the tables that the map needs.
  };

  // Whether devices can see the table that is being written.
  enum Visibility { kLinked, kUnlinked };

  int top() const { return format_.top_level(); }

  static uint64_t Load(const uint64_t* word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }

  uint64_t* WordFor(PhysAddr table, Iova iova, int level) const {
    // Nothing lies above the root's index: addresses are below 2^input_bits.
    const bool wide = format_.root_tables_log2() > 0 && level == top();
    return arena_->WordsAt(table) + (wide ? iova >> G::Shift(level) : G::Index(iova, level));
  }

  void GiveAway(PhysAddr table, PageList* freed) const {
    arena_->PushBack(table, kTablePagesLog2, freed);
  }

  // Follows the tables from the root as long as one of them spans the whole range; answers the
  // level of the last. Most operations touch that one table only.
  int Descend(const IovaRange& range, Path* path) const {
    int level = top();
    PhysAddr table = root_;
    for (;; --level) {
      (*path)[level] = table;
      if (level == 0 || ((range.first ^ range.last) >> G::Shift(level)) != 0) return level;
      const uint64_t entry = Load(WordFor(table, range.first, level));
      if (!Format::IsPresent(entry) || Format::IsLeaf(entry, level)) return level;
      table = Format::TableAddress(entry);
    }
  }

  // How many leaves of this level the piece can start with, within one table; 0 when its first
  // bytes need a table below.
  uint64_t LeafRun(const Piece& piece, int level) const {
    const uint64_t rest = G::Span(level) - 1;
    const uint64_t length = piece.last - piece.first;
    if ((leaf_sizes_ & G::Span(level)) == 0) return 0;
    if (((piece.first | piece.to.value) & rest) != 0 || length < rest) return 0;
    return ((length - rest) >> G::Shift(level)) + 1;
  }

  // The last address of a run, or of the first entry when there is no run.
  static Iova LastOfRun(const Piece& piece, int level, uint64_t run) {
    if (run == 0) return G::LastOfEntry(piece.first, level);
    return piece.first + ((run - 1) << G::Shift(level)) + (G::Span(level) - 1);
  }

  // The short way for most maps: the whole piece is one run of leaves in a table that is there.
  // Answers false, with nothing changed, when it is not or when something is in the way.
  bool MapRun(PhysAddr table, int level, const Piece& piece, PageAccess permission,
              MemoryType memory) {
    const uint64_t run = LeafRun(piece, level);
    if (run == 0 || LastOfRun(piece, level, run) != piece.last) return false;
    uint64_t* word = WordFor(table, piece.first, level);
    if (!AllAbsent(word, run)) return false;
    FillLeaves(word, run, level, piece.to, permission, memory);
    arena_->LiveEntries(table) += static_cast<uint32_t>(run);
    return true;
  }

  // Finds the first mapped address in the piece, or counts the tables that mapping it would add.
  // The piece lies within one table.
  void Survey(PhysAddr table, int level, Piece piece, MapOutcome* outcome) const {
    const uint64_t* word = WordFor(table, piece.first, level);
    Iova last;
    do {
      const uint64_t run = LeafRun(piece, level);
      last = LastOfRun(piece, level, run);
      if (run > 1 && AllAbsent(word, run)) {
        word += run;
        continue;
      }
      last = G::LastOfEntry(piece.first, level);
      const uint64_t entry = Load(word++);
      if (!Format::IsPresent(entry)) {
        if (run == 0) outcome->tables_needed += TablesFor(piece.UpTo(last), level - 1);
      } else if (Format::IsLeaf(entry, level)) {
        outcome->kind = MapOutcome::kConflict;
        outcome->conflict = piece.first;
      } else {
        Survey(Format::TableAddress(entry), level - 1, piece.UpTo(last), outcome);
      }
    } while (outcome->kind == MapOutcome::kDone && piece.DropUpTo(last));
  }

  static bool AllAbsent(const uint64_t* words, uint64_t count) {
    uint64_t i = 0;
    while (i < count && !Format::IsPresent(Load(words + i))) ++i;
    return i == count;
  }

  // The tables of a new subtree whose topmost table is of `level` and that maps just the piece.
  uint64_t TablesFor(Piece piece, int level) const {
    uint64_t tables = 1;
    Iova last;
    do {
      const uint64_t run = LeafRun(piece, level);
      last = LastOfRun(piece, level, run);
      if (run == 0) tables += TablesFor(piece.UpTo(last), level - 1);
    } while (piece.DropUpTo(last));
    return tables;
  }

  // Maps the piece, which lies within this table and meets no leaf.
  template <Visibility kVisibility>
  void MapInto(PhysAddr table, int level, Piece piece, MapContext* context) {
    uint64_t* word = WordFor(table, piece.first, level);
    uint64_t added = 0;
    Iova last;
    do {
      const uint64_t run = LeafRun(piece, level);
      last = LastOfRun(piece, level, run);
      if (run > 0) {
        FillLeaves(word, run, level, piece.to, context->permission, context->memory);
        word += run;
        added += run;
        continue;
      }
      // A new table's own words hold anything yet.
      const uint64_t entry = kVisibility == kLinked ? Load(word) : 0;
      if (Format::IsPresent(entry)) {
        MapInto<kLinked>(Format::TableAddress(entry), level - 1, piece.UpTo(last), context);
      } else {
        const PhysAddr child = Build(level - 1, piece.UpTo(last), context);
        store_.Store64(word, format_.TableEntry(child));
        ++added;
      }
      ++word;
    } while (piece.DropUpTo(last));
    arena_->LiveEntries(table) += static_cast<uint32_t>(added);
  }

  void FillLeaves(uint64_t* word, uint64_t count, int level, PhysAddr to, PageAccess permission,
                  MemoryType memory) {
    const uint64_t leaf = format_.LeafEntry(to, level, permission, memory);
    const uint64_t next = format_.LeafEntry(to + G::Span(level), level, permission, memory);
    store_.Fill64(word, count, leaf, next - leaf);
  }

  // A complete table, not linked yet, that maps just the piece. Only the words around the piece are
  // zeroed: the others are about to be written.
  PhysAddr Build(int level, const Piece& piece, MapContext* context) {
    const PhysAddr table = arena_->PopFront(&context->spare);
    uint64_t* words = arena_->WordsAt(table);
    const uint64_t begin = G::Index(piece.first, level);
    const uint64_t end = G::Index(piece.last, level) + 1;
    std::memset(words, 0, begin * sizeof(*words));
    std::memset(words + end, 0, (G::kEntries - end) * sizeof(*words));
    arena_->LiveEntries(table) = 0;
    MapInto<kUnlinked>(table, level, piece, context);
    return table;
  }

  // Removes all leaves that lie wholly in the range, which lies within this table.
  uint64_t UnmapFrom(PhysAddr table, int level, Iova first, Iova last, PageList* freed) {
    uint64_t bytes = 0;
    const uint32_t removed = level == 0 ? ClearLeaves(table, first, last, &bytes)
                                        : UnmapEntries(table, level, first, last, freed, &bytes);
    arena_->LiveEntries(table) -= removed;
    return bytes;
  }

  // In a table of smallest leaves. Answers how many were cleared.
  uint32_t ClearLeaves(PhysAddr table, Iova first, Iova last, uint64_t* bytes) {
    // A leaf that reaches out of the range stays.
    const uint64_t begin = (first + (G::Span(0) - 1)) >> G::Shift(0);
    const uint64_t end = (last + 1) >> G::Shift(0);
    uint64_t* word = WordFor(table, first, 0) + (begin - (first >> G::Shift(0)));
    uint32_t removed = 0;
    for (uint64_t page = begin; page < end; ++page, ++word) {
      if (!Format::IsPresent(Load(word))) continue;
      store_.Store64(word, 0);
      ++removed;
    }
    *bytes += removed * G::Span(0);
    return removed;
  }

  // In a table above those. Answers how many of its own entries were cleared.
  uint32_t UnmapEntries(PhysAddr table, int level, Iova first, Iova last, PageList* freed,
                        uint64_t* bytes) {
    uint64_t* word = WordFor(table, first, level);
    uint32_t removed = 0;
    for (;; ++word) {
      const Iova end = std::min(last, G::LastOfEntry(first, level));
      if (const uint64_t entry = Load(word); Format::IsPresent(entry)) {
        removed += UnmapEntry(word, entry, level, first, end, freed, bytes);
      }
      if (end == last) return removed;
      first = end + 1;
    }
  }

  // Removes what lies below one present entry in the range, which lies within the entry. Answers 1
  // when the entry itself was cleared, else 0.
  uint32_t UnmapEntry(uint64_t* word, uint64_t entry, int level, Iova first, Iova last,
                      PageList* freed, uint64_t* bytes) {
    const bool whole = last - first == G::Span(level) - 1;
    if (Format::IsLeaf(entry, level)) {
      if (!whole) return 0;
      store_.Store64(word, 0);
      *bytes += G::Span(level);
      return 1;
    }
    const PhysAddr child = Format::TableAddress(entry);
    if (whole) {
      store_.Store64(word, 0);
      *bytes += Discard(child, level - 1, freed);
      return 1;
    }
    *bytes += UnmapFrom(child, level - 1, first, last, freed);
    if (arena_->LiveEntries(child) > 0) return 0;
    store_.Store64(word, 0);
    GiveAway(child, freed);
    return 1;
  }

  // Gives away an unlinked table and all below it, untouched. Answers the bytes they mapped.
  uint64_t Discard(PhysAddr table, int level, PageList* freed) {
    const uint64_t bytes = DiscardBelow(table, level, freed);
    GiveAway(table, freed);
    return bytes;
  }

  // The same without the table itself.
  uint64_t DiscardBelow(PhysAddr table, int level, PageList* freed) {
    uint32_t left = arena_->LiveEntries(table);
    if (level == 0) return left * G::Span(0);
    uint64_t bytes = 0;
    for (const uint64_t* word = arena_->WordsAt(table); left > 0; ++word) {
      const uint64_t entry = Load(word);
      if (!Format::IsPresent(entry)) continue;
      --left;
      bytes += Format::IsLeaf(entry, level)
                   ? G::Span(level)
                   : Discard(Format::TableAddress(entry), level - 1, freed);
    }
    return bytes;
  }

  void CountIn(PhysAddr table, int level, uint64_t entries, TableCounts* counts) const {
    counts->tables[level] += entries / G::kEntries;
    const uint64_t* words = arena_->WordsAt(table);
    for (uint64_t i = 0; i < entries; ++i) {
      const uint64_t entry = Load(words + i);
      if (!Format::IsPresent(entry)) continue;
      if (Format::IsLeaf(entry, level)) {
        ++counts->leaves[level];
      } else {
        CountIn(Format::TableAddress(entry), level - 1, G::kEntries, counts);
      }
    }
  }

  const Format format_;
  const Store store_;
  TableArena* const arena_;
  const PhysAddr root_;
  uint64_t leaf_sizes_;  // Bit n set: leaves of 2^n bytes are made.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_PAGETABLE_WALKER_H_
