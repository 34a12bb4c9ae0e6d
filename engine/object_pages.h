// engine/object_pages.h -- Listings of objects, page by page. Private to the engine.
#ifndef VIOMMU_ENGINE_OBJECT_PAGES_H_
#define VIOMMU_ENGINE_OBJECT_PAGES_H_

#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/status_macros.h"
#include "engine/model/model.h"
#include "engine/paging.h"
#include "engine/types.h"

namespace viommu {

// The ids of `owner` (none: of everybody) that begin with `prefix`, after the last one shown. The
// cursor is "owner\nid" of that one; neither has a line break in it.
template <typename T, typename View, typename F>
absl::StatusOr<Page<View>> PageOfObjects(const Model& model,
                                         const std::optional<std::string>& owner,
                                         absl::string_view prefix, const PageRequest& page,
                                         F&& view_of) {
  RETURN_IF_ERROR(CheckPageSize(page));
  std::pair<std::string, std::string> after;
  if (!prefix.empty()) after = {owner.value_or(""), std::string(prefix)};
  if (!page.cursor.empty()) {
    const size_t end = page.cursor.find('\n');
    if (end == std::string::npos) return UnknownPageToken();
    after = {page.cursor.substr(0, end), page.cursor.substr(end + 1)};
  }
  Page<View> result;
  std::string last;
  model.objects.Visit(T::kKind, owner, after, [&](Object& object) {
    if (!absl::StartsWith(object.id(), prefix)) return false;
    if (result.items.size() == page.page_size) {
      result.next_cursor = last;
      return false;
    }
    last = absl::StrCat(object.owner(), "\n", object.id());
    result.items.push_back(view_of(static_cast<const T&>(object)));
    return true;
  });
  return result;
}

// Operators see all owners' objects, others their own.
template <typename T, typename View, typename F>
absl::StatusOr<Page<View>> PageOfObjects(const Model& model, const CallContext& context,
                                         const PageRequest& page, F&& view_of) {
  std::optional<std::string> only;
  if (!context.is_operator) only = context.principal;
  return PageOfObjects<T, View>(model, only, "", page, std::forward<F>(view_of));
}

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OBJECT_PAGES_H_
