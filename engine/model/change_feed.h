// engine/model/change_feed.h -- What changed last, for those who watch.
//
// Changes of objects are kept in the order of their revisions, the last kKeptChanges of them. Of
// mappings only the last change of each Ioas is kept: a batch more or less is nobody's concern. Who
// watches keeps a revision and reads what came later; nothing here grows with their number.
// Thread-compatible: guarded by the pipeline's lock.
#ifndef VIOMMU_ENGINE_MODEL_CHANGE_FEED_H_
#define VIOMMU_ENGINE_MODEL_CHANGE_FEED_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/synchronization/mutex.h"
#include "engine/backend/backend.h"
#include "engine/model/object.h"
#include "engine/types.h"

namespace viommu {

// One change of one object.
struct Change {
  enum class Type { kAdded, kModified, kDeleted };
  // What can not be asked of an object that is gone.
  struct Gone {
    std::string id;
    std::string owner;   // Empty for devices.
    std::string reason;  // Of a device.
  };

  uint64_t revision = 0;
  Type type = Type::kModified;
  std::optional<ObjectKind> kind;  // None: a device.
  Uid uid = 0;
  DeviceIndex device = 0;
  std::unique_ptr<const Gone> gone;  // Of kDeleted.
};

class ChangeFeed {
 public:
  // `change` has the highest revision so far.
  void Record(Change change);
  // The mappings of an Ioas, whose last change was at `before` (0: none), changed at `now`.
  void RecordMappings(Uid ioas, uint64_t before, uint64_t now);
  // The Ioas is gone.
  void ForgetMappings(uint64_t before) { mappings_.erase(before); }

  // Changes up to this revision may be missing.
  uint64_t compacted() const { return compacted_; }
  // Ascending by revision.
  const std::deque<Change>& changes() const { return changes_; }
  // Position in changes() of the first one after `revision`.
  size_t FirstAfter(uint64_t revision) const;
  // The last change of each Ioas: its uid by revision.
  const absl::btree_map<uint64_t, Uid>& mappings() const { return mappings_; }

  // Has `turn` signalled once, at the next change, or, without `mappings`, the next one of an
  // object.
  void Await(absl::CondVar* turn, bool mappings);
  // `turn` is not to be signalled any more.
  void Forget(absl::CondVar* turn);

 private:
  static void Wake(std::vector<absl::CondVar*>* waiting);

  std::deque<Change> changes_;
  absl::btree_map<uint64_t, Uid> mappings_;
  uint64_t compacted_ = 0;
  std::vector<absl::CondVar*> waiting_for_objects_;
  std::vector<absl::CondVar*> waiting_for_all_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_CHANGE_FEED_H_
