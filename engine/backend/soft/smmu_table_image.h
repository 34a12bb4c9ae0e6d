// engine/backend/soft/smmu_table_image.h -- Collects what the registers of an SMMUv3 lead to: all
// tables down to the lowest, those of guests, and the queues.
//
// As vtd_table_image.h: reads formats as the side that writes them, not as the hardware model; what
// is a guest's is followed through the stage 2 that it stands on, where that permits reading.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_SMMU_TABLE_IMAGE_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_SMMU_TABLE_IMAGE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/image_pages.h"
#include "engine/backend/table_view.h"
#include "engine/base/address.h"
#include "engine/entries/smmu_cd.h"
#include "engine/entries/smmu_ste.h"

namespace viommu {

// Thread-compatible.
class SmmuTableCollector {
 public:
  // Collects into `pages`, which outlives it. At most `guest_limit` pages of guests are
  // looked for, there or not.
  explicit SmmuTableCollector(ImagePages* pages, uint64_t guest_limit = kMaxGuestTablePages)
      : pages_(*pages), guest_limit_(guest_limit) {}

  // As ImagePages::Copy.
  absl::Status Collect(const hardware::SmmuModel& unit);

  // Whether the limit left no guest's table out.
  bool complete() const { return complete_; }

 private:
  // Page tables of one root.
  struct Tables {
    int granule_log2 = 0;
    int input_bits = 0;
    int level = 0;  // Of the root, as Arm counts.
    uint64_t root = 0;
  };
  // One table in one role: the stage 2 that leads to it, where it is a guest's; its address, as its
  // stage names it; its level, granule and size.
  struct Role {
    uint64_t through = 0;
    uint64_t address = 0;
    int level = 0;
    int granule_log2 = 0;
    uint64_t entries = 0;

    template <typename H>
    friend H AbslHashValue(H h, const Role& r) {
      return H::combine(std::move(h), r.through, r.address, r.level, r.granule_log2, r.entries);
    }
    friend bool operator==(const Role& a, const Role& b) {
      return a.through == b.through && a.address == b.address && a.level == b.level &&
             a.granule_log2 == b.granule_log2 && a.entries == b.entries;
    }
  };
  // Where addresses of CDs and of stage 1 lie: behind the stage 2 of this entry; null: in memory.
  using Space = const smmu::Ste*;
  using Visit = absl::FunctionRef<absl::Status(absl::Span<const uint64_t> words)>;

  absl::Status Queue(uint64_t base, uint64_t entry_bytes);
  absl::Status StreamTable(PhysAddr table, uint64_t entries);
  absl::Status Stream(const smmu::Ste& ste);
  absl::Status CdTables(const smmu::Ste& ste, Space space);
  absl::Status CdTable(Space space, uint64_t table, uint64_t cds);
  absl::Status Cd(Space space, const smmu::Cd& cd);
  absl::Status Root(Space space, const Tables& tables);
  absl::Status PageTable(Space space, const Tables& tables, uint64_t table, int level,
                         uint64_t entries);
  // Copies the table of `words` words page by page, and visits what is there of each.
  absl::Status ForEachPage(Space space, uint64_t table, uint64_t words, Visit visit);
  // Where the stage 2 of `ste` puts a page; nothing where it does not let it be read.
  absl::StatusOr<std::optional<PhysAddr>> ThroughStage2(const smmu::Ste& ste, uint64_t address);
  static Tables Stage2Of(const smmu::Ste& ste);

  ImagePages& pages_;
  const uint64_t guest_limit_;
  uint64_t guest_pages_ = 0;
  bool complete_ = true;
  absl::flat_hash_set<Role> seen_;
};

// The registers that a walk of the tables and of the queues needs.
void AppendSmmuRegisters(const std::string& iommu, const hardware::SmmuModel& unit,
                         std::vector<TableImage::Register>* registers);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SMMU_TABLE_IMAGE_H_
