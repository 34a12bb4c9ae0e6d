// Any tables, registers and descriptors: the unit faults or translates, and what it remembers after
// everything was invalidated is what memory says.
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <vector>

#include "absl/types/span.h"
#include "engine/backend/soft/hardware/vtd_capabilities.h"
#include "engine/backend/soft/hardware/vtd_fault.h"
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/hardware/vtd_request.h"
#include "engine/backend/soft/hardware/vtd_test_world.h"
#include "tests/fuzz/bytes.h"
#include "tests/fuzz/check.h"

namespace viommu::hardware {
namespace {

using fuzz::Bytes;
using fuzz::Check;

constexpr uint32_t kRegisters[] = {
    0x00, 0x08, 0x10, 0x18, 0x1c, 0x20, 0x24,         0x34,
    0x38, 0x80, 0x88, 0x90, 0x94, 0x9c, kTestRecords, kTestRecords + 12};
constexpr size_t kMaxAccess = 3 * 4096;

class Fuzzed {
 public:
  explicit Fuzzed(Bytes* bytes)
      : bytes_(*bytes), world_(Cap(bytes), Ecap(bytes), 3 + static_cast<int>(bytes->Below(3))) {
    if (!AnswersDeviceTlbs()) return;
    world_.Flip(world_.context_entry, 1 << 2);  // DTE
    world_.model->SetDeviceTlb(VtdTestWorld::kDevice, true);
  }

  void Run() {
    while (!bytes_.empty()) Step();
    CheckAgainstMemory();
  }

 private:
  // The test's unit, or one with features and widths of the input's choice. The fault records stay
  // where they are: above other registers they would hide them, which no unit's maker does.
  static uint64_t Cap(Bytes* bytes) {
    if (bytes->Below(4) != 0) return kTestCap;
    return (bytes->Number(8) & ~Bits(33, 24)) | (kTestCap & Bits(33, 24));
  }
  static uint64_t Ecap(Bytes* bytes) {
    const uint32_t choice = bytes->Below(4);
    if (choice == 0) return bytes->Number(8);
    return choice == 1 ? kTwoStageEcap : kTestEcap;
  }
  // ECAP.DT: then the device has its ATS on.
  bool AnswersDeviceTlbs() const { return world_.model->Read64(0x10) & 1 << 2; }

  void Step() {
    switch (bytes_.Below(8)) {
      case 0:
        return world_.Store(AnyEntry(), AnyWord());
      case 1:
        return world_.Flip(AnyEntry(), uint64_t{1} << bytes_.Below(64));
      case 2:
        return world_.model->Write32(AnyRegister(), static_cast<uint32_t>(bytes_.Number(4)));
      case 3:
        return world_.model->Write64(AnyRegister(), AnyWord());
      case 4:
        return Invalidate();
      case 5:
        world_.model->Read32(AnyRegister());
        world_.model->Read64(AnyRegister());
        return;
      case 6:
        return CheckTranslation(world_.model->Translate(AnyRequest()));
      default:
        return Access();
    }
  }

  // A word of a table, mostly one that the device's walk meets.
  uint64_t AnyEntry() {
    const uint64_t entries[] = {
        world_.root_entry,      world_.context_entry, world_.context_entry + 8,
        world_.directory_entry, world_.pasid_entry,   world_.pasid_entry + 8,
        world_.rid_pasid_entry, world_.level5_entry,  world_.level4_entry,
        world_.level3_entry,    world_.level2_entry,  world_.leaf_1g,
        world_.leaf_2m,         world_.leaf_4k};
    const uint32_t which = bytes_.Below(static_cast<uint32_t>(std::size(entries)) + 2);
    if (which < std::size(entries)) return entries[which];
    return AnyPage() + 8 * (bytes_.Number(2) % 512);
  }

  uint64_t AnyPage() {
    const uint64_t pages[] = {world_.root,   world_.contexts, world_.directory, world_.pasids,
                              world_.top,    world_.level4,   world_.level3,    world_.level2,
                              world_.level1, world_.data,     world_.ring,      world_.status};
    return pages[bytes_.Below(std::size(pages))];
  }

  // A pointer with flags, so that walks go on, or anything.
  uint64_t AnyWord() {
    return bytes_.Below(3) != 0 ? AnyPage() | bytes_.Number(2) % 4096 : bytes_.Number(8);
  }

  // Mostly one that is there; never unaligned, which no bus can ask for.
  uint32_t AnyRegister() {
    const uint32_t which = bytes_.Below(std::size(kRegisters) + 2);
    if (which < std::size(kRegisters)) return kRegisters[which];
    return static_cast<uint32_t>(bytes_.Number(2)) & ~uint32_t{3};
  }

  Request AnyRequest() {
    Request request;
    request.source_id =
        bytes_.Below(8) == 0 ? static_cast<uint16_t>(bytes_.Number(2)) : VtdTestWorld::kDevice;
    const uint32_t pasid = bytes_.Below(4);
    if (pasid == 1) request.pasid = VtdTestWorld::kPasid;
    if (pasid == 2) request.pasid = static_cast<uint32_t>(bytes_.Number(3)) & 0xfffff;
    constexpr uint64_t kMapped[] = {VtdTestWorld::kIova4K, VtdTestWorld::kIova2M,
                                    VtdTestWorld::kIova1G};
    const uint32_t where = bytes_.Below(5);
    request.address = where < std::size(kMapped) ? kMapped[where] : bytes_.Edge();
    request.write = bytes_.Below(2) != 0;
    return request;
  }

  // Types 1, 2, 5, 6 and 7 mean something, 3 and 8 where device TLBs are answered; the rest must
  // stop the queue.
  void Invalidate() {
    const uint64_t type = bytes_.Below(16);
    uint64_t word0 = bytes_.Number(8) << 4 | type;
    uint64_t word1 = bytes_.Below(2) == 0 ? bytes_.Edge() : AnyWord();
    if (word0 >> 63) AimAtDeviceTlb(type, &word0, &word1);
    const uint32_t tail = world_.model->Read32(0x88);
    // The ring may be elsewhere by now; only inside memory can a descriptor be put on it.
    if (tail > 4096 - 32) return world_.model->Write32(0x88, 0);
    world_.Submit(word0, word1);
  }

  // Lets an invalidation of device TLBs meet what the device keeps: some pages around one of it.
  static void AimAtDeviceTlb(uint64_t type, uint64_t* word0, uint64_t* word1) {
    constexpr uint64_t kDevice = VtdTestWorld::kDevice;
    constexpr uint64_t kPages = Bits(21, 12);
    if (type == 3) {
      *word0 = 3 | kDevice << 32;
      *word1 = VtdTestWorld::kIova4K | (*word1 & (kPages | 1));  // S
    } else if (type == 8) {
      *word0 = 8 | kDevice << 16 | uint64_t{VtdTestWorld::kPasid} << 32;
      *word1 = VtdTestWorld::kIova4K | (*word1 & (kPages | 1 << 11 | 1));  // S, G
    }
  }

  void CheckTranslation(const Translation& translation) {
    if (!translation.ok()) {
      Check(FaultReasonName(translation.fault_reason) != "unknown fault reason", "no such fault");
      return;
    }
    const bool enabled = (world_.model->Read32(0x1c) & 1u << 31) != 0;
    if (translation.is_interrupt || !enabled) return;
    Check(translation.size_bytes != 0, "a translation of nothing");
    Check(translation.physical.value < uint64_t{1} << kTestWidth &&
              translation.size_bytes <= (uint64_t{1} << kTestWidth) - translation.physical.value,
          "a translation beyond the host's addresses");
  }

  void Access() {
    std::vector<char> data(bytes_.Number(2) % kMaxAccess);
    const VtdModel::Outcome outcome =
        world_.model->Access(AnyRequest(), absl::Span<char>(data.data(), data.size()));
    Check(outcome.bytes_done <= data.size(), "more bytes than were asked for");
    const bool stopped = outcome.fault_reason != 0 || outcome.memory_missing;
    Check(stopped == (outcome.bytes_done < data.size()), "stopped without a reason, or went on");
  }

  // A queue as it was before anybody wrote to the registers, and everything invalidated through it.
  bool InvalidateEverything() {
    const uint32_t lasting = world_.model->Read32(0x1c) & (1u << 31);
    world_.model->Write32(0x18, lasting);
    world_.model->Write32(0x88, 0);
    world_.model->Write64(0x90, world_.ring | 1 << 11);
    world_.model->Write32(0x34, 1 << 4);
    world_.model->Write32(0x18, lasting | 1u << 26);
    if (!(world_.model->Read32(0x1c) & 1u << 26)) return false;  // A unit without a queue.
    world_.Submit(1 | 1 << 4);                                   // Context cache, global.
    world_.Submit(7 | 3 << 4);                                   // PASID cache, global.
    world_.Submit(2 | 1 << 4);                                   // IOTLB, global.
    if (AnswersDeviceTlbs()) {
      constexpr uint64_t kEverything = 0x7fffffffffffful << 12;
      constexpr uint64_t kDevice = VtdTestWorld::kDevice;
      world_.Submit(3 | kDevice << 32, kEverything | 1);            // Without PASID.
      world_.Submit(8 | kDevice << 16, kEverything | 1 << 11 | 1);  // All PASIDs.
    }
    Check(!world_.QueueError(), "a global invalidation is refused");
    return true;
  }

  // With nothing remembered, a warm look must see what a cold one sees.
  void CheckAgainstMemory() {
    for (const uint64_t address :
         {VtdTestWorld::kIova4K, VtdTestWorld::kIova2M, VtdTestWorld::kIova1G, uint64_t{0}}) {
      for (const auto& request :
           {VtdTestWorld::Read(address), VtdTestWorld::Write(address, VtdTestWorld::kPasid)}) {
        if (!InvalidateEverything()) return;
        const Translation cold = world_.model->Probe(request);
        const Translation warm = world_.model->Translate(request);
        const Translation again = world_.model->Translate(request);
        CheckTranslation(warm);
        CheckSame(cold, warm);
        CheckSame(cold, again);
        CheckNothingIsKept(request);
      }
    }
  }

  void CheckNothingIsKept(const Request& request) {
    const auto hits = [&] { return world_.model->counters().device_tlb_hits; };
    const uint64_t before = hits();
    char byte = 0;
    world_.model->Access(request, absl::Span<char>(&byte, 1));
    Check(hits() == before, "an empty device TLB answers");
  }

  static void CheckSame(const Translation& one, const Translation& other) {
    Check(one.fault_reason == other.fault_reason && one.is_interrupt == other.is_interrupt &&
              one.physical == other.physical && one.size_bytes == other.size_bytes,
          "an empty cache answers other than memory");
  }

  Bytes& bytes_;
  VtdTestWorld world_;
};

}  // namespace
}  // namespace viommu::hardware

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  viommu::fuzz::Bytes bytes(data, size);
  viommu::hardware::Fuzzed(&bytes).Run();
  return 0;
}
