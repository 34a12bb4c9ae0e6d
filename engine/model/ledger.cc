#include "engine/model/ledger.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"

namespace viommu {
namespace {

// How a limit is called, and what passing it is answered with.
struct Rule {
  uint64_t OwnerLimits::*value;
  absl::string_view limit;
  absl::string_view what;
  absl::string_view reason;
  absl::string_view errno_name;
};

// In the order of Resource.
constexpr Rule kRules[kResourceCount] = {
    {&OwnerLimits::max_memory_regions, "max_memory_regions", "memory regions", "OBJECT_LIMIT",
     "ENOSPC"},
    {&OwnerLimits::max_ioas, "max_ioas", "IO address spaces", "OBJECT_LIMIT", "ENOSPC"},
    {&OwnerLimits::max_domains, "max_domains", "domains", "OBJECT_LIMIT", "ENOSPC"},
    {&OwnerLimits::max_mappings, "max_mappings", "mappings", "MAPPING_LIMIT", "ENOMEM"},
    {&OwnerLimits::max_mapped_bytes, "max_mapped_bytes", "mapped bytes", "MAPPED_BYTES_LIMIT",
     "ENOMEM"},
    {&OwnerLimits::max_region_bytes_total, "max_region_bytes_total", "bytes of memory regions",
     "REGION_BYTES_LIMIT", "ENOMEM"},
    {&OwnerLimits::max_pasids, "max_pasids", "PASIDs", "PASID_LIMIT", "ENOSPC"},
    {&OwnerLimits::max_fault_queues, "max_fault_queues", "fault queues", "OBJECT_LIMIT", "ENOSPC"},
    {&OwnerLimits::max_fault_groups, "max_fault_groups",
     "groups of page faults in all fault queues", "FAULT_GROUP_LIMIT", "ENOSPC"},
    {&OwnerLimits::max_operations_in_flight, "max_operations_in_flight", "operations under way",
     "IN_FLIGHT_LIMIT", "EAGAIN"},
    {&OwnerLimits::max_streams, "max_streams", "open streams", "STREAM_LIMIT", "EMFILE"},
    {&OwnerLimits::max_viommus, "max_viommus", "Viommus", "OBJECT_LIMIT", "ENOSPC"},
    {&OwnerLimits::max_queued_events, "max_queued_events", "events in queues", "EVENT_LIMIT",
     "ENOMEM"},
};

}  // namespace

Ledger::Ledger(const OwnerLimits& limits) {
  for (size_t i = 0; i < kResourceCount; ++i) {
    limits_[static_cast<Resource>(i)] = limits.*kRules[i].value;
  }
}

absl::StatusOr<Account*> Ledger::Take(absl::string_view owner, const Usage& usage) {
  const auto it = accounts_.find(owner);
  std::unique_ptr<Account> made;
  if (it == accounts_.end()) made = std::make_unique<Account>(std::string(owner));
  Account* const account = made != nullptr ? made.get() : it->second.get();
  for (size_t i = 0; i < kResourceCount; ++i) {
    const auto resource = static_cast<Resource>(i);
    if (usage[resource] > Left(*account, resource)) {
      return Refusal(*account, resource, usage[resource]);
    }
  }
  Charge(*account, usage);
  if (made != nullptr) accounts_.emplace(account->owner(), std::move(made));
  return account;
}

uint64_t Ledger::Left(const Account& account, Resource resource) const {
  const uint64_t limit = limits_[resource];
  return limit - std::min(limit, account.usage_[resource]);
}

void Ledger::Charge(Account& account, const Usage& usage) {
  for (size_t i = 0; i < kResourceCount; ++i) {
    const auto resource = static_cast<Resource>(i);
    account.usage_[resource] += usage[resource];
  }
}

void Ledger::GiveBack(Account& account, const Usage& usage) {
  for (size_t i = 0; i < kResourceCount; ++i) {
    const auto resource = static_cast<Resource>(i);
    account.usage_[resource] -= usage[resource];
  }
  if (&account == &host_ || !account.usage_.IsNothing()) return;
  accounts_.erase(accounts_.find(account.owner()));
}

absl::Status Ledger::Refusal(const Account& account, Resource resource, uint64_t requested) const {
  const Rule& rule = kRules[static_cast<size_t>(resource)];
  const uint64_t limit = limits_[resource];
  const uint64_t in_use = account.usage_[resource];
  return Error(absl::StatusCode::kResourceExhausted, rule.reason,
               absl::StrCat(&account == &host_ ? "the host" : account.owner(), " may have ", limit,
                            " ", rule.what, " and has ", in_use, "; ", requested,
                            " more would pass the limit"))
      .Errno(rule.errno_name)
      .Meta("limit", rule.limit)
      .Meta("limit_value", absl::StrCat(limit))
      .Meta("in_use", absl::StrCat(in_use))
      .Meta("requested", absl::StrCat(requested))
      .Meta("owner", account.owner());
}

void Ledger::CountIfRefusal(const absl::Status& status) {
  if (status.code() != absl::StatusCode::kResourceExhausted) return;
  const std::optional<ErrorDetail> detail = DetailOf(status);
  if (!detail.has_value()) return;
  const auto limit = detail->metadata.find("limit");
  if (limit == detail->metadata.end()) return;
  for (size_t i = 0; i < kResourceCount; ++i) {
    if (kRules[i].limit == limit->second) ++refusals_[i];
  }
}

std::vector<std::pair<std::string, uint64_t>> Ledger::Refusals() const {
  std::vector<std::pair<std::string, uint64_t>> refusals;
  for (size_t i = 0; i < kResourceCount; ++i) {
    refusals.emplace_back(std::string(kRules[i].limit), refusals_[i]);
  }
  return refusals;
}

std::vector<UsageView> Ledger::List() const {
  std::vector<const Account*> accounts{&host_};
  for (const auto& [owner, account] : accounts_) accounts.push_back(account.get());
  std::sort(accounts.begin(), accounts.end(),
            [](const Account* a, const Account* b) { return a->owner() < b->owner(); });
  std::vector<UsageView> list;
  for (const Account* const account : accounts) {
    for (size_t i = 0; i < kResourceCount; ++i) {
      const uint64_t in_use = account->usage_[static_cast<Resource>(i)];
      if (in_use == 0) continue;
      list.push_back({account->owner(), std::string(kRules[i].limit), in_use});
    }
  }
  return list;
}

}  // namespace viommu
