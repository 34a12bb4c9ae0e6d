// engine/backend/soft/smmu_world.h -- For tests of an SMMUv3's driver: a unit with streams of every
// kind, and domains that each lead one IOVA to a word of their own.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_SMMU_WORLD_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_SMMU_WORLD_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/backend/soft/smmu_capability.h"
#include "engine/backend/soft/smmu_registers.h"
#include "engine/backend/soft/smmu_unit.h"
#include "engine/backend/soft/unit_port.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/entries/smmu_cd.h"
#include "engine/entries/smmu_commands.h"
#include "engine/entries/smmu_ste.h"
#include "engine/pagetable/arm_stage1.h"
#include "engine/pagetable/arm_stage2.h"
#include "engine/pagetable/page_table.h"
#include "engine/pagetable/store.h"
#include "engine/pagetable/table_arena.h"
#include "gtest/gtest.h"

namespace viommu {

inline IommuSpec EverySmmu() {
  IommuSpec spec;
  spec.id = "smmu0";
  spec.architecture = IommuArchitecture::kSmmuV3;
  spec.smmu_v3.nesting = true;
  spec.smmu_v3.substream_id_bits = 20;
  return spec;
}

class SmmuWorld : public testing::Test {
 protected:
  static constexpr uint64_t kPage = 4096;
  static constexpr uint32_t kPlain = 0x10;      // Descriptors in two levels.
  static constexpr uint32_t kNarrow = 0x11;     // In one.
  static constexpr uint32_t kCaching = 0x1234;  // As kPlain, with a device TLB.
  static constexpr uint32_t kAlsoCaching = 0x1235;
  static constexpr uint32_t kBare = 0x4321;  // No PASIDs.
  static constexpr std::optional<uint32_t> kRid = std::nullopt;

  // A table, and what leads to it.
  struct Domain {
    PageTable table;
    UnitTranslation translation;
  };

  explicit SmmuWorld(const IommuSpec& spec = EverySmmu()) : spec_(spec) {
    const auto window = *memory_.AddWindow(4096 * kPage, 1024 * kPage);
    table_memory_ = {window.base.value, window.base.value + (window.size_bytes - 1)};
    arena_ = std::make_unique<TableArena>(window.data, window.base, window.size_bytes);
    unit_ = *SmmuUnit::Create(
        spec_,
        {{kPlain, 20}, {kNarrow, 8}, {kCaching, 20, true}, {kAlsoCaching, 20, true}, {kBare, 0}},
        &memory_, arena_.get());
    EXPECT_TRUE(unit_->EnableTranslation().ok());
    iova_ = NewWord(0x1d).value;  // What IDENTITY leads to.
  }

  PhysAddr NewWord(uint64_t word) {
    const PhysAddr page = *arena_->AllocateZeroed();
    memory_.Store64(page, word);
    return page;
  }

  Domain FirstStage(uint64_t word) {
    const auto properties = *smmu::PlanPaging(spec_, {});
    PageTable table =
        *PageTable::Create(*ArmStage1<kGranule4K>::Create({}), PlainStore(), arena_.get());
    return Fill(std::move(table), properties, TranslationKind::kFirstStage, word);
  }
  Domain SecondStage(uint64_t word) {
    DomainSpec parent;
    parent.nest_parent = true;
    const auto properties = *smmu::PlanPaging(spec_, parent);
    PageTable table =
        *PageTable::Create(*ArmStage2<kGranule4K>::Create({}), PlainStore(), arena_.get());
    return Fill(std::move(table), properties, TranslationKind::kSecondStage, word);
  }

  // Makes `parent` lead from every page of the tables' memory to itself, but for iova_, so that a
  // guest's tables can be there.
  void MapTableMemory(Domain* parent) {
    for (const IovaRange& range : {IovaRange{table_memory_.first, iova_ - 1},
                                   IovaRange{iova_ + kPage, table_memory_.last}}) {
      if (range.last < range.first) continue;
      EXPECT_TRUE(
          parent->table
              .Map(range.first, PhysAddr{range.first}, range.last - range.first + 1, {true, true})
              .ok());
    }
  }
  // A guest's entry, on a parent with that memory, for a stage that leads iova_ to a word; its
  // descriptor is at `descriptor`.
  ArmSmmuV3Stage1 GuestEntry(const PageTable& guest, PhysAddr descriptor) {
    smmu::CdFields fields;
    fields.root = guest.root();
    fields.asid = 1;
    const smmu::Cd cd = smmu::MakeCd(fields);
    for (size_t i = 0; i < cd.size(); ++i) memory_.Store64(descriptor + i * 8, cd[i]);
    ArmSmmuV3Stage1 entry;
    entry.ste[0] = smmu::kSteValid | descriptor.value |
                   smmu::kSteConfig.Put(static_cast<uint64_t>(smmu::SteConfig::kStage1));
    entry.ste[1] = smmu::kSteEats.Put(static_cast<uint64_t>(smmu::AtsTreatment::kTranslate));
    return entry;
  }
  // The translation of what a guest's entry asks for on `parent`.
  static UnitTranslation OnParent(const Domain& parent, const ArmSmmuV3Stage1& entry) {
    UnitTranslation nested = parent.translation;
    nested.kind = TranslationKind::kNested;
    nested.guest = entry;
    return nested;
  }

  absl::Status Set(uint32_t stream, uint32_t pasid, const UnitTranslation& target) {
    return unit_->SetEntry(PlainStore(), stream, pasid, target);
  }

  // What a device reads at iova_: the word in hex, or "blocked".
  std::string Read(uint32_t stream, std::optional<uint32_t> pasid) {
    uint64_t word = 0;
    const auto outcome = unit_->hardware().Access(
        RequestOf(stream, pasid), absl::MakeSpan(reinterpret_cast<char*>(&word), sizeof(word)));
    return outcome.bytes_done == sizeof(word) ? Hex(word) : "blocked";
  }
  // The same by tables as they are in memory.
  std::string ReadCold(uint32_t stream, std::optional<uint32_t> pasid) const {
    const auto seen = unit_->hardware().Probe(RequestOf(stream, pasid));
    return seen.ok() ? Hex(*memory_.Load64(seen.physical)) : "blocked";
  }

  // The opcodes in the ring from slot `from` to the tail.
  std::vector<smmu::Opcode> OpcodesSince(uint32_t from) const {
    constexpr uint64_t kAddress = (uint64_t{1} << 52) - kPage;
    const uint64_t ring = unit_->hardware().Read64(smmu::kCommandQueueRegister) & kAddress;
    std::vector<smmu::Opcode> opcodes;
    for (uint32_t slot = from; slot != unit_->queue().tail();
         slot = (slot + 1) % SmmuCommandQueue::kEntries) {
      const uint64_t word = *memory_.Load64(PhysAddr{ring + slot * sizeof(smmu::Command)});
      opcodes.push_back(smmu::OpcodeOf({word, 0}));
    }
    return opcodes;
  }

  const IommuSpec spec_;
  mutable PhysicalMemory memory_{PhysAddr{kPage}, 40};
  std::unique_ptr<TableArena> arena_;
  std::unique_ptr<SmmuUnit> unit_;
  IovaRange table_memory_;
  Iova iova_ = 0;

 private:
  Domain Fill(PageTable table, const DomainProperties& properties, TranslationKind kind,
              uint64_t word) {
    EXPECT_TRUE(table.Map(iova_, NewWord(word), kPage, {true, true}).ok());
    UnitTranslation translation;
    translation.kind = kind;
    translation.properties = std::make_shared<const DomainProperties>(properties);
    translation.root = table.root();
    translation.tag = *unit_->TakeTag(kind);
    return {std::move(table), std::move(translation)};
  }

  hardware::smmu::Request RequestOf(uint32_t stream, std::optional<uint32_t> pasid) const {
    hardware::smmu::Request request;
    request.stream_id = stream;
    request.substream_id = pasid;
    request.address = iova_;
    return request;
  }
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SMMU_WORLD_H_
