#include "server/tenant_listeners.h"

#include <unistd.h>

#include <any>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "server/caller.h"
#include "server/connection_metrics.h"
#include "server/names.h"

namespace viommu {
namespace {

absl::Status NotFound(const std::string& owner) {
  const std::string name = HostName(NameKind::kListener, owner);
  return Error(absl::StatusCode::kNotFound, "LISTENER_NOT_FOUND",
               absl::StrCat(name, " does not exist"))
      .Errno("ENOENT")
      .Resource(name);
}

absl::Status Exists(const std::string& owner) {
  const std::string name = HostName(NameKind::kListener, owner);
  return Error(absl::StatusCode::kAlreadyExists, "LISTENER_EXISTS", absl::StrCat(name, " exists"))
      .Errno("EEXIST")
      .Resource(name);
}

absl::Status Reserved(const std::string& owner) {
  return Error(absl::StatusCode::kInvalidArgument, "RESERVED_OWNER",
               absl::StrCat("\"", owner, "\" is what operators are called"))
      .Errno("EINVAL")
      .Field("listener_id");
}

absl::Status TooMany(uint32_t most) {
  return Error(absl::StatusCode::kResourceExhausted, "TOO_MANY_LISTENERS",
               absl::StrCat("there are ", most, " listeners already (max_listeners)"))
      .Errno("ENOSPC")
      .Meta("limit", "max_listeners")
      .Meta("value", absl::StrCat(most));
}

absl::Status Ended() {
  return Error(absl::StatusCode::kUnavailable, "DRAINING",
               "the server is being stopped; nothing changed");
}

// Whether an owner of a directory's name could have been given it.
absl::Status CheckOwner(const std::string& owner) {
  RETURN_IF_ERROR(CheckNewId("listener_id", owner));
  return owner == kOperatorPrincipal ? Reserved(owner) : absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<TenantListeners>> TenantListeners::Open(const Door::House& house,
                                                                       Admission* whole) {
  ASSIGN_OR_RETURN(std::unique_ptr<ListenerDirectory> directory,
                   ListenerDirectory::Open(house.options->listener_dir));
  std::unique_ptr<TenantListeners> listeners(
      new TenantListeners(house, whole, std::move(directory)));
  listeners->ReopenAll();
  return listeners;
}

void TenantListeners::ReopenAll() {
  std::vector<std::string> names;
  {
    absl::MutexLock lock(&making_);
    names = directory_->Names();
  }
  for (const std::string& name : names) {
    const absl::Status reopened = Reopen(name);
    if (!reopened.ok()) Note("listener_left_alone", name, reopened.message());
  }
}

absl::Status TenantListeners::Reopen(const std::string& owner) {
  absl::MutexLock lock(&making_);
  RETURN_IF_ERROR(CheckOwner(owner));
  RETURN_IF_ERROR(CheckNew(owner));
  ASSIGN_OR_RETURN(ListenerDirectory::Draft draft, directory_->Reopen(owner));
  ASSIGN_OR_RETURN(std::unique_ptr<TenantDoor> door,
                   TenantDoor::Open(house_, &whole_, owner, std::move(draft.socket)));
  Add(owner, draft.place, std::move(door));
  Note("listener_opened", owner);
  return absl::OkStatus();
}

absl::Status TenantListeners::CheckNew(const std::string& owner) const {
  absl::MutexLock lock(&mutex_);
  if (tenants_.contains(owner)) return Exists(owner);
  const uint32_t most = house_.options->max_listeners;
  return tenants_.size() < most ? absl::OkStatus() : TooMany(most);
}

ListenerView TenantListeners::Add(const std::string& owner, const ListenerDirectory::Place& place,
                                  std::unique_ptr<TenantDoor> door) {
  absl::MutexLock lock(&mutex_);
  Tenant& tenant = tenants_[owner];
  tenant.view = {owner, directory_->SocketPath(owner), place.access, 0, place.create_time};
  tenant.door = std::move(door);
  ShowCount();
  return ViewOf(tenant);
}

absl::StatusOr<ListenerView> TenantListeners::Create(const CallContext& context,
                                                     const std::string& owner,
                                                     const SocketAccess& access) {
  if (context.request_id.empty() || context.validate_only) {
    return CreateNow(context, owner, access);
  }
  ASSIGN_OR_RETURN(const std::any first, requests_.Begin(context));
  if (first.has_value()) return std::any_cast<ListenerView>(first);
  absl::StatusOr<ListenerView> view = CreateNow(context, owner, access);
  if (view.ok()) {
    requests_.Succeed(context, *view);
  } else {
    requests_.Fail(context);
  }
  return view;
}

absl::StatusOr<ListenerView> TenantListeners::CreateNow(const CallContext& context,
                                                        const std::string& owner,
                                                        const SocketAccess& access) {
  RETURN_IF_ERROR(CheckOwner(owner));
  RETURN_IF_ERROR(CheckAccess(access));
  absl::MutexLock lock(&making_);
  if (ended_) return Ended();
  RETURN_IF_ERROR(CheckNew(owner));
  RETURN_IF_ERROR(directory_->CheckFree(owner));
  if (context.validate_only) {
    SocketAccess planned = access;
    if (!planned.uid.has_value()) planned.uid = geteuid();
    if (!planned.gid.has_value()) planned.gid = getegid();
    return ListenerView{owner, directory_->SocketPath(owner), planned, 0, absl::Time()};
  }
  ASSIGN_OR_RETURN(ListenerDirectory::Draft draft, directory_->Make(owner, access));
  absl::StatusOr<std::unique_ptr<TenantDoor>> door =
      TenantDoor::Open(house_, &whole_, owner, std::move(draft.socket));
  if (!door.ok()) {
    directory_->Discard(owner);
    return door.status();
  }
  RETURN_IF_ERROR(directory_->Show(owner));
  Note("listener_created", owner);
  return Add(owner, draft.place, *std::move(door));
}

absl::StatusOr<ListenerView> TenantListeners::Get(const std::string& owner) const {
  absl::MutexLock lock(&mutex_);
  const auto it = tenants_.find(owner);
  if (it == tenants_.end()) return NotFound(owner);
  return ViewOf(it->second);
}

absl::StatusOr<Page<ListenerView>> TenantListeners::List(const PageRequest& page) const {
  Page<ListenerView> result;
  absl::MutexLock lock(&mutex_);
  for (auto it = tenants_.upper_bound(page.cursor); it != tenants_.end(); ++it) {
    if (result.items.size() == page.page_size) {
      result.next_cursor = result.items.back().owner;
      break;
    }
    result.items.push_back(ViewOf(it->second));
  }
  return result;
}

ListenerView TenantListeners::ViewOf(const Tenant& tenant) {
  ListenerView view = tenant.view;
  view.connections = static_cast<uint32_t>(tenant.door->connections());
  return view;
}

absl::Status TenantListeners::Delete(const CallContext& context, const std::string& owner) {
  if (context.validate_only) return Get(owner).status();
  if (context.request_id.empty()) return DeleteNow(owner);
  ASSIGN_OR_RETURN(const std::any first, requests_.Begin(context));
  if (first.has_value()) return absl::OkStatus();
  absl::Status deleted = DeleteNow(owner);
  if (deleted.ok()) {
    requests_.Succeed(context, true);
  } else {
    requests_.Fail(context);
  }
  return deleted;
}

absl::Status TenantListeners::DeleteNow(const std::string& owner) {
  ASSIGN_OR_RETURN(TenantDoor* const door, BeginDeletion(owner));
  if (door == nullptr) return absl::OkStatus();
  absl::StatusOr<std::string> retired;
  {
    absl::MutexLock lock(&making_);
    retired = directory_->Retire(owner);
  }
  if (!retired.ok()) {
    EndDeletion(owner, /*gone=*/false);
    return retired.status();
  }
  door->Close(absl::UnixEpoch());
  // Who is called so next is somebody else.
  house_.engine->ForgetRequests(owner);
  {
    absl::MutexLock lock(&making_);
    if (!directory_->Remove(*retired)) Note("listener_directory_left", owner, *retired);
  }
  EndDeletion(owner, /*gone=*/true);
  Note("listener_deleted", owner);
  return absl::OkStatus();
}

absl::StatusOr<TenantDoor*> TenantListeners::BeginDeletion(const std::string& owner) {
  absl::MutexLock lock(&mutex_);
  bool waited = false;
  while (true) {
    const auto it = tenants_.find(owner);
    if (it == tenants_.end()) {
      if (waited) return nullptr;
      return NotFound(owner);
    }
    if (!it->second.deleting) {
      it->second.deleting = true;
      return it->second.door.get();
    }
    waited = true;
    deleted_.Wait(&mutex_);
  }
}

void TenantListeners::EndDeletion(const std::string& owner, bool gone) {
  Tenant leaving;
  absl::MutexLock lock(&mutex_);
  const auto it = tenants_.find(owner);
  if (gone) {
    leaving = std::move(it->second);
    tenants_.erase(it);
    ShowCount();
  } else {
    it->second.deleting = false;
  }
  deleted_.SignalAll();
}

void TenantListeners::ShowCount() const {
  ConnectionMetrics* const metrics = house_.options->connection_metrics;
  if (metrics != nullptr) metrics->SetListeners(tenants_.size());
}

void TenantListeners::StopAccepting() {
  absl::MutexLock making(&making_);
  ended_ = true;
  absl::MutexLock lock(&mutex_);
  for (auto& [owner, tenant] : tenants_) tenant.door->StopAccepting();
}

void TenantListeners::Close(absl::Time deadline) {
  std::vector<TenantDoor*> doors;
  {
    absl::MutexLock lock(&mutex_);
    for (auto& [owner, tenant] : tenants_) doors.push_back(tenant.door.get());
  }
  for (TenantDoor* const door : doors) door->Close(deadline);
}

void TenantListeners::Note(absl::string_view event, const std::string& owner,
                           absl::string_view why) {
  Log* const log = house_.options->log;
  if (log == nullptr) return;
  if (why.empty()) return log->Write(LogLevel::kInfo, event, {{"owner", owner}});
  log->Write(LogLevel::kWarning, event, {{"owner", owner}, {"why", why}});
}

}  // namespace viommu
