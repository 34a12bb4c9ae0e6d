// Dirty tracking over the soft backend, on every architecture: against a model, step by step; and
// as a migration does it, while devices write and mappings change.
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/backend/topology.h"
#include "engine/base/dirty_bitmap.h"
#include "engine/base/env.h"
#include "engine/engine.h"
#include "engine/journal/memory_journal.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096, kMiB = uint64_t{1} << 20;

// Of an SMMUv3 a domain is that unit's alone: there the second unit has no device.
Topology TrackingHost(IommuArchitecture architecture) {
  Topology host;
  const bool shared = architecture == IommuArchitecture::kVtd;
  host.iommus.resize(2);
  for (int i = 0; i < 3; ++i) {
    DeviceSpec device;
    device.id = std::string("dev") + static_cast<char>('0' + i);
    device.pci_address = std::string("0000:0") + static_cast<char>('1' + i) + ":00.0";
    device.iommu = i == 2 && shared ? "unit1" : "unit0";
    device.group = device.id;
    device.ats = i == 1;
    host.devices.push_back(device);
  }
  for (int i = 0; i < 2; ++i) {
    host.iommus[i].id = std::string("unit") + static_cast<char>('0' + i);
    host.iommus[i].architecture = architecture;
    host.iommus[i].dirty_tracking = shared;
    host.iommus[i].smmu_v3.hardware_access = host.iommus[i].smmu_v3.hardware_dirty = true;
  }
  return host;
}

const char* const kDevices[] = {"dev0", "dev1", "dev2"};

// All three devices, one of them with a TLB of its own, one behind another unit where the domain
// may be there, on domains/t.
class SoftDirtyTest : public testing::TestWithParam<IommuArchitecture> {
 protected:
  void SetUp() override {
    SoftBackendOptions options;
    options.table_arena_bytes = uint64_t{4} << 20;
    backend_ = *SoftBackend::Create(TrackingHost(GetParam()), options, PlainStore());
    engine_ = *Engine::Create({"dirty"}, backend_.get(), &journal_, RealEnv());
    me_.is_operator = true;
    ASSERT_TRUE(engine_->CreateIoas(me_, "space").ok());
    ASSERT_TRUE(engine_->CreateMemoryRegion(me_, "ram", 16 * kMiB, std::nullopt).ok());
    for (const char* const device : kDevices) {
      ASSERT_TRUE(engine_->ClaimDevice(me_, device, "").ok());
    }
    PagingDomainRequest request{Ref("space"), "dev0"};
    request.dirty_tracking = true;
    ASSERT_TRUE(engine_->CreateDomain(me_, "t", request).ok());
    for (const char* const device : kDevices) {
      ASSERT_TRUE(engine_->AttachDevice(me_, device, Ref("t")).ok());
    }
  }

  static ObjectRef Ref(const std::string& id) { return {id, std::nullopt}; }
  bool Map(Iova iova, uint64_t length, uint64_t offset) {
    MapBatch batch;
    batch.regions = {Ref("ram")};
    batch.entries = {{iova, offset, length, 0, Permission::kReadWrite}};
    return engine_->Map(me_, Ref("space"), batch).ok();
  }
  bool Unmap(Iova iova, uint64_t length) {
    UnmapBatch batch;
    batch.entries = {{iova, length}};
    return engine_->Unmap(me_, Ref("space"), batch).ok();
  }
  bool Write(const std::string& device, Iova iova, uint64_t word) {
    const auto done = engine_->Dma(me_, device, iova, true,
                                   absl::MakeSpan(reinterpret_cast<char*>(&word), sizeof(word)));
    return done.ok() && !done->fault.has_value();
  }
  absl::StatusOr<DirtyBitmap> Read(Iova iova, uint64_t length, uint64_t page, bool keep) {
    return engine_->ReadDirtyBitmap(me_, Ref("t"), {iova, length, page, keep});
  }
  void Set(bool enabled) {
    ASSERT_TRUE(engine_->SetDirtyTracking(me_, Ref("t"), enabled, "").ok());
  }

  std::unique_ptr<SoftBackend> backend_;
  MemoryJournal journal_;
  std::unique_ptr<Engine> engine_;
  CallContext me_;
};

INSTANTIATE_TEST_SUITE_P(Architectures, SoftDirtyTest,
                         testing::Values(IommuArchitecture::kVtd, IommuArchitecture::kSmmuV3),
                         [](const auto& tested) {
                           return tested.param == IommuArchitecture::kVtd ? "Vtd" : "SmmuV3";
                         });

// Mappings that come and go, each a slot: its leaves are what the hardware marks. The last is
// large.
struct Slot {
  Iova iova;
  uint64_t pages;
  uint64_t leaf_pages;
  uint64_t offset;
  bool mapped = false;
  std::vector<bool> dirty = std::vector<bool>(pages, false);
};

TEST_P(SoftDirtyTest, AgreesWithAModelAtEveryStep) {
  const unsigned seed = std::random_device()();
  std::mt19937_64 random(seed);
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  // Behind each other, so that reads go over several.
  std::vector<Slot> slots = {{8 * kMiB - 12 * kPage, 4, 1, 0},
                             {8 * kMiB - 8 * kPage, 7, 1, 0x10 * kPage},
                             {8 * kMiB - kPage, 1, 1, 0x20 * kPage},
                             {8 * kMiB, 512, 0, 0}};
  // Large leaves need a physical address that fits: ask where the region is.
  const Uid ram = engine_->GetMemoryRegion(me_, Ref("ram"))->object.uid;
  const uint64_t at = backend_->simulation()->PhysicalAddress(ram, 0)->value;
  slots[3].offset = (2 * kMiB - at % (2 * kMiB)) % (2 * kMiB);
  slots[3].leaf_pages = 512;
  for (Slot& slot : slots) {
    slot.mapped = Map(slot.iova, slot.pages * kPage, slot.offset);
    ASSERT_TRUE(slot.mapped);
  }
  Set(true);
  bool tracking = true;
  const bool always_marks = GetParam() == IommuArchitecture::kSmmuV3;
  for (int step = 0; step < 1500; ++step) {
    SCOPED_TRACE(testing::Message() << "step " << step);
    Slot& slot = slots[random() % slots.size()];
    const uint64_t what = random() % 20;
    if (what < 10) {
      const uint64_t page = random() % slot.pages;
      const bool written = Write(kDevices[random() % 3], slot.iova + page * kPage, step);
      ASSERT_EQ(written, slot.mapped);
      const uint64_t leaf = page / slot.leaf_pages * slot.leaf_pages;
      for (uint64_t p = leaf; written && (tracking || always_marks) && p < leaf + slot.leaf_pages;
           ++p) {
        slot.dirty[p] = true;
      }
    } else if (what < 13) {
      ASSERT_TRUE(slot.mapped ? Unmap(slot.iova, slot.pages * kPage)
                              : Map(slot.iova, slot.pages * kPage, slot.offset));
      slot.mapped = !slot.mapped;
      slot.dirty.assign(slot.pages, false);
    } else if (what == 13) {
      Set(!tracking);
      tracking = !tracking;
      for (Slot& each : slots) {
        if (tracking) each.dirty.assign(each.pages, false);
      }
    } else {
      // From one slot to the end of another, whole leaves.
      const size_t from = random() % slots.size(), to = from + random() % (slots.size() - from);
      const Iova first = slots[from].iova;
      const uint64_t length = slots[to].iova + slots[to].pages * kPage - first;
      const bool keep = random() % 2 == 0;
      const auto bitmap = Read(first, length, kPage, keep);
      bool covered = true;
      for (size_t i = from; i <= to; ++i) covered = covered && slots[i].mapped;
      ASSERT_EQ(bitmap.ok(), covered) << bitmap.status();
      uint64_t bit = 0;
      for (size_t i = from; covered && i <= to; ++i) {
        for (uint64_t p = 0; p < slots[i].pages; ++p, ++bit) {
          ASSERT_EQ(bitmap->IsDirty(bit), slots[i].dirty[p]) << "slot " << i << " page " << p;
        }
        if (!keep) slots[i].dirty.assign(slots[i].pages, false);
      }
    }
  }
}

// A migration: what is dirty is copied, again and again, while devices write; at the end, when they
// have stopped, once more. Then the copy is the memory, or a write was lost.
TEST_P(SoftDirtyTest, CopiesEverythingWhileDevicesWriteAndMappingsChange) {
  constexpr uint64_t kPages = 96, kBytes = kPages * kPage;
  constexpr Iova kBase = 0x100000, kElsewhere = kBase + kBytes;
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  ASSERT_TRUE(Map(kBase, kBytes, 0));
  Set(true);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> writes{0};
  std::vector<std::thread> threads;
  for (unsigned writer = 0; writer < 3; ++writer) {
    threads.emplace_back([&, writer] {
      std::mt19937_64 random(seed + writer);
      while (!stop.load()) {
        // Few pages, so that caches hold most of them.
        const uint64_t page = random() % 16 + random() % 4 * 20;
        EXPECT_TRUE(Write(kDevices[writer], kBase + page * kPage + writer * 8, ++writes));
      }
    });
  }
  threads.emplace_back([&] {
    while (!stop.load()) {
      EXPECT_TRUE(Map(kElsewhere, 4 * kPage, kBytes));
      EXPECT_TRUE(Write("dev0", kElsewhere, 1));
      EXPECT_TRUE(Unmap(kElsewhere, 4 * kPage));
    }
  });
  std::string copy(kBytes, '\0'), page(kPage, '\0');
  uint64_t copied = 0;
  const auto copy_what_is_dirty = [&] {
    const auto bitmap = Read(kBase, kBytes, kPage, /*keep=*/false);
    ASSERT_TRUE(bitmap.ok()) << bitmap.status();
    for (uint64_t p = 0; p < kPages; ++p) {
      if (!bitmap->IsDirty(p)) continue;
      ASSERT_TRUE(engine_->ReadMemory(me_, Ref("ram"), p * kPage, absl::MakeSpan(page)).ok());
      copy.replace(p * kPage, kPage, page);
      ++copied;
    }
  };
  for (int round = 0; round < 60; ++round) {
    const uint64_t until = writes.load() + 40;
    while (writes.load() < until) std::this_thread::yield();
    copy_what_is_dirty();
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  copy_what_is_dirty();
  EXPECT_GT(copied, 100u);
  for (uint64_t p = 0; p < kPages; ++p) {
    ASSERT_TRUE(engine_->ReadMemory(me_, Ref("ram"), p * kPage, absl::MakeSpan(page)).ok());
    EXPECT_EQ(std::memcmp(page.data(), copy.data() + p * kPage, kPage), 0) << "page " << p;
  }
}

}  // namespace
}  // namespace viommu
