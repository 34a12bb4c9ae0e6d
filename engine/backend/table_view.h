// engine/backend/table_view.h -- What an operator sees of the tables that the hardware reads: the
// entries on a way, why it ends, and the image of them all.
#ifndef VIOMMU_ENGINE_BACKEND_TABLE_VIEW_H_
#define VIOMMU_ENGINE_BACKEND_TABLE_VIEW_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/address.h"

namespace viommu {

enum class TableStage : uint8_t {
  kConfiguration,  // Which translation a request gets: root, context, PASID; STE, CD.
  kStage1,         // Page tables that a guest or a process may write.
  kStage2,         // The host's.
};

// One entry on the path from a device to a page, as an operator reads it.
struct TableEntryDump {
  // "root", "context", "pasid-directory", "pasid", "second-stage level 4"; "l1std", "ste", "l1cd",
  // "cd", "stage-2 level 1".
  std::string table;
  PhysAddr address;  // Of the entry.
  std::vector<uint64_t> words;
  std::string decoded;  // Field by field, in words.
  TableStage stage = TableStage::kConfiguration;
  // Of page tables alone.
  int level = 0;                     // VT-d: from 1, the lowest; SMMUv3: 0 to 3, the lowest.
  std::optional<uint64_t> looks_up;  // The address that it is an entry for.
  // Under nesting, of a guest's entry: where the guest has it.
  std::optional<uint64_t> in_stage1_as;
};

// What becomes of one access of a device when no cache holds anything.
struct TranslationExplanation {
  struct Fault {
    // The architecture's; 0: NO_MEMORY, nothing answers at `physical`; or ABORTED, an SMMUv3
    // refuses without a record.
    uint8_t code = 0;
    std::string reason;       // Its name, e.g. "SPT.2".
    std::string description;  // In words, as DmaFault.
    TableStage stage = TableStage::kConfiguration;
    int level = 0;                        // Of `entry`; 0 when it is in no page table.
    std::optional<TableEntryDump> entry;  // That which refused it; none: refused before any.
    std::string why;                      // What the entry is, where, and what it says.
  };
  std::optional<Fault> fault;
  // Without a fault.
  bool interrupt_message = false;  // It is no access to memory; the rest says nothing then.
  PhysAddr physical;
  uint64_t page_bytes = 0;  // Of the page that the translation is good for.
};

// Registers and tables as they are at one moment, for a model of the hardware to walk.
struct TableImage {
  static constexpr uint64_t kPageBytes = 4096;
  using Words = std::array<uint64_t, kPageBytes / sizeof(uint64_t)>;

  struct Unit {
    std::string iommu;         // As IommuSpec::id.
    std::string architecture;  // "vtd" or "smmuv3".
    int physical_address_bits = 0;
  };
  struct Register {
    std::string iommu;
    std::string name;  // As the architecture abbreviates it, at most 15 letters: "RTADDR".
    uint64_t offset = 0;
    uint64_t value = 0;
  };
  struct Requester {
    std::string device;  // As DeviceSpec::id.
    std::string iommu;
    uint32_t source_id = 0;  // VT-d source id, SMMUv3 StreamID.
    int pasid_bits = 0;
  };
  struct MemoryPage {
    PhysAddr address;
    std::unique_ptr<const Words> words;
  };
  std::vector<Unit> units;
  std::vector<Register> registers;
  std::vector<Requester> requesters;
  std::vector<MemoryPage> pages;  // Ascending by address.
  bool complete = true;           // No guest's tables were left out.
};

// Only a backend that has the tables before it answers this. Thread-safe; changes no table, no
// cache and no counter.
class TableObserver {
 public:
  virtual ~TableObserver() = default;

  // What becomes of an access of a device to one byte. Entries that change meanwhile may be met
  // half old, half new.
  virtual TranslationExplanation ExplainTranslation(uint32_t device, std::optional<uint32_t> pasid,
                                                    Iova iova, bool write) = 0;

  // Everything that the units' registers lead to. Nobody changes tables meanwhile: the caller's
  // part. What devices and guests do in the meantime (A and D bits, guests' tables) is seen word
  // by word.
  // kResourceExhausted, IMAGE_TOO_LARGE: more than kMaxImagePages of the host's.
  virtual absl::StatusOr<TableImage> ExportTables() = 0;
};

// Pages of an image: 1 GiB. And how many of them may be guests', who write as many as they like.
inline constexpr uint64_t kMaxImagePages = uint64_t{1} << 18;
inline constexpr uint64_t kMaxGuestTablePages = uint64_t{1} << 16;

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_TABLE_VIEW_H_
