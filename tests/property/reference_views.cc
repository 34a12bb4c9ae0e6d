// What devices see by the reference: areas, and guests' tables walked word by word.
#include <algorithm>

#include "tests/property/reference.h"

namespace viommu::property {

// One address put through a guest's tables and the nest parent below.
struct Reference::GuestWalk {
  int tag = 0;
  const RefDomain& nested;
  IommuArchitecture architecture;
  Iova iova = 0;
  bool write = false;
  bool stale = false;  // Also by words that are no more, where caches have not been told.
  std::vector<View>& views;
};

View Reference::LookAtArea(int ioas, Iova iova, bool write, Fault missing) const {
  const auto& areas = ioases_[ioas].areas;
  auto it = areas.upper_bound(iova);
  if (it == areas.begin()) return {missing};
  --it;
  const auto& [first, area] = *it;
  if (iova - first >= area.size) return {missing};
  if (write && (area.permission & 2) == 0) return {Fault::kWriteDenied};
  if (!write && (area.permission & 1) == 0) return {Fault::kReadDenied};
  return {Fault::kNone, area.region, area.offset + (iova - first)};
}

View Reference::LookAtPaging(const RefDomain& domain, Iova iova, bool write) const {
  const uint64_t upper = iova >> domain.width_bits;
  if (!domain.first_stage) {
    return upper != 0 ? View{Fault::kTooWide}
                      : LookAtArea(domain.ioas, iova, write, Fault::kNotMapped);
  }
  if (upper != 0 && upper != kMaxAddress >> domain.width_bits) return {Fault::kNotCanonical};
  return LookAtArea(domain.ioas, iova, write, Fault::kFirstNotMapped);
}

View Reference::ThroughParent(const RefDomain& nested, uint64_t address, bool write) const {
  const View view = LookAtPaging(domains_.at(nested.parent), address, write);
  return view.ok() ? view : View{Fault::kOfTranslation};
}

std::vector<uint64_t> Reference::WordsAt(const GuestWalk& walk, const View& place) const {
  // In other memory nothing is present where guests' tables would have their words.
  if (place.region != tables_region_ || place.offset >= kTablesBytes) return {0};
  std::vector<uint64_t> words{guest_words_[place.offset / 8]};
  if (!walk.stale) return words;
  for (const Stale& stale : stale_) {
    if (stale.tag != walk.tag || stale.offset != place.offset) continue;
    const bool told = std::any_of(stale.told.begin(), stale.told.end(),
                                  [&](const IovaRange& r) { return r.Contains(walk.iova); });
    if (!told) words.push_back(stale.word);
  }
  return words;
}

void Reference::WalkGuest(const GuestWalk& walk, int level, uint64_t table, bool writable) const {
  const uint64_t index = walk.iova >> ShiftOf(level) & 511;
  const View place = ThroughParent(walk.nested, table + index * 8, false);
  if (!place.ok()) {
    walk.views.push_back(place);
    return;
  }
  for (const uint64_t bits : WordsAt(walk, place)) {
    const GuestWord word = DecodeGuestWord(walk.architecture, level, bits);
    const bool still_writable = writable && word.writable;
    const bool leads_on = word.present && word.user && word.accessed &&
                          word.address >> kGuestAddressBits == 0 &&
                          !(word.leaf && walk.write && !still_writable);
    if (!leads_on) {
      walk.views.push_back({Fault::kOfTranslation});
    } else if (word.leaf) {
      const uint64_t in_page = walk.iova & ((uint64_t{1} << ShiftOf(level)) - 1);
      walk.views.push_back(ThroughParent(walk.nested, word.address + in_page, walk.write));
    } else {
      WalkGuest(walk, level - 1, word.address, still_writable);
    }
  }
}

std::vector<View> Reference::LookAtNested(const Requester& who, Iova iova, bool write,
                                          bool stale) const {
  const RefTarget where = Where(who);
  const RefDomain& domain = domains_.at(where.number);
  const bool arm = IsArm(who.device);
  if (domain.entry == GuestEntry::kAbort) return {{Fault::kBlocked}};
  if (domain.entry == GuestEntry::kBypass) return {ThroughParent(domain, iova, write)};
  const int width = arm ? 48 : 47;
  const uint64_t upper = iova >> width;
  if (arm && upper != 0) return {{Fault::kOfTranslation}};
  if (upper != 0 && upper != kMaxAddress >> width) return {{Fault::kNotCanonical}};
  std::vector<View> views;
  WalkGuest({TagOf(where.number, domain), domain, UnitOf(who.device).architecture, iova, write,
             stale, views},
            4, kTablesAt + domain.guest * kGuestBytes, true);
  return views;
}

std::vector<View> Reference::Looks(const Requester& who, Iova iova, bool write, bool stale) const {
  if (who.pasid != kRid && topology_.devices[who.device].pasid_bits == 0)
    return {{Fault::kNoPasids}};
  if (!present_[who.device]) return {{Fault::kBlocked}};
  const RefTarget where = Where(who);
  switch (where.place) {
    case Place::kBlocked:
    case Place::kIoas:
      return {{Fault::kBlocked}};
    case Place::kHostDma: {
      RefDomainRequest request;
      request.device = who.device;
      RefDomain domain = PagingFor(request);
      // The host maps nothing, so it does not matter where.
      if (!domain.first_stage)
        return {{iova >> domain.width_bits != 0 ? Fault::kTooWide : Fault::kNotMapped}};
      const uint64_t upper = iova >> domain.width_bits;
      const bool canonical = upper == 0 || upper == kMaxAddress >> domain.width_bits;
      return {{canonical ? Fault::kFirstNotMapped : Fault::kNotCanonical}};
    }
    case Place::kIdentity:
    case Place::kHostIdentity:
      if (iova >> PhysicalAddressBits(UnitOf(who.device)) != 0) return {{Fault::kTooWide}};
      return {{Fault::kNone, -1, iova}};
    case Place::kDomain:
      break;
  }
  const RefDomain& domain = domains_.at(where.number);
  if (domain.nested()) return LookAtNested(who, iova, write, stale);
  return {LookAtPaging(domain, iova, write)};
}

View Reference::Look(const Requester& who, Iova iova, bool write) const {
  return Looks(who, iova, write, false).front();
}

std::vector<View> Reference::LookThroughCaches(const Requester& who, Iova iova, bool write) const {
  return Looks(who, iova, write, true);
}

int Reference::TagOf(int number, const RefDomain& nested) const {
  return nested.viommu < 0 ? number : -1 - (nested.parent * kGuests + nested.guest);
}

bool Reference::HasTag(int tag) const {
  return std::any_of(domains_.begin(), domains_.end(), [&](const auto& entry) {
    return entry.second.nested() && TagOf(entry.first, entry.second) == tag;
  });
}

void Reference::WriteGuest(uint64_t offset, uint64_t word) {
  const uint64_t old = std::exchange(guest_words_[offset / 8], word);
  const int level = LevelAt(offset);
  std::set<int> tags;
  for (const auto& [number, domain] : domains_) {
    if (domain.nested()) tags.insert(TagOf(number, domain));
  }
  // What is not present is not cached.
  if (!DecodeGuestWord(guests_, level, old).present || old == word) return;
  for (const int tag : tags) stale_.push_back({tag, offset, old, {}});
}

bool Reference::Invalidate(int number, const IovaRange& range, bool leaves_only) {
  const auto domain = domains_.find(number);
  if (domain == domains_.end() || !domain->second.nested()) return false;
  const int tag = TagOf(number, domain->second);
  for (Stale& stale : stale_) {
    // A pointer to a table may stay when only leaves are to go.
    const bool leaf = DecodeGuestWord(guests_, LevelAt(stale.offset), stale.word).leaf;
    if (stale.tag != tag || (leaves_only && !leaf)) continue;
    stale.told.push_back(range);
  }
  const auto everywhere = [&](const Stale& stale) {
    return std::any_of(stale.told.begin(), stale.told.end(), [](const IovaRange& r) {
      return r == IovaRange{0, kMaxAddress};
    });
  };
  stale_.erase(std::remove_if(stale_.begin(), stale_.end(), everywhere), stale_.end());
  return true;
}

size_t Reference::StaleWords(int number) const {
  const auto domain = domains_.find(number);
  if (domain == domains_.end() || !domain->second.nested()) return 0;
  const int tag = TagOf(number, domain->second);
  return std::count_if(stale_.begin(), stale_.end(),
                       [&](const Stale& stale) { return stale.tag == tag; });
}

}  // namespace viommu::property
