#include "engine/backend/soft/hardware/smmu_stalls.h"

namespace viommu::hardware::smmu {

std::optional<Stall> Stalls::Begin(uint32_t stream_id, std::optional<uint32_t> substream_id) {
  if (held_.size() >= max_) return std::nullopt;
  // Tags are given out in turn, so that one is not used again at once.
  while (held_.contains(next_tag_)) next_tag_ = static_cast<uint16_t>((next_tag_ + 1) % max_);
  const Stall stall = {next_id_++, next_tag_};
  next_tag_ = static_cast<uint16_t>((next_tag_ + 1) % max_);
  held_.emplace(stall.tag, Held{stall.id, stream_id, substream_id, false});
  held_ids_.emplace(stall.id, stall.tag);
  return stall;
}

void Stalls::SetUnrecorded(uint16_t tag) {
  const auto held = held_.find(tag);
  if (held != held_.end()) held->second.unrecorded = true;
}

Stalls::ByTag::iterator Stalls::Settle(ByTag::iterator held, ResumeAnswer answer) {
  if (answers_.size() >= kMaxAnswers) answers_.erase(answers_.begin());
  answers_.emplace(held->second.id, answer);
  std::deque<Resumed>& history = history_[held->second.stream_id];
  if (history.size() >= kKeptResumed) history.pop_front();
  history.push_back({held->second.substream_id, held->first, answer});
  held_ids_.erase(held->second.id);
  return held_.erase(held);
}

void Stalls::Resume(uint32_t stream_id, uint16_t tag, ResumeAnswer answer) {
  const auto held = held_.find(tag);
  if (held == held_.end() || held->second.stream_id != stream_id) return;
  Settle(held, answer);
}

void Stalls::Abort(uint32_t stream_id) {
  for (auto held = held_.begin(); held != held_.end();) {
    const bool matches = held->second.stream_id == stream_id;
    held = matches ? Settle(held, ResumeAnswer::kAbort) : ++held;
  }
}

void Stalls::AbortAll() {
  for (auto held = held_.begin(); held != held_.end();) held = Settle(held, ResumeAnswer::kAbort);
}

void Stalls::RetryUnrecorded() {
  for (auto held = held_.begin(); held != held_.end();) {
    held = held->second.unrecorded ? Settle(held, ResumeAnswer::kRetry) : ++held;
  }
}

ResumeAnswer Stalls::Take(uint64_t id) {
  const auto found = answers_.find(id);
  if (found == answers_.end()) return ResumeAnswer::kAbort;
  const ResumeAnswer answer = found->second;
  answers_.erase(found);
  return answer;
}

std::vector<Resumed> Stalls::History(uint32_t stream_id) const {
  const auto found = history_.find(stream_id);
  if (found == history_.end()) return {};
  return {found->second.begin(), found->second.end()};
}

}  // namespace viommu::hardware::smmu
