// server/tenant_listeners.h -- The listeners of the API: which tenants have a door, and its socket.
//
// Nothing here but doors that are open: what must outlive the daemon is on disk.
#ifndef VIOMMU_SERVER_TENANT_LISTENERS_H_
#define VIOMMU_SERVER_TENANT_LISTENERS_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "engine/request_table.h"
#include "engine/types.h"
#include "server/admission.h"
#include "server/door.h"
#include "server/listener_directory.h"
#include "server/tenant_door.h"

namespace viommu {

struct ListenerView {
  std::string owner;
  std::string path;     // Of the socket.
  SocketAccess access;  // All of it is known, but in the answer of a dry run.
  uint32_t connections = 0;
  absl::Time create_time;
};

// Thread-safe.
class TenantListeners {
 public:
  // Opens `house.options->listener_dir`, and a door in every directory that is there; what is no
  // listener's is left alone, with a line in the log. `whole` is the admission of all doors. All
  // outlive this.
  // As ListenerDirectory::Open.
  static absl::StatusOr<std::unique_ptr<TenantListeners>> Open(const Door::House& house,
                                                               Admission* whole);
  TenantListeners(const TenantListeners&) = delete;
  TenantListeners& operator=(const TenantListeners&) = delete;

  // Each is for an operator; that is the caller's business. A request_id is remembered as in the
  // engine.
  //
  // kInvalidArgument    RESERVED_OWNER; INVALID_MODE, PATH_TOO_LONG
  // kAlreadyExists      LISTENER_EXISTS: one that is being deleted, too
  // kFailedPrecondition DIRECTORY_EXISTS
  // kResourceExhausted  TOO_MANY_LISTENERS; NO_FILE_DESCRIPTOR, SERVER_NOT_BUILT
  // kInternal           DIRECTORY_FAILED
  absl::StatusOr<ListenerView> Create(const CallContext&, const std::string& owner,
                                      const SocketAccess& access);
  // kNotFound LISTENER_NOT_FOUND
  absl::StatusOr<ListenerView> Get(const std::string& owner) const ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<Page<ListenerView>> List(const PageRequest&) const ABSL_LOCKS_EXCLUDED(mutex_);
  // Returns when no call that came through the listener runs any more. One that is being deleted
  // already is waited for.
  // kNotFound LISTENER_NOT_FOUND; kInternal DIRECTORY_FAILED: nothing changed
  absl::Status Delete(const CallContext&, const std::string& owner);

  // Of the server: nobody can connect through any listener; no listener can be made any more.
  void StopAccepting() ABSL_LOCKS_EXCLUDED(making_, mutex_);
  // Closes all doors. Nobody calls Create and Delete any more.
  void Close(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Tenant {
    ListenerView view;
    std::unique_ptr<TenantDoor> door;
    bool deleting = false;
  };

  TenantListeners(const Door::House& house, Admission* whole,
                  std::unique_ptr<ListenerDirectory> directory)
      : house_(house), whole_(*whole), directory_(std::move(directory)) {}

  void ReopenAll();
  absl::Status Reopen(const std::string& owner) ABSL_LOCKS_EXCLUDED(making_, mutex_);
  absl::StatusOr<ListenerView> CreateNow(const CallContext&, const std::string& owner,
                                         const SocketAccess& access)
      ABSL_LOCKS_EXCLUDED(making_, mutex_);
  absl::Status DeleteNow(const std::string& owner) ABSL_LOCKS_EXCLUDED(making_, mutex_);
  absl::Status CheckNew(const std::string& owner) const ABSL_LOCKS_EXCLUDED(mutex_);
  ListenerView Add(const std::string& owner, const ListenerDirectory::Place& place,
                   std::unique_ptr<TenantDoor> door) ABSL_EXCLUSIVE_LOCKS_REQUIRED(making_)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Its door, when nobody else deletes it: from now on it is being deleted. Null: somebody else has
  // deleted it meanwhile. kNotFound LISTENER_NOT_FOUND
  absl::StatusOr<TenantDoor*> BeginDeletion(const std::string& owner) ABSL_LOCKS_EXCLUDED(mutex_);
  // It is gone, or stays.
  void EndDeletion(const std::string& owner, bool gone) ABSL_LOCKS_EXCLUDED(mutex_);
  void ShowCount() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static ListenerView ViewOf(const Tenant& tenant);
  void Note(absl::string_view event, const std::string& owner, absl::string_view why = "");

  const Door::House house_;
  Admission& whole_;
  RequestTable requests_;

  absl::Mutex making_;  // What is on disk is changed by one at a time. Before mutex_.
  const std::unique_ptr<ListenerDirectory> directory_ ABSL_PT_GUARDED_BY(making_);
  bool ended_ ABSL_GUARDED_BY(making_) = false;

  mutable absl::Mutex mutex_;
  absl::CondVar deleted_;
  absl::btree_map<std::string, Tenant> tenants_ ABSL_GUARDED_BY(mutex_);  // By owner.
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_TENANT_LISTENERS_H_
