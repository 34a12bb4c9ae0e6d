// What people see of listeners.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "clients/viommuctl/columns.h"
#include "clients/viommuctl/kinds.h"

namespace viommu {

Table::Cells Headings(const v1::Listener&) {
  return {"LISTENER", "MODE", "UID", "GID", "CONNECTIONS", "PATH"};
}
Table::Cells Cells(const v1::Listener& listener) {
  return {ShortName(listener.name()),           absl::StrFormat("0%o", listener.mode()),
          absl::StrCat(listener.uid()),         absl::StrCat(listener.gid()),
          absl::StrCat(listener.connections()), listener.path()};
}

}  // namespace viommu
