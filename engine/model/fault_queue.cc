#include "engine/model/fault_queue.h"

namespace viommu {

bool FaultQueue::Push(Group group) {
  ++last_sequence_;
  if (groups_.size() >= depth) {
    ++lost_;
    WakeReader();
    return false;
  }
  group.sequence = last_sequence_;
  group.cookie = NextCookie();
  by_cookie_[group.cookie] = group.sequence;
  groups_.emplace_hint(groups_.end(), last_sequence_, Entry{std::move(group)});
  WakeReader();
  return true;
}

uint32_t FaultQueue::NextCookie() {
  // Ends: there are more numbers than a queue keeps groups.
  do {
    ++last_cookie_;
  } while (last_cookie_ == 0 || by_cookie_.contains(last_cookie_));
  return last_cookie_;
}

const FaultQueue::Group* FaultQueue::FirstAfter(uint64_t sequence) const {
  for (auto it = groups_.upper_bound(sequence); it != groups_.end(); ++it) {
    if (!it->second.answering) return &it->second.group;
  }
  return nullptr;
}

const FaultQueue::Group* FaultQueue::NextAfter(uint64_t sequence) const {
  const auto next = groups_.upper_bound(sequence);
  return next == groups_.end() || next->second.answering ? nullptr : &next->second.group;
}

const FaultQueue::Group* FaultQueue::Find(uint32_t cookie) const {
  const auto known = by_cookie_.find(cookie);
  if (known == by_cookie_.end()) return nullptr;
  const Entry& entry = groups_.at(known->second);
  return entry.answering ? nullptr : &entry.group;
}

FaultQueue::Entries::iterator FaultQueue::EntryOf(uint32_t cookie) {
  return groups_.find(by_cookie_.at(cookie));
}

void FaultQueue::Erase(Entries::iterator entry) {
  by_cookie_.erase(entry->second.group.cookie);
  groups_.erase(entry);
}

void FaultQueue::BeginAnswer(uint32_t cookie) { EntryOf(cookie)->second.answering = true; }

void FaultQueue::EndAnswer(uint32_t cookie) {
  Erase(EntryOf(cookie));
  WakeReader();
}

bool FaultQueue::UndoAnswer(uint32_t cookie) {
  const auto entry = EntryOf(cookie);
  entry->second.answering = false;
  WakeReader();
  if (!entry->second.withdrawn) return true;
  Erase(entry);
  return false;
}

std::vector<PageGroup> FaultQueue::Withdraw(const std::function<bool(const Group&)>& is_meant) {
  std::vector<PageGroup> taken;
  for (auto it = groups_.begin(); it != groups_.end();) {
    const auto entry = it++;
    if (!is_meant(entry->second.group)) continue;
    if (entry->second.answering) {
      entry->second.withdrawn = true;
      continue;
    }
    taken.push_back(entry->second.group.group);
    by_cookie_.erase(entry->second.group.cookie);
    it = groups_.erase(entry);
  }
  return taken;
}

uint64_t FaultQueue::BeginReading(absl::CondVar* turn) {
  WakeReader();
  turn_ = turn;
  return ++last_stream_;
}

void FaultQueue::EndReading(uint64_t stream) {
  if (IsRead(stream)) turn_ = nullptr;
}

}  // namespace viommu
