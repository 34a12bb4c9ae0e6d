// engine/model/object.h -- What every object of the engine has: name, uid, life, references.
#ifndef VIOMMU_ENGINE_MODEL_OBJECT_H_
#define VIOMMU_ENGINE_MODEL_OBJECT_H_

#include <cstdint>
#include <string>

#include "absl/container/btree_map.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "engine/backend/backend.h"
#include "engine/model/ledger.h"

namespace viommu {

enum class ObjectKind {
  kMemoryRegion,
  kIoas,
  kDomain,
  kFaultQueue,
  kViommu,
  // What belongs to a Viommu.
  kVdevice,
  kEventQueue,
  kHardwareQueue,
};

// The collection in resource names: "memoryRegions", "ioas", "domains", "faultQueues". What belongs
// to a Viommu is in that of the Viommus; its id says the rest: "vm0/vdevices/nic".
absl::string_view Collection(ObjectKind kind);
// The collection below a Viommu: "vdevices"; empty for what belongs to none.
absl::string_view SubCollection(ObjectKind kind);
// For error reasons: "MEMORY_REGION", "IOAS", "DOMAIN", "FAULT_QUEUE".
absl::string_view ReasonPrefix(ObjectKind kind);
// "vm0/vdevices/" for the Viommu "vm0": what the ids of its objects of a kind begin with.
std::string ChildPrefix(absl::string_view viommu, ObjectKind kind);

// Thread-compatible: guarded by the pipeline's lock. Invariant: an object that is referred to is
// not destroyed.
class Object {
 public:
  // Reserved: its creation is under way, it can not be found yet. Destroying: its destruction is
  // under way, it can not be found any more.
  enum class State { kReserved, kLive, kDestroying };

  Object(ObjectKind kind, std::string owner, std::string id, Uid uid)
      : kind_(kind), owner_(std::move(owner)), id_(std::move(id)), uid_(uid) {}
  virtual ~Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  ObjectKind kind() const { return kind_; }
  const std::string& owner() const { return owner_; }
  const std::string& id() const { return id_; }
  Uid uid() const { return uid_; }

  // "ioas/vm0" for its owner, "owners/alice/ioas/vm0" for others.
  std::string NameFor(absl::string_view principal) const;

  // What its owner is charged for while it exists.
  virtual Usage Holds() const { return {}; }

  State state = State::kReserved;
  Account* account = nullptr;  // Its owner's, while it is in the model.
  uint64_t generation = 1;     // Counts the changes that the etag tells.
  uint64_t create_revision = 0;
  uint64_t revision = 0;  // Of the last change.
  absl::Time create_time;

  // Its creation is final, its destruction is not.
  bool exists() const { return state != State::kReserved; }

  std::string Etag() const;

  // References by holder, counted: an Ioas that maps a region a thousand times holds a thousand.
  void AddReferences(Uid holder, uint64_t count) { referrers_[holder] += count; }
  void DropReferences(Uid holder, uint64_t count);
  const absl::btree_map<Uid, uint64_t>& referrers() const { return referrers_; }

 private:
  const ObjectKind kind_;
  const std::string owner_;
  const std::string id_;
  const Uid uid_;
  absl::btree_map<Uid, uint64_t> referrers_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_OBJECT_H_
