// engine/watch_mirror.h -- What somebody who watches believes to be there. For tests.
#ifndef VIOMMU_ENGINE_WATCH_MIRROR_H_
#define VIOMMU_ENGINE_WATCH_MIRROR_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "engine/base/errors.h"
#include "engine/engine.h"
#include "engine/types.h"
#include "gtest/gtest.h"

namespace viommu {

// One line for an object; what no watch tells is left out. Mappings are told apart.
inline std::string Line(const MemoryRegionView& v) {
  return absl::StrCat("region ", v.object.owner, "/", v.object.id, " ", v.object.uid, " ",
                      v.object.etag, " @", v.object.revision, " ", v.size_bytes);
}
inline std::string Line(const IoasView& v) {
  return absl::StrCat("ioas ", v.object.owner, "/", v.object.id, " ", v.object.uid, " ",
                      v.object.etag, " @", v.object.revision, " ", absl::StrJoin(v.domains, ","),
                      " ", v.allowed_ranges.size());
}
inline std::string Line(const DomainView& v) {
  return absl::StrCat("domain ", v.object.owner, "/", v.object.id, " ", v.object.uid, " ",
                      v.object.etag, " @", v.object.revision, " ", v.ioas, " ",
                      absl::StrJoin(v.attached_devices, ","));
}
inline std::string Line(const DeviceView& v) {
  return absl::StrCat("device ", v.spec.id, " ", v.uid, " ", v.etag, " @", v.revision, " ",
                      v.claimed_by, " ", v.domain, " ", v.attached ? "attached " : "",
                      static_cast<int>(v.health), static_cast<int>(v.health_cause), v.health_reason,
                      " ", absl::StrJoin(v.group_members, ","));
}
// Of a Viommu, or of what belongs to one.
template <typename View>
std::string BriefLine(const View& v) {
  return absl::StrCat(v.object.owner, "/", v.object.id, " ", v.object.uid, " ", v.object.etag, " @",
                      v.object.revision);
}
inline std::string Line(const FaultQueueView& v) {
  return absl::StrCat("fault queue ", v.object.owner, "/", v.object.id, " ", v.object.uid, " ",
                      v.object.etag, " @", v.object.revision, " ", v.depth, " ",
                      absl::StrJoin(v.domains, ","));
}
inline std::string MappingLine(uint64_t revision, uint64_t count, uint64_t bytes) {
  return absl::StrCat(" maps ", count, " of ", bytes, " @", revision);
}

template <typename T>
std::vector<T> ItemsOf(absl::StatusOr<Page<T>> page) {
  EXPECT_TRUE(page.ok() && page->next_cursor.empty());
  return page.ok() ? std::move(page->items) : std::vector<T>();
}

// What `caller` would see if it listed everything.
inline std::string Listed(Engine& engine, const CallContext& caller) {
  const PageRequest all{kMaxPageSize, ""};
  std::map<Uid, std::string> lines;
  for (const auto& v : ItemsOf(engine.ListMemoryRegions(caller, all)))
    lines[v.object.uid] = Line(v);
  for (const auto& v : ItemsOf(engine.ListIoas(caller, all))) {
    lines[v.object.uid] =
        Line(v) + MappingLine(v.mapping_revision, v.mapping_count, v.mapped_bytes);
  }
  for (const auto& v : ItemsOf(engine.ListDomains(caller, all))) {
    if (v.object.uid != 0) lines[v.object.uid] = Line(v);
  }
  for (const auto& v : ItemsOf(engine.ListFaultQueues(caller, all))) {
    lines[v.object.uid] = Line(v);
  }
  for (const auto& v : ItemsOf(engine.ListDevices(caller, all))) lines[v.uid] = Line(v);
  for (const auto& v : ItemsOf(engine.ListViommus(caller, all))) {
    lines[v.object.uid] = BriefLine(v);
    const ObjectRef ref{v.object.id, v.object.owner};
    const auto put = [&](const auto& child) { lines[child.object.uid] = BriefLine(child); };
    for (const auto& child : ItemsOf(engine.ListVdevices(caller, ref, all))) put(child);
    for (const auto& child : ItemsOf(engine.ListEventQueues(caller, ref, all))) put(child);
    for (const auto& child : ItemsOf(engine.ListHardwareQueues(caller, ref, all))) put(child);
  }
  std::string text;
  for (const auto& [uid, line] : lines) absl::StrAppend(&text, line, "\n");
  return text;
}

// Checks on its way that revisions ascend strictly, that nothing is added twice or shown older than
// before, and that what is deleted is gone for good.
class WatchMirror {
 public:
  // Takes all that there is to take. What ended the watch, if that did.
  absl::Status Drain(Watch& watch) {
    WatchEvent event;
    while (true) {
      const absl::StatusOr<bool> got = watch.Next(absl::Milliseconds(4), &event);
      if (!got.ok()) return got.status();
      if (!*got) return absl::OkStatus();
      Take(event);
    }
  }

  void Take(const WatchEvent& event) {
    ++events;
    if (event.type == WatchEvent::Type::kSnapshot) {
      EXPECT_EQ(event.revision, 0u);
    } else if (event.type == WatchEvent::Type::kSync) {
      EXPECT_GE(event.revision, revision);
      boot_id = std::get<SyncMark>(event.body).boot_id;
      synced = true;
    } else {
      EXPECT_GT(event.revision, revision) << "in order, each its own";
    }
    if (event.revision != 0) revision = event.revision;
    type_ = event.type;
    event_revision_ = event.revision;
    std::visit([this](const auto& body) { Apply(body); }, event.body);
  }

  WatchOptions::Resume Position() const { return {boot_id, revision}; }

  std::string Text() const {
    std::string text;
    for (const auto& [uid, object] : objects_) {
      absl::StrAppend(&text, object.line, object.mappings, "\n");
    }
    return text;
  }

  uint64_t revision = 0;
  std::string boot_id;
  bool synced = false;
  uint64_t events = 0;
  std::map<Uid, int> added, deleted;  // How often.

 private:
  struct Known {
    uint64_t revision = 0;
    std::string line;
    std::string mappings;
  };

  void Apply(const SyncMark&) {}
  void Apply(const MemoryRegionView& v) { Put(v.object.uid, v.object.revision, Line(v)); }
  void Apply(const DomainView& v) { Put(v.object.uid, v.object.revision, Line(v)); }
  void Apply(const FaultQueueView& v) { Put(v.object.uid, v.object.revision, Line(v)); }
  void Apply(const DeviceView& v) { Put(v.uid, v.revision, Line(v)); }
  void Apply(const IoasView& v) {
    Put(v.object.uid, v.object.revision, Line(v));
    objects_[v.object.uid].mappings =
        MappingLine(v.mapping_revision, v.mapping_count, v.mapped_bytes);
  }
  void Apply(const MappingSummary& v) {
    EXPECT_EQ(objects_.count(v.uid), 1u);
    EXPECT_EQ(v.mapping_revision, event_revision_);
    objects_[v.uid].mappings = MappingLine(v.mapping_revision, v.mapping_count, v.mapped_bytes);
  }
  // Of a Viommu, or of what belongs to one.
  template <typename View>
  void Apply(const View& v) {
    Put(v.object.uid, v.object.revision, BriefLine(v));
  }
  void Apply(const DeletedObject& v) {
    EXPECT_EQ(++deleted[v.uid], 1);
    EXPECT_FALSE(v.id.empty());
    objects_.erase(v.uid);
  }

  void Put(Uid uid, uint64_t object_revision, std::string line) {
    EXPECT_EQ(deleted.count(uid), 0u) << line;
    if (type_ == WatchEvent::Type::kAdded) {
      EXPECT_EQ(++added[uid], 1) << line;
    }
    if (type_ != WatchEvent::Type::kModified) {
      EXPECT_EQ(objects_.count(uid), 0u) << line;
    } else {
      EXPECT_EQ(objects_.count(uid), 1u) << line;
    }
    EXPECT_GE(object_revision, objects_[uid].revision) << line;
    objects_[uid].revision = object_revision;
    objects_[uid].line = std::move(line);
  }

  std::map<Uid, Known> objects_;
  WatchEvent::Type type_ = WatchEvent::Type::kSync;  // Of the event being taken.
  uint64_t event_revision_ = 0;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_WATCH_MIRROR_H_
