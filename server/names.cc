#include "server/names.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"

namespace viommu {
namespace {

constexpr size_t kMaxIdBytes = 63;
constexpr size_t kMaxQuotedBytes = 80;  // Of a client's text in an error.
constexpr absl::string_view kOwners = "owners/";
constexpr absl::string_view kQueueSuffix = "/invalidationQueue";

struct Collection {
  NameKind kind;
  absl::string_view prefix;
  absl::string_view type;
  bool owned;
  absl::string_view below = "";  // Between the id of the Viommu and its own: "/vdevices/".
};

constexpr Collection kCollections[] = {
    {NameKind::kIoas, "ioas/", "viommu.v1.Ioas", true},
    {NameKind::kDomain, "domains/", "viommu.v1.Domain", true},
    {NameKind::kMemoryRegion, "memoryRegions/", "viommu.v1.MemoryRegion", true},
    {NameKind::kFaultQueue, "faultQueues/", "viommu.v1.FaultQueue", true},
    {NameKind::kDevice, "devices/", "viommu.v1.Device", false},
    {NameKind::kIommu, "iommus/", "viommu.v1.Iommu", false},
    {NameKind::kViommu, "viommus/", "viommu.v1.Viommu", true},
    {NameKind::kVdevice, "viommus/", "viommu.v1.Vdevice", true, "/vdevices/"},
    {NameKind::kEventQueue, "viommus/", "viommu.v1.EventQueue", true, "/eventQueues/"},
    {NameKind::kHardwareQueue, "viommus/", "viommu.v1.HardwareQueue", true, "/hardwareQueues/"},
    {NameKind::kListener, "listeners/", "viommu.v1.Listener", false},
};

const Collection& CollectionOf(NameKind kind) { return kCollections[static_cast<size_t>(kind)]; }

bool IsAlphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

// [a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?, and ':' inside where the host gives the ids.
bool IsId(absl::string_view id, bool colon_allowed) {
  if (id.empty() || id.size() > kMaxIdBytes) return false;
  if (!IsAlphanumeric(id.front()) || !IsAlphanumeric(id.back())) return false;
  for (const char c : id) {
    const bool inside = c == '.' || c == '_' || c == '-' || (colon_allowed && c == ':');
    if (!IsAlphanumeric(c) && !inside) return false;
  }
  return true;
}

std::string FormOf(const Collection& collection) {
  if (collection.below.empty()) return absl::StrCat(collection.prefix, "{id}");
  return absl::StrCat(collection.prefix, "{viommu}", collection.below, "{id}");
}

// What stands behind the prefix.
bool IsIdIn(const Collection& collection, absl::string_view id) {
  if (collection.below.empty()) return IsId(id, !collection.owned);
  const size_t end = id.find('/');
  if (end == absl::string_view::npos) return false;
  absl::string_view own = id.substr(end);
  return absl::ConsumePrefix(&own, collection.below) && IsId(id.substr(0, end), false) &&
         IsId(own, false);
}

std::string Quoted(absl::string_view text) {
  const bool cut = text.size() > kMaxQuotedBytes;
  return absl::StrCat("\"", absl::CHexEscape(text.substr(0, kMaxQuotedBytes)), cut ? "..." : "",
                      "\"");
}

absl::Status Malformed(absl::string_view field, absl::string_view name, absl::string_view form) {
  return Error(absl::StatusCode::kInvalidArgument, "MALFORMED_NAME",
               absl::StrCat(field, ": ", Quoted(name), " is not of the form \"", form,
                            "\"; an id matches [a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?"))
      .Errno("EINVAL")
      .Field(field);
}

absl::Status Missing(absl::string_view field, absl::string_view form) {
  return Error(absl::StatusCode::kInvalidArgument, "MISSING_FIELD",
               absl::StrCat(field, " is required: a name of the form \"", form, "\""))
      .Errno("EINVAL")
      .Field(field);
}

}  // namespace

absl::StatusOr<ObjectRef> ParseName(NameKind kind, absl::string_view field,
                                    absl::string_view name) {
  const Collection& collection = CollectionOf(kind);
  const std::string form = FormOf(collection);
  if (name.empty()) return Missing(field, form);
  ObjectRef ref;
  absl::string_view rest = name;
  if (collection.owned && absl::ConsumePrefix(&rest, kOwners)) {
    const size_t slash = rest.find('/');
    if (slash == absl::string_view::npos || !IsId(rest.substr(0, slash), false)) {
      return Malformed(field, name, absl::StrCat(kOwners, "{owner}/", form));
    }
    ref.owner = std::string(rest.substr(0, slash));
    rest.remove_prefix(slash + 1);
  }
  if (!absl::ConsumePrefix(&rest, collection.prefix) || !IsIdIn(collection, rest)) {
    return Malformed(field, name, form);
  }
  ref.id = std::string(rest);
  return ref;
}

absl::StatusOr<std::string> ParseHostName(NameKind kind, absl::string_view field,
                                          absl::string_view name) {
  ASSIGN_OR_RETURN(ObjectRef ref, ParseName(kind, field, name));
  return std::move(ref.id);
}

absl::StatusOr<std::string> ParseQueueName(absl::string_view field, absl::string_view name) {
  const std::string form = QueueName("{id}");
  if (name.empty()) return Missing(field, form);
  absl::string_view iommu = name;
  if (!absl::ConsumeSuffix(&iommu, kQueueSuffix)) return Malformed(field, name, form);
  absl::StatusOr<std::string> id = ParseHostName(NameKind::kIommu, field, iommu);
  if (!id.ok()) return Malformed(field, name, form);
  return id;
}

absl::Status CheckNewId(absl::string_view field, absl::string_view id) {
  if (id.empty() || IsId(id, false)) return absl::OkStatus();
  return Malformed(field, id, "{id}");
}

std::string FormatName(NameKind kind, const ObjectView& object, const CallContext& caller) {
  std::string own = HostName(kind, object.id);
  if (object.owner.empty() || object.owner == caller.principal) return own;
  return absl::StrCat(kOwners, object.owner, "/", own);
}

std::string HostName(NameKind kind, absl::string_view id) {
  return absl::StrCat(CollectionOf(kind).prefix, id);
}

std::string QueueName(absl::string_view iommu) {
  return absl::StrCat(HostName(NameKind::kIommu, iommu), kQueueSuffix);
}

std::string ResourceType(absl::string_view name) {
  if (absl::ConsumePrefix(&name, kOwners)) {
    const size_t slash = name.find('/');
    if (slash == absl::string_view::npos) return "";
    name.remove_prefix(slash + 1);
  }
  for (const Collection& collection : kCollections) {
    absl::string_view rest = name;
    if (!absl::ConsumePrefix(&rest, collection.prefix)) continue;
    const size_t below = rest.find('/');
    const bool fits =
        below == absl::string_view::npos || !collection.owned
            ? collection.below.empty()
            : !collection.below.empty() && absl::StartsWith(rest.substr(below), collection.below);
    if (fits) return std::string(collection.type);
  }
  return "";
}

}  // namespace viommu
