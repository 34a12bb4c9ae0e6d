// Any sequence of verbs: what the engine says is mapped, devices reach, and nothing else.
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/backend/soft/test_topology.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/base/env.h"
#include "engine/engine.h"
#include "engine/journal/memory_journal.h"
#include "engine/types.h"
#include "tests/fuzz/bytes.h"
#include "tests/fuzz/check.h"

namespace viommu {
namespace {

using fuzz::Bytes;
using fuzz::Check;

constexpr uint32_t kIoases = 3;
constexpr uint32_t kDomains = 4;
constexpr uint64_t kPageBytes = 4096;
constexpr uint64_t kRegionBytes[] = {0x10000, 0x400000, 0x4000000};
constexpr int kMaxSteps = 64;
constexpr size_t kProbedAreas = 16;
// Writes there are interrupts, whatever is mapped.
constexpr IovaRange kInterrupts = {0xfee00000, 0xfeefffff};

std::unique_ptr<SoftBackend> NewBackend() {
  SoftBackendOptions options;
  options.table_arena_bytes = uint64_t{16} << 20;
  auto backend = SoftBackend::Create(TestTopology(), options, {});
  Check(backend.ok(), backend.status().ToString());
  return *std::move(backend);
}

// The id in the name of a caller's own object.
ObjectRef RefOf(const std::string& name) {
  return {name.substr(name.rfind('/') + 1), std::nullopt};
}

class World {
 public:
  explicit World(Bytes* bytes) : bytes_(*bytes), backend_(NewBackend()) {
    me_.is_operator = true;
    auto engine = Engine::Create({"fuzz"}, backend_.get(), &journal_, RealEnv());
    Check(engine.ok(), engine.status().ToString());
    engine_ = *std::move(engine);
    for (size_t i = 0; i < std::size(kRegionBytes); ++i) {
      const auto region =
          engine_->CreateMemoryRegion(me_, absl::StrCat("r", i), kRegionBytes[i], std::nullopt);
      Check(region.ok(), region.status().ToString());
    }
    // Something to start from: the input may undo it.
    Expect(engine_->CreateIoas(me_, "as0").status());
    Expect(engine_->ClaimDevice(me_, "disk-a", "").status());
    Expect(engine_->CreateDomain(me_, "d0", PagingDomainRequest{{"as0", {}}, "disk-a"}).status());
    Expect(engine_->AttachDevice(me_, "disk-a", {"d0", {}}).status());
  }

  void Run() {
    for (int steps = 0; steps < kMaxSteps && !bytes_.empty(); ++steps) Step();
    CheckEverything();
  }

 private:
  static void Expect(const absl::Status& status) { Check(status.ok(), status.ToString()); }

  // A verb may refuse anything, in words of its contract.
  static bool Judge(const absl::Status& status) {
    Check(
        status.code() != absl::StatusCode::kInternal && status.code() != absl::StatusCode::kUnknown,
        status.ToString());
    Check(status.ok() || !status.message().empty(), "a refusal without words");
    return status.ok();
  }

  void Step() {
    switch (bytes_.Below(14)) {
      case 0:
        Judge(engine_->CreateIoas(me_, AnyIoas().id).status());
        return;
      case 1:
        Judge(engine_->DeleteIoas(me_, AnyIoas(), ""));
        return;
      case 2:
        return CreateDomain();
      case 3:
        Judge(engine_->DeleteDomain(me_, AnyDomain(), ""));
        return;
      case 4:
        return ClaimOrRelease();
      case 5:
      case 6:
        return MoveDevice();
      case 7:
      case 8:
      case 9:
        return Map();
      case 10:
        return Unmap();
      case 11:
        return Copy();
      case 12:
        return Stream();
      default:
        return Allow();
    }
  }

  // ---- Names and numbers of the input's choice ----

  ObjectRef AnyIoas() { return {absl::StrCat("as", bytes_.Below(kIoases)), std::nullopt}; }
  ObjectRef AnyDomain() {
    const uint32_t which = bytes_.Below(kDomains + 2);
    if (which == kDomains) return {"blocked", std::nullopt};
    if (which == kDomains + 1) return {"identity", std::nullopt};
    return {absl::StrCat("d", which), std::nullopt};
  }
  std::string AnyDevice() { return backend_->topology().devices[bytes_.Below(kTestDevices)].id; }
  uint64_t Pages() { return kPageBytes * bytes_.Number(2); }
  Iova AnyIova() { return bytes_.Below(3) == 0 ? bytes_.Edge() : Pages(); }
  uint64_t AnyLength() {
    return bytes_.Below(4) == 0 ? bytes_.Edge() : kPageBytes * (1 + bytes_.Below(32));
  }
  Permission AnyPermission() { return static_cast<Permission>(1 + bytes_.Below(3)); }
  MapEntry AnyMapEntry() {
    MapEntry entry;
    if (bytes_.Below(4) != 0) entry.iova = AnyIova();
    entry.offset_bytes = bytes_.Below(4) == 0 ? bytes_.Edge() : kPageBytes * bytes_.Below(16);
    entry.length_bytes = AnyLength();
    entry.region = bytes_.Below(static_cast<uint32_t>(std::size(kRegionBytes)) + 1);
    entry.permission = AnyPermission();
    return entry;
  }
  MapBatch AnyMapBatch() {
    MapBatch batch;
    for (size_t i = 0; i < std::size(kRegionBytes); ++i) {
      batch.regions.push_back({absl::StrCat("r", i), std::nullopt});
    }
    for (uint32_t left = bytes_.Below(5); left > 0; --left) batch.entries.push_back(AnyMapEntry());
    return batch;
  }
  UnmapBatch AnyUnmapBatch() {
    UnmapBatch batch;
    batch.all = bytes_.Below(16) == 0;
    for (uint32_t left = bytes_.Below(4); left > 0; --left) {
      const Iova iova = AnyIova();
      batch.entries.push_back({iova, AnyLength()});
    }
    return batch;
  }

  // ---- Verbs ----

  void CreateDomain() {
    const std::string id = AnyDomain().id;
    const ObjectRef ioas = AnyIoas();
    Judge(engine_->CreateDomain(me_, id, PagingDomainRequest{ioas, AnyDevice()}).status());
  }

  void ClaimOrRelease() {
    const std::string device = AnyDevice();
    Judge(bytes_.Below(3) != 0 ? engine_->ClaimDevice(me_, device, "").status()
                               : engine_->ReleaseDevice(me_, device, "").status());
  }

  void MoveDevice() {
    const std::string device = AnyDevice();
    switch (bytes_.Below(4)) {
      case 0:
        Judge(engine_->AttachDevice(me_, device, AnyDomain()).status());
        return;
      case 1:
        Judge(engine_->DetachDevice(me_, device).status());
        return;
      default:
        Judge(engine_->ReplaceAttachment(me_, device, AnyDomain()).status());
    }
  }

  void Map() {
    const ObjectRef ioas = AnyIoas();
    const MapBatch batch = AnyMapBatch();
    const auto before = engine_->GetIoas(me_, ioas);
    const auto answer = engine_->Map(me_, ioas, batch);
    if (!Judge(answer.status())) return CheckUnchanged(ioas, before);
    Check(answer->iovas.size() == batch.entries.size(), "not one IOVA an entry");
    for (size_t i = 0; i < batch.entries.size(); ++i) {
      CheckMapped(ioas, batch, batch.entries[i], answer->iovas[i]);
    }
  }

  void CheckMapped(const ObjectRef& ioas, const MapBatch& batch, const MapEntry& entry, Iova iova) {
    Check(!entry.iova.has_value() || *entry.iova == iova, "mapped elsewhere");
    const auto seen = engine_->Translate(me_, ioas, iova + (entry.length_bytes - 1));
    Check(seen.ok(), "mapped, but not translated");
    Check(seen->mapping.range == IovaRange{iova, iova + (entry.length_bytes - 1)} &&
              seen->mapping.offset_bytes == entry.offset_bytes &&
              seen->mapping.permission == entry.permission &&
              RefOf(seen->mapping.memory_region).id == batch.regions[entry.region].id,
          "another area than was asked for");
  }

  void Unmap() {
    const ObjectRef ioas = AnyIoas();
    const UnmapBatch batch = AnyUnmapBatch();
    const auto before = engine_->GetIoas(me_, ioas);
    const auto answer = engine_->Unmap(me_, ioas, batch);
    if (!Judge(answer.status())) return CheckUnchanged(ioas, before);
    const auto after = engine_->GetIoas(me_, ioas);
    Check(before->mapped_bytes - after->mapped_bytes == answer->unmapped_bytes &&
              before->mapping_count - after->mapping_count == answer->unmapped_areas,
          "unmapped something else than it says");
    for (const UnmapEntry& entry : batch.entries) {
      Check(!engine_->Translate(me_, ioas, entry.iova).ok(), "unmapped, but still translated");
    }
  }

  void Copy() {
    const ObjectRef ioas = AnyIoas();
    CopyRequest request;
    request.source = AnyIoas();
    request.source_iova = AnyIova();
    request.length_bytes = AnyLength();
    if (bytes_.Below(2) == 0) request.iova = AnyIova();
    request.permission = AnyPermission();
    const auto before = engine_->GetIoas(me_, ioas);
    if (!Judge(engine_->CopyMappings(me_, ioas, request).status())) CheckUnchanged(ioas, before);
  }

  void Stream() {
    StreamOptions options;
    options.ioas = AnyIoas();
    options.on_error = bytes_.Below(2) == 0 ? OnError::kStop : OnError::kContinue;
    const auto stream = engine_->OpenMappingStream(me_, options);
    if (!Judge(stream.status())) return;
    const uint32_t batches = bytes_.Below(8);
    for (uint32_t i = 0; i < batches; ++i) {
      StreamBatch batch;
      batch.sequence = bytes_.Below(16) == 0 ? bytes_.Number(8) : i + 1;
      if (bytes_.Below(3) == 0) {
        batch.unmap = AnyUnmapBatch();
      } else {
        batch.map = AnyMapBatch();
      }
      (*stream)->Submit(std::move(batch));
      if (bytes_.Below(8) == 0) (*stream)->Acknowledge();
    }
    (*stream)->CloseSubmissions();
    StreamReply reply;
    uint32_t replies = 0;
    for (; (*stream)->NextReply(&reply); ++replies) Judge(reply.status);
    Check(replies == batches, "not one reply a batch");
  }

  void Allow() {
    const ObjectRef ioas = AnyIoas();
    std::vector<IovaRange> ranges;
    for (uint32_t left = bytes_.Below(3); left > 0; --left) {
      const Iova first = AnyIova();
      ranges.push_back({first, first + AnyLength()});
    }
    Judge(engine_->SetAllowedIovaRanges(me_, ioas, ranges, "").status());
  }

  // ---- Invariants ----

  void CheckUnchanged(const ObjectRef& ioas, const absl::StatusOr<IoasView>& before) {
    const auto after = engine_->GetIoas(me_, ioas);
    Check(before.ok() == after.ok(), "a refusal made or took an Ioas");
    if (!after.ok()) return;
    Check(before->mapping_revision == after->mapping_revision &&
              before->mapping_count == after->mapping_count &&
              before->mapped_bytes == after->mapped_bytes,
          "a refusal changed something");
  }

  void CheckEverything() {
    uint64_t mappings = 0;
    for (uint32_t i = 0; i < kIoases; ++i) {
      mappings += Areas({absl::StrCat("as", i), std::nullopt}).size();
    }
    Check(engine_->Stats().mappings == mappings, "the count of mappings is wrong");
    for (const DeviceSpec& device : backend_->topology().devices) CheckDevice(device.id);
  }

  // All areas of an Ioas, none if there is no such.
  std::vector<MappingView> Areas(const ObjectRef& ioas) {
    std::vector<MappingView> areas;
    const auto view = engine_->GetIoas(me_, ioas);
    if (!view.ok()) return areas;
    PageRequest request;
    request.page_size = 3;
    uint64_t mapped_bytes = 0;
    do {
      const auto page = engine_->ListMappings(me_, ioas, {0, kMaxAddress}, request);
      Check(page.ok(), page.status().ToString());
      for (const MappingView& area : page->items) {
        Check(areas.empty() || areas.back().range.last < area.range.first, "areas out of order");
        mapped_bytes += area.range.size_bytes();
        areas.push_back(area);
      }
      request.cursor = page->next_cursor;
    } while (!request.cursor.empty());
    Check(view->mapping_count == areas.size() && view->mapped_bytes == mapped_bytes,
          "an Ioas counts other mappings than it lists");
    return areas;
  }

  // Only devices whose every access the engine can explain: claimed, and not on IDENTITY.
  void CheckDevice(const std::string& id) {
    const auto device = engine_->GetDevice(me_, id);
    Check(device.ok(), device.status().ToString());
    if (device->ownership != DeviceOwnership::kClaimed) return;
    const auto domain = engine_->GetDomain(me_, RefOf(device->domain));
    Check(domain.ok(), domain.status().ToString());
    if (domain->kind == DomainKind::kIdentity) return;
    if (domain->kind == DomainKind::kBlocked) {
      for (const Iova iova : {Iova{0}, kPageBytes, kMaxAddress}) CheckFault(id, iova);
      return;
    }
    const ObjectRef ioas = RefOf(domain->ioas);
    const std::vector<MappingView> areas = Areas(ioas);
    for (size_t i = 0; i < areas.size() && i < kProbedAreas; ++i) {
      const IovaRange& range = areas[i].range;
      CheckReach(id, areas[i], range.first);
      CheckReach(id, areas[i], range.first + (range.size_bytes() - 1) / 2);
      CheckReach(id, areas[i], range.last);
      CheckGap(id, ioas, range.first - 1);
      CheckGap(id, ioas, range.last + 1);
    }
    CheckGap(id, ioas, bytes_.Edge());
  }

  bool Dma(const std::string& device, Iova iova, bool write, char* byte) {
    const auto outcome = engine_->Dma(me_, device, iova, write, absl::Span<char>(byte, 1));
    Check(outcome.ok(), outcome.status().ToString());
    Check(outcome->fault.has_value() == (outcome->bytes_done == 0), "a fault, and done");
    return !outcome->fault.has_value();
  }

  void CheckFault(const std::string& device, Iova iova) {
    char byte = 0;
    if (kInterrupts.Contains(iova)) return;
    Check(!Dma(device, iova, false, &byte), "reads what is not mapped");
    Check(!Dma(device, iova, true, &byte), "writes what is not mapped");
  }

  void CheckGap(const std::string& device, const ObjectRef& ioas, Iova iova) {
    if (!engine_->Translate(me_, ioas, iova).ok()) CheckFault(device, iova);
  }

  // The byte behind `iova` is the region's, in both directions, as far as the area permits.
  void CheckReach(const std::string& device, const MappingView& area, Iova iova) {
    if (kInterrupts.Contains(iova)) return;
    const ObjectRef region = RefOf(area.memory_region);
    const uint64_t offset = area.offset_bytes + (iova - area.range.first);
    const char there = static_cast<char>(++tag_);
    Expect(engine_->WriteMemory(me_, region, offset, absl::Span<const char>(&there, 1)));
    char byte = 0;
    Check(Dma(device, iova, false, &byte) == CanRead(area.permission), "reads against permission");
    if (CanRead(area.permission)) Check(byte == there, "reads another byte");
    byte = static_cast<char>(++tag_);
    Check(Dma(device, iova, true, &byte) == CanWrite(area.permission), "writes against permission");
    char behind = 0;
    Expect(engine_->ReadMemory(me_, region, offset, absl::Span<char>(&behind, 1)));
    Check(behind == (CanWrite(area.permission) ? byte : there), "writes another byte");
  }

  Bytes& bytes_;
  std::unique_ptr<SoftBackend> backend_;
  MemoryJournal journal_;
  std::unique_ptr<Engine> engine_;
  CallContext me_;
  uint8_t tag_ = 0;
};

}  // namespace
}  // namespace viommu

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  viommu::fuzz::Bytes bytes(data, size);
  viommu::World(&bytes).Run();
  return 0;
}
