// engine/model/ledger.h -- What every owner uses of its limits, and the refusals of more.
//
// Usage is taken when a change is planned and given back when the plan is undone, or when a
// revoke is committed: what is under way counts, so two plans can not pass a limit together.
// Invariant: with nothing under way an owner's account is the sum of Object::Holds over its
// objects, plus its PASIDs and its streams.
#ifndef VIOMMU_ENGINE_MODEL_LEDGER_H_
#define VIOMMU_ENGINE_MODEL_LEDGER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/types.h"

namespace viommu {

// What OwnerLimits limits, in its order.
enum class Resource {
  kMemoryRegions,
  kIoas,
  kDomains,
  kMappings,
  kMappedBytes,
  kRegionBytes,
  kPasids,
  kFaultQueues,
  kFaultGroups,
  kOperationsInFlight,
  kStreams,
  kViommus,
  kQueuedEvents,
};
inline constexpr size_t kResourceCount = 13;

// An amount of every resource.
class Usage {
 public:
  Usage() = default;
  Usage(Resource resource, uint64_t amount) { (*this)[resource] = amount; }
  static Usage OfMappings(uint64_t count, uint64_t bytes) {
    Usage usage(Resource::kMappings, count);
    usage[Resource::kMappedBytes] = bytes;
    return usage;
  }

  uint64_t& operator[](Resource resource) { return amounts_[static_cast<size_t>(resource)]; }
  uint64_t operator[](Resource resource) const { return amounts_[static_cast<size_t>(resource)]; }
  bool IsNothing() const { return amounts_ == std::array<uint64_t, kResourceCount>{}; }

 private:
  std::array<uint64_t, kResourceCount> amounts_{};
};

// What one owner uses. Made and changed by its Ledger alone.
class Account {
 public:
  explicit Account(std::string owner) : owner_(std::move(owner)) {}

  const std::string& owner() const { return owner_; }

 private:
  friend class Ledger;
  const std::string owner_;
  Usage usage_;
};

// An account is kept while its owner uses anything: who holds nothing costs nothing.
// Thread-compatible: guarded by the pipeline's lock.
class Ledger {
 public:
  explicit Ledger(const OwnerLimits& limits);
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  // Takes all of `usage` for `owner`, or nothing. The account answered stays valid until all that
  // was taken is given back.
  // kResourceExhausted: as Refusal, for the first limit that it would pass.
  absl::StatusOr<Account*> Take(absl::string_view owner, const Usage& usage);

  // The host's own account, with an empty owner: of what HostMap maps. Its usage is limited like
  // any owner's.
  Account& host() { return host_; }

  // How much more of `resource` the account may take.
  uint64_t Left(const Account& account, Resource resource) const;
  // Takes what the caller has compared with Left.
  void Charge(Account& account, const Usage& usage);
  // An account that nothing is left in is gone then.
  void GiveBack(Account& account, const Usage& usage);

  // What is answered when `requested` more of `resource` would pass the limit. kResourceExhausted,
  // with the metadata limit, limit_value, in_use, requested and owner; by resource:
  //   OBJECT_LIMIT, MAPPING_LIMIT, MAPPED_BYTES_LIMIT, REGION_BYTES_LIMIT, PASID_LIMIT,
  //   FAULT_GROUP_LIMIT, IN_FLIGHT_LIMIT, STREAM_LIMIT, EVENT_LIMIT
  absl::Status Refusal(const Account& account, Resource resource, uint64_t requested) const;

  // Counts `status`, a final answer, when it is a Refusal; the same plan may be refused more often.
  void CountIfRefusal(const absl::Status& status);

  // By limit; every one is listed.
  std::vector<std::pair<std::string, uint64_t>> Refusals() const;
  // What is used, ascending by owner, then in the order of Resource; nothing that is 0.
  std::vector<UsageView> List() const;

 private:
  Usage limits_;  // Each is the most that an account may use.
  absl::flat_hash_map<std::string, std::unique_ptr<Account>> accounts_;
  Account host_{""};  // As in views: what is the host's has no owner. No principal is called so.
  std::array<uint64_t, kResourceCount> refusals_{};
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_LEDGER_H_
