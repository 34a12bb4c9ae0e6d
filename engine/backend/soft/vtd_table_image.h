// engine/backend/soft/vtd_table_image.h -- Collects what the registers of a VT-d unit lead to: all
// tables down to the lowest, those of guests, the invalidation queue, and that of page requests.
//
// Reads formats as the side that writes them does, not as the hardware model. Guests' tables are
// followed as the hardware would reach them: through the second stage, where that permits reading.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_VTD_TABLE_IMAGE_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_VTD_TABLE_IMAGE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/image_pages.h"
#include "engine/backend/table_view.h"
#include "engine/base/address.h"
#include "engine/entries/vtd_entries.h"

namespace viommu {

// Thread-compatible.
class VtdTableCollector {
 public:
  // Collects into `pages`, which outlives it. At most `guest_limit` tables of guests are looked
  // for, those counted that the second stage does not let be read: a guest may name any number of
  // them.
  explicit VtdTableCollector(ImagePages* pages, uint64_t guest_limit = kMaxGuestTablePages)
      : pages_(*pages), guest_limit_(guest_limit) {}

  // As ImagePages::Copy.
  absl::Status Collect(const hardware::VtdModel& unit);

  // Whether the limit left no guest's table out.
  bool complete() const { return complete_; }

 private:
  // One table in one role: the second stage that leads to it, where it is a guest's; its address,
  // as its stage names it; its level.
  struct Role {
    uint64_t through = 0;
    uint64_t address = 0;
    int level = 0;
    bool first_stage = false;

    template <typename H>
    friend H AbslHashValue(H h, const Role& r) {
      return H::combine(std::move(h), r.through, r.address, r.level, r.first_stage);
    }
    friend bool operator==(const Role& a, const Role& b) {
      return a.through == b.through && a.address == b.address && a.level == b.level &&
             a.first_stage == b.first_stage;
    }
  };

  absl::Status Queue(uint64_t queue_address);
  absl::Status ContextTable(PhysAddr table);
  absl::Status PasidDirectory(PhysAddr directory, int pdts);
  absl::Status PasidTable(PhysAddr table);
  absl::Status Entry(const vtd::PasidEntry& entry);
  absl::Status PageTable(PhysAddr table, int level, bool first_stage);
  absl::Status GuestTable(const vtd::PasidEntry& entry, uint64_t table, int level);
  // Where the second stage of a nested entry puts a page; nothing where it does not let it be read.
  absl::StatusOr<std::optional<PhysAddr>> ThroughSecondStage(const vtd::PasidEntry& entry,
                                                             uint64_t address);

  ImagePages& pages_;
  const uint64_t guest_limit_;
  uint64_t guest_tables_ = 0;
  bool complete_ = true;
  absl::flat_hash_set<Role> seen_;
};

// The registers that a walk of the tables and of the queues needs.
void AppendVtdRegisters(const std::string& iommu, const hardware::VtdModel& unit,
                        std::vector<TableImage::Register>* registers);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_VTD_TABLE_IMAGE_H_
