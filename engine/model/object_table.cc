#include "engine/model/object_table.h"

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"

namespace viommu {

absl::StatusOr<Object*> ObjectTable::Reserve(std::unique_ptr<Object> object) {
  Object* const raw = object.get();
  const auto [it, added] = by_name_.try_emplace(Key(raw->kind(), raw->owner(), raw->id()), nullptr);
  if (!added) {
    const std::string name = raw->NameFor(raw->owner());
    return Error(absl::StatusCode::kAlreadyExists,
                 absl::StrCat(ReasonPrefix(raw->kind()), "_EXISTS"),
                 absl::StrCat(name, " already exists"))
        .Errno("EEXIST")
        .Resource(name);
  }
  it->second = std::move(object);
  by_uid_[raw->uid()] = raw;
  return raw;
}

void ObjectTable::Erase(Uid uid) {
  const auto it = by_uid_.find(uid);
  if (it == by_uid_.end()) return;
  const Key key(it->second->kind(), it->second->owner(), it->second->id());
  by_uid_.erase(it);
  by_name_.erase(key);
}

Object* ObjectTable::FindLive(absl::string_view owner, ObjectKind kind,
                              absl::string_view id) const {
  const auto it = by_name_.find(Key(kind, std::string(owner), std::string(id)));
  if (it == by_name_.end() || it->second->state != Object::State::kLive) return nullptr;
  return it->second.get();
}

Object* ObjectTable::FindByUid(Uid uid) const {
  const auto it = by_uid_.find(uid);
  return it == by_uid_.end() ? nullptr : it->second;
}

void ObjectTable::Visit(ObjectKind kind, const std::optional<std::string>& only,
                        const std::pair<std::string, std::string>& after,
                        const std::function<bool(Object&)>& visit) const {
  VisitExisting(kind, only, after, [&](Object& object) {
    return object.state != Object::State::kLive || visit(object);
  });
}

void ObjectTable::VisitExisting(ObjectKind kind, const std::optional<std::string>& only,
                                const std::pair<std::string, std::string>& after,
                                const std::function<bool(Object&)>& visit) const {
  Key from(kind, after.first, after.second);
  if (only.has_value() && after.first < *only) from = Key(kind, *only, "");
  for (auto it = by_name_.upper_bound(from); it != by_name_.end(); ++it) {
    const auto& [object_kind, owner, id] = it->first;
    if (object_kind != kind || (only.has_value() && owner != *only)) return;
    if (it->second->exists() && !visit(*it->second)) return;
  }
}

uint64_t ObjectTable::CountLive(ObjectKind kind) const {
  uint64_t count = 0;
  Visit(kind, std::nullopt, {"", ""}, [&](Object&) { return ++count, true; });
  return count;
}

}  // namespace viommu
