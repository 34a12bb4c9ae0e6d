// What devices see by the reference: areas, and guests' tables walked word by word.
#include <algorithm>

#include "tests/property/reference.h"

namespace viommu::property {

// One address put through a guest's tables and the nest parent below.
struct Reference::GuestWalk {
  int domain = 0;
  const RefDomain& nested;
  Iova iova = 0;
  bool write = false;
  bool stale = false;  // Also by words that are no more, where caches have not been told.
  std::vector<View>& views;
};

View Reference::LookAtArea(int ioas, Iova iova, bool write, uint8_t missing) const {
  const auto& areas = ioases_[ioas].areas;
  auto it = areas.upper_bound(iova);
  if (it == areas.begin()) return {missing};
  --it;
  const auto& [first, area] = *it;
  if (iova - first >= area.size) return {missing};
  if (write && (area.permission & 2) == 0) return {kWriteDenied};
  if (!write && (area.permission & 1) == 0) return {kReadDenied};
  return {0, area.region, area.offset + (iova - first)};
}

View Reference::LookAtPaging(const RefDomain& domain, Iova iova, bool write) const {
  const uint64_t upper = iova >> domain.width_bits;
  if (!domain.first_stage) {
    return upper != 0 ? View{kTooWide} : LookAtArea(domain.ioas, iova, write, kNotPresent);
  }
  if (upper != 0 && upper != kMaxAddress >> domain.width_bits) return {kNotCanonical};
  return LookAtArea(domain.ioas, iova, write, kFirstNotPresent);
}

View Reference::ThroughParent(const RefDomain& nested, uint64_t address, bool write) const {
  const View view = LookAtPaging(domains_.at(nested.parent), address, write);
  return view.fault == 0 ? view : View{kSomeFault};
}

std::vector<uint64_t> Reference::WordsAt(const GuestWalk& walk, const View& place) const {
  // In other memory nothing is present where guests' tables would have their words.
  if (place.region != tables_region_ || place.offset >= kTablesBytes) return {0};
  std::vector<uint64_t> words{guest_words_[place.offset / 8]};
  if (!walk.stale) return words;
  for (const Stale& stale : stale_) {
    if (stale.domain != walk.domain || stale.offset != place.offset) continue;
    const bool told = std::any_of(stale.told.begin(), stale.told.end(),
                                  [&](const IovaRange& r) { return r.Contains(walk.iova); });
    if (!told) words.push_back(stale.word);
  }
  return words;
}

void Reference::TakeGuestLeaf(const GuestWalk& walk, int level, uint64_t word,
                              bool writable) const {
  const uint64_t in_page = (uint64_t{1} << ShiftOf(level)) - 1;
  const uint64_t page = word & kGuestAddress;
  if ((page & in_page) != 0 || (walk.write && !writable)) {
    walk.views.push_back({kSomeFault});
    return;
  }
  walk.views.push_back(ThroughParent(walk.nested, page + (walk.iova & in_page), walk.write));
}

void Reference::WalkGuest(const GuestWalk& walk, int level, uint64_t table, bool writable) const {
  const uint64_t index = walk.iova >> ShiftOf(level) & 511;
  const View place = ThroughParent(walk.nested, table + index * 8, false);
  if (place.fault != 0) {
    walk.views.push_back(place);
    return;
  }
  for (const uint64_t word : WordsAt(walk, place)) {
    const bool wrong = (word & kGuestPresent) == 0 || (word & kGuestUser) == 0 ||
                       (word & kGuestAddress) >> kGuestAddressBits != 0 ||
                       (level > 2 && (word & kGuestLarge) != 0);
    const bool still_writable = writable && (word & kGuestWrite) != 0;
    if (wrong) {
      walk.views.push_back({kSomeFault});
    } else if (IsGuestLeaf(level, word)) {
      TakeGuestLeaf(walk, level, word, still_writable);
    } else {
      WalkGuest(walk, level - 1, word & kGuestAddress, still_writable);
    }
  }
}

std::vector<View> Reference::Looks(const Requester& who, Iova iova, bool write, bool stale) const {
  if (who.pasid != kRid && topology_.devices[who.device].pasid_bits == 0) return {{kNoPasids}};
  if (!present_[who.device]) return {{kBlocked}};
  const RefTarget where = Where(who);
  switch (where.place) {
    case Place::kBlocked:
    case Place::kIoas:
      return {{kBlocked}};
    case Place::kHostDma: {
      RefDomainRequest request;
      request.device = who.device;
      RefDomain domain = PagingFor(request);
      // The host maps nothing, so it does not matter where.
      if (!domain.first_stage) return {{iova >> domain.width_bits != 0 ? kTooWide : kNotPresent}};
      const uint64_t upper = iova >> domain.width_bits;
      const bool canonical = upper == 0 || upper == kMaxAddress >> domain.width_bits;
      return {{canonical ? kFirstNotPresent : kNotCanonical}};
    }
    case Place::kIdentity:
    case Place::kHostIdentity:
      if (iova >> UnitOf(who.device).host_address_width_bits != 0) return {{kTooWide}};
      return {{0, -1, iova}};
    case Place::kDomain:
      break;
  }
  const RefDomain& domain = domains_.at(where.number);
  if (!domain.nested()) return {LookAtPaging(domain, iova, write)};
  std::vector<View> views;
  const uint64_t upper = iova >> 47;
  if (upper != 0 && upper != kMaxAddress >> 47) return {{kNotCanonical}};
  WalkGuest({where.number, domain, iova, write, stale, views}, 4,
            kTablesAt + domain.guest * kGuestBytes, true);
  return views;
}

View Reference::Look(const Requester& who, Iova iova, bool write) const {
  return Looks(who, iova, write, false).front();
}

std::vector<View> Reference::LookThroughCaches(const Requester& who, Iova iova, bool write) const {
  return Looks(who, iova, write, true);
}

void Reference::WriteGuest(uint64_t offset, uint64_t word) {
  const uint64_t old = std::exchange(guest_words_[offset / 8], word);
  // What is not present is not cached.
  if ((old & kGuestPresent) == 0 || old == word) return;
  for (const auto& [number, domain] : domains_) {
    if (domain.nested()) stale_.push_back({number, offset, old, {}});
  }
}

bool Reference::Invalidate(int number, const IovaRange& range, bool leaves_only) {
  const auto domain = domains_.find(number);
  if (domain == domains_.end() || !domain->second.nested()) return false;
  for (Stale& stale : stale_) {
    const int level = kTableLevels[stale.offset / kPage % kGuestPages];
    // A pointer to a table may stay when only leaves are to go.
    if (stale.domain != number || (leaves_only && !IsGuestLeaf(level, stale.word))) continue;
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

size_t Reference::StaleWords(int domain) const {
  return std::count_if(stale_.begin(), stale_.end(),
                       [&](const Stale& stale) { return stale.domain == domain; });
}

}  // namespace viommu::property
