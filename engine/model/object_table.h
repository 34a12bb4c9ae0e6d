// engine/model/object_table.h -- All objects, keyed (owner, kind, id), with reserve, publish,
// destroy.
//
// A name is reserved while its object is being made, so that two creations can not race for it, and
// stays taken until its destruction is final. Uids count up from 1 and are never reused.
// Thread-compatible: guarded by the pipeline's lock.
#ifndef VIOMMU_ENGINE_MODEL_OBJECT_TABLE_H_
#define VIOMMU_ENGINE_MODEL_OBJECT_TABLE_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/model/object.h"

namespace viommu {

class ObjectTable {
 public:
  Uid NextUid() { return ++last_uid_; }

  // Takes the name for an object under construction.
  // kAlreadyExists <KIND>_EXISTS
  absl::StatusOr<Object*> Reserve(std::unique_ptr<Object> object);

  // Removes an object, whatever its state; nothing refers to it.
  void Erase(Uid uid);

  // The object when it is live, else null.
  Object* FindLive(absl::string_view owner, ObjectKind kind, absl::string_view id) const;
  // In any state; null when there is none.
  Object* FindByUid(Uid uid) const;

  // Visits live objects of a kind in the order (owner, id), from the first after (`owner`, `id`),
  // of one owner if `only` names one, until `visit` answers false.
  void Visit(ObjectKind kind, const std::optional<std::string>& only,
             const std::pair<std::string, std::string>& after,
             const std::function<bool(Object&)>& visit) const;

  // The same with those whose destruction is under way: they exist until that is final.
  void VisitExisting(ObjectKind kind, const std::optional<std::string>& only,
                     const std::pair<std::string, std::string>& after,
                     const std::function<bool(Object&)>& visit) const;

  uint64_t CountLive(ObjectKind kind) const;

 private:
  using Key = std::tuple<ObjectKind, std::string, std::string>;  // Kind, owner, id.

  Uid last_uid_ = 0;
  absl::btree_map<Key, std::unique_ptr<Object>> by_name_;
  absl::flat_hash_map<Uid, Object*> by_uid_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_OBJECT_TABLE_H_
