// engine/backend/soft/hardware/smmu_test_world.h -- An SmmuModel over tables written word by word,
// for the tests of the model. Every constant here is taken from the formats, never from the
// writers.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_TEST_WORLD_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_TEST_WORLD_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/base/address.h"

namespace viommu::hardware {

enum class Stages { kFirst, kSecond, kNested };

// One device, stream 5 of 64, with 8 context descriptors: requests without substream use 0,
// substream 3 the same tables. Stage 1 has four levels of 4 KiB tables: kIova4K leads to a page,
// kIova2M and kIova1G to blocks. Stage 2 has 40 bits and two level 1 tables side by side, and shows
// memory from kIpaBase on, and a block of 1 GiB at kIpa1G. Where both are used, all that stage 1
// and the stream table entry name is an IPA.
class SmmuTestWorld {
 public:
  static constexpr uint32_t kStream = 5;
  static constexpr uint32_t kSubstream = 3;
  static constexpr uint64_t kAsid = 7;
  static constexpr uint64_t kVmid = 9;
  static constexpr uint64_t kIova4K = 0x40000000;
  static constexpr uint64_t kIova2M = 0x40200000;
  static constexpr uint64_t kIova1G = 0x80000000;
  static constexpr uint64_t kIpaBase = 0x80000000;
  static constexpr uint64_t kIpa1G = 0xc0000000;
  // Where the blocks lie: only translated to, no memory is needed.
  static constexpr uint64_t kPhys2M = 0x1200000000;
  static constexpr uint64_t kPhys1G = 0x1240000000;

  // A page or block of stage 1: for users, inner shareable, accessed, not global; of stage 2: read,
  // write, write-back, accessed.
  static constexpr uint64_t kFirstLeaf = 1 << 6 | 3 << 8 | 1 << 10 | 1 << 11;
  static constexpr uint64_t kSecondLeaf = 3 << 6 | 0xf << 2 | 3 << 8 | 1 << 10;
  // V, EPD1, 48-bit addresses, AA64, R, A; T0SZ 16.
  static constexpr uint64_t kContext0 = 16 | 1ull << 30 | 1ull << 31 | 5ull << 32 | 1ull << 41 |
                                        1ull << 45 | 1ull << 46 | kAsid << 48;
  // T0SZ 24, SL0 1, 48-bit addresses, S2AA64, S2PTW, S2R.
  static constexpr uint64_t kStream2 =
      kVmid | 24ull << 32 | 1ull << 38 | 5ull << 48 | 1ull << 51 | 1ull << 54 | 1ull << 58;

  explicit SmmuTestWorld(Stages stages = Stages::kFirst, SmmuModel::Spec spec = {},
                         bool enable = true)
      : memory(PhysAddr{0x100000000}, 46), stages_(stages) {
    const auto window = memory.AddWindow(64 << 12, 64 << 12);
    base_ = window->base.value;
    model = std::make_unique<SmmuModel>(spec, &memory);
    WriteTables();
    if (enable) Enable();
  }

  // Physical addresses of table pages and of single entries.
  uint64_t streams, contexts, level0, level1, level2, level3, data, second1, second2, second3,
      commands, events, pages;
  uint64_t stream_entry, context0, context3;
  uint64_t entry0, entry1, entry2, leaf_1g, leaf_2m, leaf_4k;
  uint64_t second_entry1, second_entry2, second_1g, second_data;

  PhysicalMemory memory;
  std::unique_ptr<SmmuModel> model;

  // Fresh zeroed pages, at a multiple of their size.
  uint64_t Page(uint64_t count = 1) {
    pages_used_ = (pages_used_ + count - 1) / count * count;
    const uint64_t page = base_ + 4096 * pages_used_;
    pages_used_ += count;
    return page;
  }
  void Store(uint64_t address, uint64_t value) { memory.Store64(PhysAddr{address}, value); }
  uint64_t Load(uint64_t address) const { return *memory.Load64(PhysAddr{address}); }
  void Flip(uint64_t address, uint64_t bits) { Store(address, Load(address) ^ bits); }
  // As stage 1 names it: an IPA where there is a stage 2.
  uint64_t Inner(uint64_t address) const {
    return stages_ == Stages::kFirst ? address : IpaOf(address);
  }
  uint64_t IpaOf(uint64_t address) const { return kIpaBase + (address - base_); }
  // Where stage 2 says where a page of memory is.
  uint64_t SecondEntryOf(uint64_t address) const { return second3 + 8 * ((address - base_) >> 12); }

  // Stream table of 64 entries, queues of a page each, RECINVSID, all interrupts; then the queues
  // and translation.
  void Enable() {
    model->Write64(0x80, streams);
    model->Write32(0x88, 6);
    model->Write64(0x90, commands | 8);
    model->Write64(0xa0, events | 7);
    model->Write64(0xc0, pages | 8);
    model->Write32(0x2c, 1 << 1);
    model->Write32(0x50, 7);
    model->Write32(0x20, 1 << 2 | 1 << 3);
    model->Write32(0x20, 0xf);
  }

  // Puts one command on the queue and moves PROD.
  void Submit(uint64_t word0, uint64_t word1 = 0) {
    const uint32_t producer = model->Read32(0x98);
    Store(commands + 16 * (producer % 256), word0);
    Store(commands + 16 * (producer % 256) + 8, word1);
    model->Write32(0x98, (producer + 1) % 512);
  }
  bool CommandError() const { return (model->Read32(0x60) ^ model->Read32(0x64)) & 1; }
  uint32_t CommandErrorCode() const { return model->Read32(0x9c) >> 24 & 0x7f; }
  void AcknowledgeErrors() { model->Write32(0x64, model->Read32(0x60)); }

  // How many event records there are that NextEvent has not taken.
  uint32_t EventCount() const {
    return ((model->Read32(0x100a8) & 0xff) - (model->Read32(0x100ac) & 0xff)) & 0xff;
  }
  // Takes the oldest record.
  std::array<uint64_t, 4> NextEvent() {
    const uint32_t consumer = model->Read32(0x100ac);
    const uint64_t place = events + 32 * (consumer % 128);
    model->Write32(0x100ac, (consumer & 0x80000000) | ((consumer + 1) % 256));
    return {Load(place), Load(place + 8), Load(place + 16), Load(place + 24)};
  }

  static smmu::Request Read(uint64_t address, std::optional<uint32_t> substream = std::nullopt) {
    smmu::Request request;
    request.stream_id = kStream;
    request.substream_id = substream;
    request.address = address;
    return request;
  }
  static smmu::Request Write(uint64_t address, std::optional<uint32_t> substream = std::nullopt) {
    smmu::Request request = Read(address, substream);
    request.write = true;
    return request;
  }
  smmu::Translation Translate(const smmu::Request& request) { return model->Translate(request); }
  // Where a read leads to; 0: nowhere.
  uint64_t Where(uint64_t address, std::optional<uint32_t> substream = std::nullopt) {
    const smmu::Translation translation = model->Translate(Read(address, substream));
    return translation.ok() ? translation.physical.value : 0;
  }
  // An address that leads to `data`, and one that leads to the block of 1 GiB.
  uint64_t DataAddress() const { return stages_ == Stages::kSecond ? IpaOf(data) : kIova4K; }
  uint64_t BlockAddress() const { return stages_ == Stages::kSecond ? kIpa1G : kIova1G; }

 private:
  void WriteTables() {
    for (uint64_t* page : {&streams, &contexts, &level0, &level1, &level2, &level3, &data, &second2,
                           &second3, &commands, &events, &pages}) {
      *page = Page();
    }
    second1 = Page(2);
    WriteConfiguration();
    if (stages_ != Stages::kSecond) WriteFirst();
    if (stages_ != Stages::kFirst) WriteSecond();
  }

  void WriteConfiguration() {
    stream_entry = streams + 64 * kStream;
    context0 = contexts;
    context3 = contexts + 64 * kSubstream;
    const bool first = stages_ != Stages::kSecond, second = stages_ != Stages::kFirst;
    Store(stream_entry + 8, 2);  // S1DSS: requests without substream use CD 0.
    Store(stream_entry + 16, second ? kStream2 : kVmid);
    if (second) Store(stream_entry + 24, second1);
    const uint64_t table = first ? Inner(contexts) | 3ull << 59 : 0;
    Store(stream_entry, 1 | (first ? 1 << 1 : 0) | (second ? 2 << 1 : 0) | 4 << 1 | table);
  }

  void WriteFirst() {
    for (const uint64_t context : {context0, context3}) {
      Store(context + 8, Inner(level0));
      Store(context, kContext0);
    }
    entry0 = level0;
    entry1 = level1 + 8 * 1;
    entry2 = level2;
    leaf_1g = level1 + 8 * 2;
    leaf_2m = level2 + 8 * 1;
    leaf_4k = level3;
    const bool nested = stages_ == Stages::kNested;
    Store(entry0, Inner(level1) | 3);
    Store(entry1, Inner(level2) | 3);
    Store(entry2, Inner(level3) | 3);
    Store(leaf_1g, (nested ? kIpa1G : kPhys1G) | kFirstLeaf | 1);
    Store(leaf_2m, (nested ? kIpa1G : kPhys2M) | kFirstLeaf | 1);
    Store(leaf_4k, Inner(data) | kFirstLeaf | 3);
  }

  void WriteSecond() {
    second_entry1 = second1 + 8 * 2;
    second_1g = second1 + 8 * 3;
    second_entry2 = second2;
    second_data = SecondEntryOf(data);
    Store(second_entry1, second2 | 3);
    Store(second_1g, kPhys1G | kSecondLeaf | 1);
    Store(second_entry2, second3 | 3);
    for (uint64_t page = 0; page < 64; ++page) {
      Store(second3 + 8 * page, (base_ + (page << 12)) | kSecondLeaf | 3);
    }
  }

  const Stages stages_;
  uint64_t base_ = 0;
  uint64_t pages_used_ = 0;
};

}  // namespace viommu::hardware

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_TEST_WORLD_H_
