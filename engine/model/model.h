// engine/model/model.h -- All state of the host, and the look-ups that every operation needs.
//
// Thread-compatible: guarded by the pipeline's lock. Pure calls of the backend (const ones) may be
// made under that lock, effects never.
#ifndef VIOMMU_ENGINE_MODEL_MODEL_H_
#define VIOMMU_ENGINE_MODEL_MODEL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/backend/backend.h"
#include "engine/base/env.h"
#include "engine/base/errors.h"
#include "engine/model/change_feed.h"
#include "engine/model/device.h"
#include "engine/model/domain.h"
#include "engine/model/doorbell_table.h"
#include "engine/model/fault_queue.h"
#include "engine/model/hardware_queue.h"
#include "engine/model/ioas.h"
#include "engine/model/ledger.h"
#include "engine/model/memory_region.h"
#include "engine/model/object_table.h"
#include "engine/model/page_faults.h"
#include "engine/model/process_pasids.h"
#include "engine/model/vdevice.h"
#include "engine/model/viommu.h"
#include "engine/model/viommu_event_queue.h"
#include "engine/types.h"

namespace viommu {

// What a transition leads from and to, for the count by kind.
enum class DomainState { kBlocked, kIdentity, kPaging, kHostIdentity, kHostDma };
inline constexpr DomainState kDomainStates[] = {DomainState::kBlocked, DomainState::kIdentity,
                                                DomainState::kPaging, DomainState::kHostIdentity,
                                                DomainState::kHostDma};
absl::string_view DomainStateName(DomainState state);

class Model {
 public:
  // Fills devices and groups from the backend's topology; every group belongs to the host.
  Model(const Backend* backend, Env* env, const OwnerLimits& limits,
        const FlushQueueOptions& flush_queue = FlushQueueOptions());
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const Backend& backend() const { return *backend_; }
  Env& env() const { return *env_; }

  // The owner that `ref` means: the caller, or whom an operator names.
  // kPermissionDenied NOT_OPERATOR
  static absl::StatusOr<std::string> OwnerOf(const CallContext& context, const ObjectRef& ref);

  // The live object; kNotFound <KIND>_NOT_FOUND, and the errors of OwnerOf.
  template <typename T>
  absl::StatusOr<T*> Find(const CallContext& context, const ObjectRef& ref) const;
  // The object of a uid that is known to exist.
  template <typename T>
  T* Get(Uid uid) const {
    return static_cast<T*>(objects.FindByUid(uid));
  }

  // kNotFound DEVICE_NOT_FOUND: the topology has none, or it is unplugged.
  absl::StatusOr<Device*> FindDevice(absl::string_view id);
  // The same, plugged in or not.
  absl::StatusOr<Device*> FindSlot(absl::string_view id);
  Group& GroupOf(const Device& device) { return groups[device.group]; }
  const Group& GroupOf(const Device& device) const { return groups[device.group]; }
  // The unit that a device is behind.
  const IommuSpec& UnitOf(const Device& device) const;

  // `id`, or when it is empty one that the engine makes up.
  std::string IdOrGenerated(const std::string& id, ObjectKind kind);
  // The same for an object that belongs to `viommu`: "vm0/vdevices/" before it.
  std::string ChildIdOrGenerated(const Viommu& viommu, const std::string& id, ObjectKind kind);

  // kAborted ETAG_MISMATCH; an empty `etag` matches.
  static absl::Status CheckEtag(const std::string& etag, const std::string& current,
                                absl::string_view name);

  // Whose tables hold what the host maps for requests on `target`: its domain, or that one's nest
  // parent. Null for the static ones.
  Domain* PagingDomainOf(const DomainTarget& target) const;

  // Resource name of a domain target, as `principal` sees it.
  std::string TargetName(const DomainTarget& target, absl::string_view principal) const;
  // Of the requests without PASID.
  DomainState StateOf(const Group& group) const;
  // Of a group that is claimed, at one PASID or the RID.
  static DomainState StateOf(const DomainTarget& target);

  // Takes the name for an object under construction and charges its owner with it.
  // kAlreadyExists <KIND>_EXISTS; kResourceExhausted: Ledger::Refusal
  template <typename T>
  absl::StatusOr<T*> Reserve(std::unique_ptr<T> object);
  // Removes an object, whatever its state, and gives back what its owner is charged for it. Nothing
  // refers to it. That of an object which exists is a change with a revision of its own.
  void Discard(Object& object);
  // Makes a reserved object live, at its first revision.
  void Publish(Object& object);
  // Called at commit: every change of an object has its own revision, so that somebody who watches
  // and has seen it can go on behind it.
  uint64_t Bump(Object& object);
  uint64_t Bump(Device& device);
  // The same, for what changed along with something else.
  void Touch(Object& object) { Bump(object); }
  void Touch(Device& device) { Bump(device); }
  // Takes a device out, which is blocked and not attached; why is told to those who watch.
  void Unplug(Device& device, absl::string_view reason);
  // Puts it in again, as if it had never been there.
  void Plug(Device& device, Uid uid);
  // Holds back the devices that the backend has in quarantine, each a change of its own. After
  // whatever may have made hardware drop what it cached, successful or not.
  void NoteQuarantined();
  // A batch of mappings changes nothing that the etag tells.
  uint64_t BumpMappings(Ioas& ioas);
  void CountTransition(DomainState from, DomainState to, bool hitless);

  // Resource names of the holders of references to `object`, ascending; at most `limit`. Somebody
  // else's object has no name for a caller who is no operator.
  std::vector<std::string> ReferrerNames(const Object& object, const CallContext& context,
                                         size_t limit) const;

  ObjectTable objects;
  Ledger ledger;
  DoorbellTable doorbells;
  std::vector<Device> devices;  // By DeviceIndex.
  std::vector<Group> groups;
  ProcessPasids process_pasids;  // Of those that SVA domains show.
  PageFaults page_faults;
  uint64_t revision = 0;     // Of the last committed change.
  ChangeFeed feed;           // What changed last, for those who watch.
  uint64_t quarantines = 0;  // Times that a device was held back by one.
  uint64_t events_lost = 0;  // Of all event queues, those that are gone included.
  // [hitless? 1 : 0] by (from, to).
  absl::btree_map<std::pair<DomainState, DomainState>, uint64_t> transitions[2];

 private:
  absl::Status ReserveObject(std::unique_ptr<Object> object);
  absl::StatusOr<Object*> FindObject(const CallContext& context, const ObjectRef& ref,
                                     ObjectKind kind) const;

  const Backend* const backend_;
  Env* const env_;
  absl::flat_hash_map<std::string, DeviceIndex> device_by_id_;
  absl::flat_hash_map<Uid, std::string> holder_names_;  // Of devices and groups.
};

template <typename T>
absl::StatusOr<T*> Model::Find(const CallContext& context, const ObjectRef& ref) const {
  absl::StatusOr<Object*> object = FindObject(context, ref, T::kKind);
  if (!object.ok()) return object.status();
  return static_cast<T*>(*object);
}

template <typename T>
absl::StatusOr<T*> Model::Reserve(std::unique_ptr<T> object) {
  T* const reserved = object.get();
  const absl::Status status = ReserveObject(std::move(object));
  if (!status.ok()) return status;
  return reserved;
}

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_MODEL_H_
