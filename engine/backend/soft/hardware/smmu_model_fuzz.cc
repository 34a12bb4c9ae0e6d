// Any tables, registers and commands: the unit faults or translates, and what it remembers after
// everything was invalidated is what memory says.
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "engine/backend/soft/hardware/smmu_event.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/hardware/smmu_request.h"
#include "engine/backend/soft/hardware/smmu_spec.h"
#include "engine/backend/soft/hardware/smmu_test_world.h"
#include "tests/fuzz/bytes.h"
#include "tests/fuzz/check.h"

namespace viommu::hardware {
namespace {

using fuzz::Bytes;
using fuzz::Check;
using smmu::AddressType;
using smmu::Request;
using smmu::Translation;
using World = SmmuTestWorld;

constexpr uint32_t kRegisters[] = {0x00, 0x20, 0x24,    0x28,    0x2c,    0x44,   0x50,
                                   0x60, 0x64, 0x80,    0x84,    0x88,    0x90,   0x94,
                                   0x98, 0x9c, 0xa0,    0xa4,    0xc0,    0xc4,   0x100a8,
                                   0x14, 0x04, 0x100ac, 0x100c8, 0x100cc, 0x10000};
constexpr uint8_t kOpcodes[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x10, 0x11,
                                0x12, 0x13, 0x20, 0x21, 0x22, 0x23, 0x28, 0x2a,
                                0x30, 0x40, 0x41, 0x44, 0x45, 0x46, 0x46, 0xff};
constexpr size_t kMaxAccess = 3 * 4096;

class Fuzzed {
 public:
  explicit Fuzzed(Bytes* bytes)
      : bytes_(*bytes), spec_(SpecOf(bytes)), world_(StagesOf(bytes), spec_) {
    if (bytes->Below(2) == 0) return;
    world_.Flip(world_.stream_entry + 8, 1 << 28);  // EATS
    world_.model->SetDeviceTlb(World::kStream, true);
  }

  void Run() {
    while (!bytes_.empty()) Step();
    CheckAgainstMemory();
  }

 private:
  // The full unit, or one with what the input chooses.
  static SmmuModel::Spec SpecOf(Bytes* bytes) {
    SmmuModel::Spec spec;
    if (bytes->Below(4) != 0) return spec;
    const uint64_t bits = bytes->Number(4);
    const auto bit = [&](int position) { return (bits & smmu::Bit(position)) == 0; };
    spec.stage1 = bit(0);
    spec.stage2 = bit(1);
    spec.el2 = bit(2);
    spec.ats = bit(3);
    spec.pri = bit(4);
    spec.asid16 = bit(5);
    spec.vmid16 = bit(6);
    spec.msi = bit(7);
    spec.two_level_stream_table = bit(8);
    spec.two_level_cd = bit(9);
    spec.range_invalidation = bit(10);
    spec.granule_4k = bit(11);
    spec.granule_16k = bit(12);
    spec.granule_64k = bit(13);
    spec.wide_input = !bit(14);
    spec.force_write_back = bit(15);
    spec.httu = static_cast<int>(bits >> 16 & 3) % 3;
    spec.stall_model = static_cast<smmu::StallModel>((bits >> 18 & 3) % 3);
    spec.substream_id_bits = static_cast<int>((bits >> 20 & 31) % 21);
    spec.output_address_bits = smmu::AddressBitsOf(bits >> 25 & 7);
    spec.stall_max = static_cast<uint16_t>(bits >> 28 & 7);
    return spec;
  }
  static Stages StagesOf(Bytes* bytes) { return static_cast<Stages>(bytes->Below(3)); }

  void Step() {
    switch (bytes_.Below(12)) {
      case 0:
      case 1:
        return world_.Store(AnyEntry(), AnyWord());
      case 2:
      case 3:
        return world_.Flip(AnyEntry(), uint64_t{1} << bytes_.Below(64));
      case 4:
        return world_.model->Write32(AnyRegister(), static_cast<uint32_t>(bytes_.Number(4)));
      case 5:
        return world_.model->Write64(AnyRegister(), AnyWord());
      case 6:
        return Command();
      case 7:
        world_.model->Read32(AnyRegister());
        world_.model->Read64(AnyRegister());
        return;
      case 8:
        return RequestPages();
      case 9:
        return Inject();
      case 10:
        return CheckTranslation(world_.model->Translate(AnyRequest()));
      default:
        return Access();
    }
  }

  // A word of a table, mostly one that the device's walk meets.
  uint64_t AnyEntry() {
    std::vector<uint64_t> entries;
    for (int word = 0; word < 4; ++word) {
      entries.push_back(world_.stream_entry + 8 * word);
      if (word < 2) entries.push_back(world_.context0 + 8 * word);
      if (word < 2) entries.push_back(world_.context3 + 8 * word);
    }
    for (const uint64_t entry :
         {world_.level0, world_.level1 + 8, world_.level1 + 16, world_.level2, world_.level2 + 8,
          world_.level3, world_.second1 + 16, world_.second1 + 24, world_.second2,
          world_.SecondEntryOf(world_.data), world_.SecondEntryOf(world_.level3)}) {
      entries.push_back(entry);
    }
    const uint32_t which = bytes_.Below(static_cast<uint32_t>(entries.size()) + 2);
    if (which < entries.size()) return entries[which];
    return AnyPage() + 8 * (bytes_.Number(2) % 512);
  }

  uint64_t AnyPage() {
    const uint64_t pages[] = {world_.streams, world_.contexts, world_.level0,   world_.level1,
                              world_.level2,  world_.level3,   world_.data,     world_.second1,
                              world_.second2, world_.second3,  world_.commands, world_.events,
                              world_.pages};
    return pages[bytes_.Below(std::size(pages))];
  }

  // A pointer with flags, as memory or stage 2 has it, so that walks go on, or anything.
  uint64_t AnyWord() {
    switch (bytes_.Below(4)) {
      case 0:
        return bytes_.Number(8);
      case 1:
        return world_.IpaOf(AnyPage()) | bytes_.Number(2) % 4096;
      default:
        return AnyPage() | bytes_.Number(2) % 4096;
    }
  }

  // Mostly one that is there; never unaligned, which no bus can ask for.
  uint32_t AnyRegister() {
    const uint32_t which = bytes_.Below(std::size(kRegisters) + 2);
    if (which < std::size(kRegisters)) return kRegisters[which];
    return static_cast<uint32_t>(bytes_.Number(3)) & ~uint32_t{3};
  }

  Request AnyRequest() {
    Request request;
    request.stream_id =
        bytes_.Below(8) == 0 ? static_cast<uint32_t>(bytes_.Number(4)) : World::kStream;
    const uint32_t substream = bytes_.Below(4);
    if (substream == 1) request.substream_id = World::kSubstream;
    if (substream == 2) request.substream_id = static_cast<uint32_t>(bytes_.Number(3)) & 0xfffff;
    const uint64_t mapped[] = {World::kIova4K, World::kIova2M, World::kIova1G,
                               world_.IpaOf(world_.data), World::kIpa1G};
    const uint32_t where = bytes_.Below(7);
    request.address = where < std::size(mapped) ? mapped[where] : bytes_.Edge();
    const uint8_t kind = bytes_.Byte();
    request.write = kind & 1;
    request.privileged = kind & 2;
    request.instruction = (kind & 12) == 12;
    request.type = static_cast<AddressType>((kind >> 4) % 3);
    return request;
  }

  // Mostly a known command; only inside memory can one be put on the ring.
  void Command() {
    const uint64_t opcode = kOpcodes[bytes_.Below(std::size(kOpcodes))];
    uint64_t word0 = (bytes_.Number(8) & ~uint64_t{0xff}) | opcode;
    uint64_t word1 = bytes_.Below(2) == 0 ? bytes_.Edge() : AnyWord();
    if (bytes_.Below(2) == 0) {
      // At the device, or at its tags.
      const uint64_t target = opcode < 0x10 || opcode >= 0x40
                                  ? uint64_t{World::kStream} << 32
                                  : World::kVmid << 32 | World::kAsid << 48;
      word0 = opcode | target;
    }
    world_.Submit(word0, word1);
    if (world_.CommandError()) world_.AcknowledgeErrors();
  }

  void Inject() {
    const uint8_t choice = bytes_.Byte();
    switch (choice % 6) {
      case 0:
        return world_.model->HangCommandQueueAfter(choice >> 4);
      case 1:
        return world_.model->HangCommandQueueAfter(std::nullopt);
      case 2:
        return world_.model->AbortNextCommandFetch();
      case 3:
        return world_.model->SetRefills(choice & 0x80);
      case 4:
        return world_.model->SetDeviceTlbAnswers(World::kStream, choice & 0x80);
      default:
        return world_.model->ForgetCaches();
    }
  }

  void RequestPages() {
    const uint64_t bits = bytes_.Number(4);
    smmu::PageRequest request;
    request.stream_id = World::kStream;
    if (bits & 1) request.substream_id = World::kSubstream;
    request.address = bytes_.Edge();
    request.last = bits & 2;
    request.group = static_cast<uint16_t>(bits >> 8);
    request.read = bits & 4;
    const smmu::PageRequestFate fate = world_.model->RequestPages(request);
    // With a PASID it depends on STE.PPAR whether the function takes what the unit answers.
    if (fate != smmu::PageRequestFate::kLost || !request.last || request.substream_id.has_value()) {
      return;
    }
    const std::vector<smmu::PageResponse> told = world_.model->PageResponses(World::kStream);
    Check(!told.empty() && ((told.back().group ^ request.group) & 0x1ff) == 0,
          "a lost page request without an answer");
  }

  void CheckTranslation(const Translation& translation) {
    const smmu::Event& fault = translation.fault;
    if (!translation.ok()) {
      Check(fault.terminated || smmu::EventName(fault.id)[0] != '0', "no such event");
      return;
    }
    if (translation.page_shift == 0) return;  // A translation request's answer without any.
    Check(translation.size_bytes != 0, "a translation of nothing");
    const uint64_t end = uint64_t{1} << spec_.output_address_bits;
    Check(translation.physical.value < end &&
              translation.size_bytes <= end - translation.physical.value,
          "a translation beyond the unit's addresses");
  }

  void Access() {
    std::vector<char> data(bytes_.Number(2) % kMaxAccess);
    Request request = AnyRequest();
    if (request.type == AddressType::kTranslationRequest) request.type = AddressType::kUntranslated;
    const SmmuModel::Outcome outcome =
        world_.model->Access(request, absl::Span<char>(data.data(), data.size()));
    Check(outcome.bytes_done <= data.size(), "more bytes than were asked for");
    const bool stopped = !outcome.fault.none() || outcome.memory_missing;
    Check(stopped == (outcome.bytes_done < data.size()), "stopped without a reason, or went on");
    Check(outcome.fault.stalled == (outcome.stall_id != 0), "a stall without its number");
    if (outcome.stall_id != 0) {
      world_.model->AwaitResume(outcome.stall_id, absl::ZeroDuration());
    }
  }

  // A queue as it was at first, and everything invalidated through it. Without an event queue,
  // whose records may lie in the tables by now.
  void InvalidateEverything() {
    const uint32_t lasting = world_.model->Read32(0x20) & 0x11;
    world_.model->SetRefills(false);
    world_.model->HangCommandQueueAfter(std::nullopt);
    world_.model->SetDeviceTlbAnswers(World::kStream, true);
    world_.model->Write32(0x20, lasting);
    world_.model->Write64(0x90, world_.commands | 8);
    world_.model->Write32(0x98, 0);
    world_.model->Write32(0x9c, 0);
    world_.AcknowledgeErrors();
    world_.model->Write32(0x20, lasting | 1 << 3);
    world_.Submit(0x46);  // An abort that was injected, or a device that did not answer.
    world_.AcknowledgeErrors();
    world_.AcknowledgeErrors();
    world_.Submit(0x04, 31);
    if (spec_.stage1 && spec_.el2) world_.Submit(0x20);
    world_.Submit(0x30);
    if (spec_.ats) world_.Submit(0x40 | uint64_t{World::kStream} << 32, 52);
    Check(!world_.CommandError(), "a global invalidation is refused");
  }

  // With nothing remembered, a warm look must see what a cold one sees, unless the warm one marked
  // descriptors, which may be each other's.
  void CheckAgainstMemory() {
    for (const uint64_t address :
         {World::kIova4K, World::kIova2M, World::kIova1G, world_.IpaOf(world_.data), uint64_t{0}}) {
      for (const auto& request : {World::Read(address), World::Write(address, World::kSubstream)}) {
        InvalidateEverything();
        const uint64_t before = world_.model->counters().entries_marked;
        const Translation cold = world_.model->Probe(request);
        const Translation warm = world_.model->Translate(request);
        CheckTranslation(warm);
        if (world_.model->counters().entries_marked != before) continue;
        CheckSame(cold, warm);
        CheckSame(cold, world_.model->Translate(request));
      }
    }
  }

  static void CheckSame(const Translation& one, const Translation& other) {
    Check(one.fault.id == other.fault.id && one.fault.terminated == other.fault.terminated &&
              one.fault.stage2 == other.fault.stage2 && one.physical == other.physical &&
              one.size_bytes == other.size_bytes,
          "an empty cache answers other than memory");
  }

  Bytes& bytes_;
  const SmmuModel::Spec spec_;
  World world_;
};

}  // namespace
}  // namespace viommu::hardware

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  viommu::fuzz::Bytes bytes(data, size);
  viommu::hardware::Fuzzed(&bytes).Run();
  return 0;
}
