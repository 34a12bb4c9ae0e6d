// What is attached where, and which PASIDs are taken, as the Engine lists it.
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/core.h"
#include "engine/model/views.h"
#include "engine/paging.h"

namespace viommu {
namespace {

// The place of an attachment in the listing: by device, the RID first.
using Place = std::pair<DeviceIndex, PasidOrRid>;

// "3" stands for the RID of device 3, "3.7" for its PASID 7.
std::string CursorOf(const Place& place) {
  std::string cursor = absl::StrCat(place.first);
  if (place.second.has_value()) absl::StrAppend(&cursor, ".", *place.second);
  return cursor;
}

absl::StatusOr<Place> ParseCursor(const std::string& cursor) {
  const std::vector<std::string> parts = absl::StrSplit(cursor, '.');
  Place place;
  uint32_t pasid = 0;
  if (parts.size() > 2 || !absl::SimpleAtoi(parts[0], &place.first)) return UnknownPageToken();
  if (parts.size() == 1) return place;
  if (!absl::SimpleAtoi(parts[1], &pasid)) return UnknownPageToken();
  place.second = pasid;
  return place;
}

bool MaySee(const Attachment& attachment, const CallContext& context) {
  return context.is_operator || attachment.owner == context.principal;
}

}  // namespace

absl::StatusOr<Page<AttachmentView>> Engine::ListAttachments(const CallContext& context,
                                                             const std::string& device,
                                                             const PageRequest& page) {
  RETURN_IF_ERROR(CheckPageSize(page));
  std::optional<Place> after;
  if (!page.cursor.empty()) {
    ASSIGN_OR_RETURN(after, ParseCursor(page.cursor));
  }
  absl::MutexLock lock(&core_->pipeline.mutex());
  const Model& model = core_->model;
  if (after.has_value() && after->first >= model.devices.size()) return UnknownPageToken();
  if (!device.empty()) RETURN_IF_ERROR(core_->model.FindDevice(device).status());
  Page<AttachmentView> result;
  Place last;
  for (const Device& candidate : model.devices) {
    if (!device.empty() && candidate.spec.id != device) continue;
    for (const auto& [pasid, attachment] : candidate.attachments) {
      const Place place{candidate.index, pasid};
      if (after.has_value() && place <= *after) continue;
      if (!MaySee(attachment, context)) continue;
      if (result.items.size() == page.page_size) {
        result.next_cursor = CursorOf(last);
        return result;
      }
      result.items.push_back(AttachmentOf(model, candidate, pasid, context.principal));
      last = place;
    }
  }
  return result;
}

absl::StatusOr<Page<PasidView>> Engine::ListPasids(const CallContext& context,
                                                   const std::string& device,
                                                   const PageRequest& page) {
  RETURN_IF_ERROR(CheckPageSize(page));
  uint32_t last = 0;
  if (!page.cursor.empty() && !absl::SimpleAtoi(page.cursor, &last)) return UnknownPageToken();
  absl::MutexLock lock(&core_->pipeline.mutex());
  const Model& model = core_->model;
  ASSIGN_OR_RETURN(const Device* found, core_->model.FindDevice(device));
  const Group& group = model.GroupOf(*found);
  Page<PasidView> result;
  if (!context.is_operator && group.claimed_by != context.principal) return result;
  for (auto it = group.pasids.upper_bound(last); it != group.pasids.end(); ++it) {
    if (result.items.size() == page.page_size) {
      result.next_cursor = absl::StrCat(last);
      break;
    }
    last = it->first;
    result.items.push_back(PasidOf(model, *found, last, context.principal));
  }
  return result;
}

}  // namespace viommu
