#include "tests/differential/mapping_verbs.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

namespace viommu::differential {
namespace {

// An area that is to be added.
struct Addition {
  std::optional<Iova> iova;
  Name region;
  uint64_t offset = 0;
  uint64_t length = 0;
  uint64_t permission = 0;
};

bool Wraps(Iova iova, uint64_t length) { return iova > kMaxAddress - (length - 1); }

bool ValidPermission(uint64_t permission) { return permission >= 1 && permission <= 3; }

// At last: what the memory allows (3.5 step 10), then what the tables can hold (step 11).
Answer CheckWritable(const Region& region, uint64_t permission) {
  const bool writes = (permission & 2) != 0;
  return region.read_only && writes ? Forbidden("REGION_READ_ONLY") : Answer();
}

// The tables come last (3.5, step 11).
Answer CheckHeld(const State& state, const Name& ioas, uint64_t permission) {
  return state.Holds(ioas, permission) ? Answer() : Precondition("PERMISSION_UNAVAILABLE");
}

// iommufd-semantics.md 3.5 and 3.6 with the deviations of engine/DESIGN.md: lengths of 0 and the
// source's bounds are looked at first, then the place, then the source's own properties.
Answer Place(const State& state, const Name& ioas, const Areas& areas, const Addition& addition,
             Iova* place) {
  if (addition.length == 0) return Invalid("INVALID_LENGTH");
  if (addition.iova.has_value() && Wraps(*addition.iova, addition.length)) {
    return Beyond("IOVA_OVERFLOW");
  }
  const Region& region = state.regions.at(addition.region);
  if (region.suspended) return Precondition("REGION_SUSPENDED");
  const uint64_t size = region.size;
  if (addition.offset >= size || addition.length > size - addition.offset) {
    return Beyond("SOURCE_OUT_OF_BOUNDS");
  }
  const uint64_t alignment = state.Alignment(ioas);
  if (addition.length % alignment != 0) return Invalid("MISALIGNED");
  const std::vector<IovaRange> reserved = state.Reserved(ioas);
  if (!addition.iova.has_value()) {
    if (addition.offset % alignment != 0) return Invalid("MISALIGNED");
    const std::optional<Iova> chosen =
        Choose(areas, reserved, state.spaces.at(ioas).allowed, addition.length, addition.offset);
    if (!chosen.has_value()) return Exhausted("IOVA_EXHAUSTED");
    *place = *chosen;
    REFUSE_UNLESS(CheckWritable(region, addition.permission));
    return CheckHeld(state, ioas, addition.permission);
  }
  if (*addition.iova % alignment != 0) return Invalid("MISALIGNED");
  const IovaRange range{*addition.iova, *addition.iova + (addition.length - 1)};
  if (Meets(reserved, range)) return Invalid("IOVA_RESERVED");
  if (Meets(areas, range)) return Exists("IOVA_OCCUPIED");
  *place = range.first;
  REFUSE_UNLESS(CheckWritable(region, addition.permission));
  if (addition.offset % alignment != 0) return Invalid("MISALIGNED");
  return CheckHeld(state, ioas, addition.permission);
}

// All of them or none; the owner of the address space pays.
Answer AddAll(const Call& call, State& state, const Name& ioas,
              const std::vector<Addition>& additions) {
  Areas areas = state.spaces.at(ioas).areas;
  const Used used = state.UsedBy(ioas.owner);
  uint64_t mappings = used.mappings, bytes = used.mapped_bytes;
  Answer answer;
  answer.said = Sheet(call.in_words);
  for (size_t i = 0; i < additions.size(); ++i) {
    const Addition& addition = additions[i];
    Iova place = 0;
    const Answer refusal = Place(state, ioas, areas, addition, &place);
    if (!refusal.ok()) return At(i, refusal);
    if (++mappings > state.limits.max_mappings) return At(i, Exhausted("MAPPING_LIMIT"));
    bytes += addition.length;
    if (bytes > state.limits.max_mapped_bytes) return At(i, Exhausted("MAPPED_BYTES_LIMIT"));
    areas[place] = {{place, place + (addition.length - 1)},
                    addition.region,
                    addition.offset,
                    addition.permission};
    answer.said.Put("iova", place);
  }
  for (const Addition& addition : additions) TouchMapping(state, ioas, addition.region);
  state.spaces[ioas].areas = std::move(areas);
  state.spaces[ioas].mapping_version = state.NextVersion();
  state.changed = true;
  return answer;
}

Answer ToldPlaces(const Call& call, const absl::StatusOr<MapAnswer>& told) {
  Answer answer = FromStatus(told.status());
  if (!told.ok()) return answer;
  answer.said = Sheet(call.in_words);
  for (const Iova iova : told->iovas) answer.said.Put("iova", iova);
  return answer;
}

// ---- map ----

enum MapEntryAt { kRegion, kChosen, kIova, kOffset, kLength, kPermission };

std::vector<uint64_t> InventMap(Dice& dice, const State& state, Caller caller) {
  std::vector<uint64_t> arguments{InventName(dice, state, caller, Sort::kIoas)};
  const Areas& areas = AreasOf(state, caller, arguments[0]);
  uint64_t entries = dice.OneIn(4) ? 1 + dice.Below(4) : 1;
  if (dice.OneIn(80)) entries = 0;
  for (; entries > 0; --entries) {
    arguments.push_back(InventName(dice, state, caller, Sort::kRegion));
    const bool chosen = dice.OneIn(4);
    arguments.push_back(chosen ? 1 : 0);
    arguments.push_back(chosen ? 0 : InventIova(dice, areas));
    arguments.push_back(InventOffset(dice));
    arguments.push_back(InventLength(dice));
    arguments.push_back(InventPermission(dice));
  }
  return arguments;
}

Answer ReferMap(const Call& call, State& state) {
  const Step& step = call.step;
  Name ioas;
  REFUSE_UNLESS(FindSpace(call, state, call[0], &ioas));
  if (step.entries() == 0) return Invalid("EMPTY_BATCH");
  std::vector<Addition> additions(step.entries());
  for (size_t i = 0; i < additions.size(); ++i) {
    const Answer refusal = FindRegion(call, state, step.OfEntry(i, kRegion), &additions[i].region);
    if (!refusal.ok()) return At(i, refusal);
  }
  for (size_t i = 0; i < additions.size(); ++i) {
    if (!ValidPermission(step.OfEntry(i, kPermission))) {
      return At(i, Invalid("INVALID_PERMISSION"));
    }
    if (step.OfEntry(i, kChosen) == 0) additions[i].iova = step.OfEntry(i, kIova);
    additions[i].offset = step.OfEntry(i, kOffset);
    additions[i].length = step.OfEntry(i, kLength);
    additions[i].permission = step.OfEntry(i, kPermission);
  }
  return AddAll(call, state, ioas, additions);
}

Answer AskMap(const Call& call, Engine& engine) {
  const Step& step = call.step;
  MapBatch batch;
  for (size_t i = 0; i < step.entries(); ++i) {
    batch.regions.push_back(call.Ref(step.OfEntry(i, kRegion), Sort::kRegion));
    MapEntry entry;
    if (step.OfEntry(i, kChosen) == 0) entry.iova = step.OfEntry(i, kIova);
    entry.offset_bytes = step.OfEntry(i, kOffset);
    entry.length_bytes = step.OfEntry(i, kLength);
    entry.region = static_cast<uint32_t>(i);
    entry.permission = static_cast<Permission>(step.OfEntry(i, kPermission));
    batch.entries.push_back(entry);
  }
  return ToldPlaces(call, engine.Map(call.context, call.Ref(call[0], Sort::kIoas), batch));
}

// ---- copy ----

enum CopyAt { kTo, kFrom, kSourceIova, kCopyLength, kCopyChosen, kCopyIova, kCopyPermission };

std::vector<uint64_t> InventCopy(Dice& dice, const State& state, Caller caller) {
  const uint64_t to = InventName(dice, state, caller, Sort::kIoas),
                 from = InventName(dice, state, caller, Sort::kIoas);
  const bool chosen = dice.OneIn(3);
  return {to,
          from,
          InventIova(dice, AreasOf(state, caller, from)),
          InventLength(dice),
          chosen ? 1u : 0u,
          chosen ? 0 : InventIova(dice, AreasOf(state, caller, to)),
          InventPermission(dice)};
}

// One addition for each area of the range, which has no hole.
Answer CutOut(const Areas& areas, const IovaRange& range, uint64_t permission,
              std::vector<Addition>* pieces) {
  Iova next = range.first;
  for (const auto& [iova, area] : areas) {
    if (!area.range.Overlaps(range)) continue;
    if (area.range.first > next) break;
    if (area.suspended) return Precondition("MAPPING_SUSPENDED");
    const Iova last = std::min(area.range.last, range.last);
    pieces->push_back({std::nullopt, area.region, area.offset + (next - area.range.first),
                       last - next + 1, permission});
    if (last == range.last) return {};
    next = last + 1;
  }
  return Missing("IOVA_NOT_COVERED");
}

Answer ReferCopy(const Call& call, State& state) {
  Name from, to;
  REFUSE_UNLESS(FindSpace(call, state, call[kFrom], &from));
  REFUSE_UNLESS(FindSpace(call, state, call[kTo], &to));
  if (!ValidPermission(call[kCopyPermission])) return Invalid("INVALID_PERMISSION");
  const Iova source = call[kSourceIova];
  const uint64_t length = call[kCopyLength];
  if (length == 0 || (source == 0 && length == kMaxAddress)) return Invalid("INVALID_LENGTH");
  if (Wraps(source, length)) return Beyond("IOVA_OVERFLOW");
  std::vector<Addition> pieces;
  REFUSE_UNLESS(CutOut(state.spaces.at(from).areas, {source, source + (length - 1)},
                       call[kCopyPermission], &pieces));
  Iova iova = call[kCopyIova];
  if (call[kCopyChosen] == 0) {
    if (Wraps(iova, length)) return Beyond("IOVA_OVERFLOW");
  } else {
    const uint64_t alignment = state.Alignment(to);
    if (length % alignment != 0 || pieces[0].offset % alignment != 0) return Invalid("MISALIGNED");
    const Space& space = state.spaces.at(to);
    const std::optional<Iova> chosen =
        Choose(space.areas, state.Reserved(to), space.allowed, length, pieces[0].offset);
    if (!chosen.has_value()) return Exhausted("IOVA_EXHAUSTED");
    iova = *chosen;
  }
  for (Addition& piece : pieces) {
    piece.iova = iova;
    iova += piece.length;
  }
  Answer answer = AddAll(call, state, to, pieces);
  answer.index.reset();  // Pieces are no entries of the request.
  return answer;
}

Answer AskCopy(const Call& call, Engine& engine) {
  CopyRequest request;
  request.source = call.Ref(call[kFrom], Sort::kIoas);
  request.source_iova = call[kSourceIova];
  request.length_bytes = call[kCopyLength];
  if (call[kCopyChosen] == 0) request.iova = call[kCopyIova];
  request.permission = static_cast<Permission>(call[kCopyPermission]);
  return ToldPlaces(call,
                    engine.CopyMappings(call.context, call.Ref(call[kTo], Sort::kIoas), request));
}

// ---- unmap ----

std::vector<uint64_t> InventUnmap(Dice& dice, const State& state, Caller caller) {
  const bool all = dice.OneIn(12);
  std::vector<uint64_t> arguments{InventName(dice, state, caller, Sort::kIoas), all ? 1u : 0u};
  const Areas& areas = AreasOf(state, caller, arguments[0]);
  uint64_t entries = dice.OneIn(6) ? dice.Below(4) : 1;
  if (all && !dice.OneIn(8)) entries = 0;
  for (; entries > 0; --entries) {
    Iova iova = InventIova(dice, areas);
    uint64_t length = InventLength(dice);
    if (!areas.empty() && !dice.OneIn(4)) {
      const IovaRange& range = dice.Any(areas).second.range;
      iova = range.first;
      length = range.size_bytes();
      if (dice.OneIn(8)) length += 0x1000 * dice.Below(32);
      if (dice.OneIn(16)) length -= 1 + dice.Below(2) * 0xfff;
    }
    arguments.push_back(iova);
    arguments.push_back(length);
  }
  return arguments;
}

// Areas while a batch is under way: each knows where the one began that it is (a part of).
struct Piece {
  Mapped area;
  Iova origin = 0;
};
using Pieces = std::map<Iova, Piece>;

Piece PartOf(const Piece& piece, Iova first, Iova last) {
  Piece part = piece;
  part.area.range = {first, last};
  part.area.offset += first - piece.area.range.first;
  return part;
}

bool MayCutAt(const Piece& piece, Iova first, uint64_t alignment) {
  const uint64_t offset = piece.area.offset + (first - piece.area.range.first);
  return first % alignment == 0 && offset % alignment == 0;
}

// Takes areas out of a range. One that lies only partly in it is in the way; the mode kVfioType1
// cuts it (3.8). Where nothing is there is nothing to do in the modes of VFIO, else it is refused.
Answer TakeOut(const State& state, const Name& ioas, Pieces* pieces, const IovaRange& range,
               std::vector<Piece>* taken) {
  const IoasMode mode = state.spaces.at(ioas).mode;
  const bool cuts = mode == IoasMode::kVfioType1;
  Pieces left;
  const size_t before = taken->size();
  for (const auto& [iova, piece] : *pieces) {
    const IovaRange whole = piece.area.range;
    if (!whole.Overlaps(range)) {
      left[iova] = piece;
      continue;
    }
    if (!range.Contains(whole) && !cuts && state.wrong != WrongRule::kUnmapCutsAreas) {
      return Missing("IOVA_NOT_COVERED");
    }
    Iova first = whole.first, last = whole.last;
    if (cuts && first < range.first) {
      first = range.first;
      if (!MayCutAt(piece, first, state.Alignment(ioas))) return Invalid("MISALIGNED");
      left[iova] = PartOf(piece, iova, first - 1);
    }
    if (cuts && last > range.last) {
      last = range.last;
      if (!MayCutAt(piece, last + 1, state.Alignment(ioas))) return Invalid("MISALIGNED");
      left[last + 1] = PartOf(piece, last + 1, whole.last);
    }
    taken->push_back(PartOf(piece, first, last));
  }
  if (taken->size() == before && mode == IoasMode::kNative) return Missing("IOVA_NOT_COVERED");
  *pieces = std::move(left);
  return {};
}

Answer TakeOutEntry(const State& state, const Name& ioas, Pieces* pieces, Iova iova,
                    uint64_t length, std::vector<Piece>* taken) {
  if (length == 0 || (iova == 0 && length == kMaxAddress)) return Invalid("INVALID_LENGTH");
  if (Wraps(iova, length)) return Beyond("IOVA_OVERFLOW");
  return TakeOut(state, ioas, pieces, {iova, iova + (length - 1)}, taken);
}

Answer ReferUnmap(const Call& call, State& state) {
  Name ioas;
  REFUSE_UNLESS(FindSpace(call, state, call[0], &ioas));
  const bool all = call[1] != 0;
  const size_t entries = call.step.entries();
  if (all && entries > 0) return Invalid("CONFLICTING_FIELDS");
  if (!all && entries == 0) return Invalid("EMPTY_BATCH");
  Pieces pieces;
  for (const auto& [iova, area] : state.spaces.at(ioas).areas) pieces[iova] = {area, iova};
  std::vector<Piece> taken;
  if (all) {
    for (const auto& [iova, piece] : pieces) taken.push_back(piece);
    pieces.clear();
  }
  for (size_t i = 0; i < entries; ++i) {
    const Answer refusal = TakeOutEntry(state, ioas, &pieces, call.step.OfEntry(i, 0),
                                        call.step.OfEntry(i, 1), &taken);
    if (!refusal.ok()) return At(i, refusal);
  }
  uint64_t bytes = 0;
  std::set<Iova> gone;  // Areas that are not any more what they were.
  for (const Piece& piece : taken) {
    bytes += piece.area.range.size_bytes();
    gone.insert(piece.origin);
    TouchMapping(state, ioas, piece.area.region);
  }
  if (!taken.empty()) {
    Areas areas;
    for (const auto& [iova, piece] : pieces) areas[iova] = piece.area;
    state.spaces[ioas].areas = std::move(areas);
    state.spaces[ioas].mapping_version = state.NextVersion();
    state.changed = true;
  }
  Answer answer;
  answer.said = Sheet(call.in_words);
  answer.said.Put("areas", gone.size());
  answer.said.Put("bytes", bytes);
  return answer;
}

Answer AskUnmap(const Call& call, Engine& engine) {
  UnmapBatch batch;
  batch.all = call[1] != 0;
  for (size_t i = 0; i < call.step.entries(); ++i) {
    batch.entries.push_back({call.step.OfEntry(i, 0), call.step.OfEntry(i, 1)});
  }
  const auto told = engine.Unmap(call.context, call.Ref(call[0], Sort::kIoas), batch);
  Answer answer = FromStatus(told.status());
  if (!told.ok()) return answer;
  answer.said = Sheet(call.in_words);
  answer.said.Put("areas", told->unmapped_areas);
  answer.said.Put("bytes", told->unmapped_bytes);
  return answer;
}

}  // namespace

absl::Span<const Verb> MappingVerbs() {
  static const auto* const kVerbs = new std::vector<Verb>{
      {{"map",
        {{"ioas", Sort::kIoas}},
        {{"region", Sort::kRegion}, {"chosen"}, {"iova"}, {"offset"}, {"length"}, {"permission"}}},
       28,
       InventMap,
       ReferMap,
       AskMap},
      {{"copy",
        {{"to", Sort::kIoas},
         {"from", Sort::kIoas},
         {"source"},
         {"length"},
         {"chosen"},
         {"iova"},
         {"permission"}},
        {}},
       8,
       InventCopy,
       ReferCopy,
       AskCopy},
      {{"unmap", {{"ioas", Sort::kIoas}, {"all"}}, {{"iova"}, {"length"}}},
       18,
       InventUnmap,
       ReferUnmap,
       AskUnmap},
  };
  return *kVerbs;
}

}  // namespace viommu::differential
