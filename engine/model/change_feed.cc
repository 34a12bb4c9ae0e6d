#include "engine/model/change_feed.h"

#include <algorithm>
#include <utility>

namespace viommu {

void ChangeFeed::Record(Change change) {
  changes_.push_back(std::move(change));
  if (changes_.size() > kKeptChanges) {
    compacted_ = changes_.front().revision;
    changes_.pop_front();
  }
  Wake(&waiting_for_objects_);
  Wake(&waiting_for_all_);
}

void ChangeFeed::RecordMappings(Uid ioas, uint64_t before, uint64_t now) {
  mappings_.erase(before);
  mappings_.emplace_hint(mappings_.end(), now, ioas);
  Wake(&waiting_for_all_);
}

size_t ChangeFeed::FirstAfter(uint64_t revision) const {
  const auto it = std::upper_bound(
      changes_.begin(), changes_.end(), revision,
      [](uint64_t wanted, const Change& change) { return wanted < change.revision; });
  return static_cast<size_t>(it - changes_.begin());
}

void ChangeFeed::Await(absl::CondVar* turn, bool mappings) {
  (mappings ? waiting_for_all_ : waiting_for_objects_).push_back(turn);
}

void ChangeFeed::Forget(absl::CondVar* turn) {
  for (auto* const waiting : {&waiting_for_objects_, &waiting_for_all_}) {
    waiting->erase(std::remove(waiting->begin(), waiting->end(), turn), waiting->end());
  }
}

void ChangeFeed::Wake(std::vector<absl::CondVar*>* waiting) {
  for (absl::CondVar* const turn : *waiting) turn->Signal();
  waiting->clear();
}

}  // namespace viommu
