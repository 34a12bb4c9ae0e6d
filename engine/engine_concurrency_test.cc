// Many clients at once, random verbs, a backend and a journal that fail now and then: in the end
// what the engine shows is what the backend holds.
#include <atomic>
#include <iostream>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/engine_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr int kThreads = 8;
constexpr int kSteps = 1500;  // Of one thread.

// One client that does whatever comes to its mind. Its names are few, so that clients meet.
class Client {
 public:
  Client(Engine* engine, CallContext context, uint64_t seed)
      : engine_(engine), context_(std::move(context)), random_(seed) {}

  uint64_t successes() const { return successes_; }

  void Step() {
    switch (Pick(14)) {
      case 0:
        return Note(engine_->CreateMemoryRegion(context_, Name(), 0x10000, std::nullopt).status());
      case 1:
        return Note(engine_->DeleteMemoryRegion(context_, Ref(), ""));
      case 2:
        return Note(engine_->CreateIoas(context_, Name()).status());
      case 3:
        return Note(engine_->DeleteIoas(context_, Ref(), ""));
      case 4:
        return Note(
            engine_->CreateDomain(context_, Name(), PagingDomainRequest{Ref(), Device()}).status());
      case 5:
        return Note(engine_->DeleteDomain(context_, Ref(), ""));
      case 6:
        return Note(engine_->ClaimDevice(context_, Device(), "").status());
      case 7:
        return Note(engine_->ReleaseDevice(context_, Device(), "").status());
      case 8:
        return Note(engine_->AttachDevice(context_, Device(), Ref()).status());
      case 9:
        return Note(engine_->ReplaceAttachment(context_, Device(), Ref()).status());
      case 10:
        return Note(engine_->DetachDevice(context_, Device()).status());
      case 11:
        return Note(engine_->CopyMappings(context_, Ref(), Copy()).status());
      case 12:
        return Look();
      default:
        return Stream();
    }
  }

 private:
  uint64_t Pick(uint64_t count) { return random_() % count; }
  std::string Name() { return absl::StrCat(Pick(2)); }
  ObjectRef Ref() { return {Name(), std::nullopt}; }
  std::string Device() { return absl::StrCat("dev", Pick(6)); }
  Iova Place() { return 0x1000 * Pick(16); }
  CopyRequest Copy() { return {Ref(), Place(), 0x1000, std::nullopt, Permission::kRead}; }

  StreamBatch Batch(uint64_t sequence) {
    StreamBatch batch{sequence, std::nullopt, std::nullopt};
    if (Pick(2) == 0) {
      batch.unmap = UnmapBatch{Pick(8) == 0, {}};
      if (!batch.unmap->all) batch.unmap->entries = {{Place(), 0x1000}};
      return batch;
    }
    batch.map = MapBatch{{Ref()}, {{Place(), 0, 0x1000, 0, Permission::kRead}}};
    if (Pick(2) == 0) batch.map->entries[0].iova.reset();
    return batch;
  }

  // Several batches on their way together.
  void Stream() {
    const OnError on_error = Pick(2) == 0 ? OnError::kStop : OnError::kContinue;
    auto stream = engine_->OpenMappingStream(context_, {Ref(), on_error});
    if (!stream.ok()) return Note(stream.status());
    const uint64_t count = 1 + Pick(6);
    for (uint64_t i = 0; i < count; ++i) (*stream)->Submit(Batch(i));
    (*stream)->CloseSubmissions();
    if (Pick(4) == 0) return;  // Dropped with its replies.
    uint64_t next = 0;
    for (StreamReply reply; (*stream)->NextReply(&reply);) {
      EXPECT_EQ(reply.sequence, next++);
      Note(reply.status);
    }
    EXPECT_EQ(next, count);
  }

  void Look() {
    const auto ioas = engine_->ListIoas(context_, {});
    for (const IoasView& view : ioas->items) {
      const auto page =
          engine_->ListMappings(context_, {view.object.id, std::nullopt}, {0, kMaxAddress}, {});
      if (!page.ok()) continue;  // Gone meanwhile.
      for (size_t i = 1; i < page->items.size(); ++i) {
        EXPECT_LT(page->items[i - 1].range.last, page->items[i].range.first);
      }
    }
    EXPECT_GE(engine_->Stats().objects.size(), 1u);
    Note(engine_->GetDevice(context_, Device()).status());
  }

  // Only what the rules of the API know may happen.
  void Note(const absl::Status& status) {
    if (status.ok()) {
      ++successes_;
      return;
    }
    const auto detail = DetailOf(status);
    EXPECT_TRUE(detail.has_value() && !detail->reason.empty()) << status;
  }

  Engine* const engine_;
  const CallContext context_;
  std::mt19937_64 random_;
  uint64_t successes_ = 0;
};

class EngineConcurrencyTest : public EngineTest {
 protected:
  // The backend's State() as it must be, told from the engine's listings alone.
  std::string StateToldByListings() {
    const PageRequest page{kMaxPageSize, ""};
    std::map<Uid, std::string> regions, ioas, domains;
    std::map<std::string, Uid> region_uids, ioas_uids, domain_uids;
    const auto name = [](const char* collection, const ObjectView& o) {
      return absl::StrCat("owners/", o.owner, "/", collection, "/", o.id);
    };
    const auto all_regions = engine_->ListMemoryRegions(operator_, page);
    for (const auto& r : all_regions->items) {
      region_uids[name("memoryRegions", r.object)] = r.object.uid;
      regions[r.object.uid] = absl::StrCat("region ", r.object.uid, "\n");
    }
    const auto all_ioas = engine_->ListIoas(operator_, page);
    for (const auto& i : all_ioas->items) {
      ioas_uids[name("ioas", i.object)] = i.object.uid;
      ioas[i.object.uid] = absl::StrCat("ioas ", i.object.uid, "\n", Areas(i, region_uids));
    }
    const auto all_domains = engine_->ListDomains(operator_, page);
    for (const auto& d : all_domains->items) {
      if (d.kind != DomainKind::kPaging) continue;
      domain_uids[name("domains", d.object)] = d.object.uid;
      domains[d.object.uid] = absl::StrCat("domain ", d.object.uid, " ", ioas_uids[d.ioas], "\n");
    }
    std::string state;
    for (const auto* const kind : {&regions, &ioas, &domains}) {
      for (const auto& [uid, lines] : *kind) state += lines;
    }
    return state + Devices(domain_uids);
  }

  std::string Areas(const IoasView& ioas, std::map<std::string, Uid>& region_uids) {
    std::string lines;
    const auto mappings = engine_->ListMappings(operator_, {ioas.object.id, ioas.object.owner},
                                                {0, kMaxAddress}, {kMaxPageSize, ""});
    EXPECT_EQ(mappings->items.size(), ioas.mapping_count);
    for (const MappingView& m : mappings->items) {
      ++areas_of_[m.memory_region];
      absl::StrAppend(&lines, "  ", Hex(m.range.first), "+", Hex(m.range.size_bytes()), " -> ",
                      region_uids[m.memory_region], "+", Hex(m.offset_bytes), " ",
                      static_cast<int>(m.permission), "\n");
    }
    return lines;
  }

  std::string Devices(std::map<std::string, Uid>& domain_uids) {
    std::string lines;
    int index = 0;
    const auto devices = engine_->ListDevices(operator_, {kMaxPageSize, ""});
    for (const DeviceView& device : devices->items) {
      std::string where = "host dma";
      if (device.ownership == DeviceOwnership::kClaimed) {
        where = device.domain == "domains/blocked"
                    ? "blocked"
                    : absl::StrCat("domain ", domain_uids[device.domain]);
      }
      absl::StrAppend(&lines, "device ", index++, " on ", where, "\n");
    }
    return lines;
  }

  void ExpectReferencesMatchAreas() {
    const auto regions = engine_->ListMemoryRegions(operator_, {kMaxPageSize, ""});
    for (const auto& r : regions->items) {
      EXPECT_EQ(r.mapping_count,
                areas_of_[absl::StrCat("owners/", r.object.owner, "/memoryRegions/", r.object.id)]);
    }
  }

  // Everything can be taken apart again: no reference, reservation or lane was left behind.
  void ExpectItCanBeTakenApart() {
    const PageRequest page{kMaxPageSize, ""};
    const auto devices = engine_->ListDevices(operator_, page);
    for (const auto& device : devices->items) {
      if (device.ownership == DeviceOwnership::kHost) continue;
      EXPECT_TRUE(engine_->DetachDevice(operator_, device.spec.id).ok());
    }
    const auto domains = engine_->ListDomains(operator_, page);
    for (const auto& d : domains->items) {
      if (d.kind != DomainKind::kPaging) continue;
      EXPECT_TRUE(engine_->DeleteDomain(operator_, {d.object.id, d.object.owner}, "").ok());
    }
    const auto spaces = engine_->ListIoas(operator_, page);
    for (const auto& i : spaces->items) {
      const ObjectRef ref{i.object.id, i.object.owner};
      EXPECT_EQ(engine_->ListIovaRanges(operator_, ref)->size(), 1u) << "a reservation was left";
      EXPECT_EQ(engine_->GetIoas(operator_, ref)->alignment_bytes, 1u);
      EXPECT_TRUE(engine_->DeleteIoas(operator_, ref, "").ok());
    }
    const auto regions = engine_->ListMemoryRegions(operator_, page);
    for (const auto& r : regions->items) {
      EXPECT_TRUE(engine_->DeleteMemoryRegion(operator_, {r.object.id, r.object.owner}, "").ok());
    }
  }

  std::map<std::string, uint64_t> areas_of_;  // By memory region.
};

TEST_F(EngineConcurrencyTest, ManyClientsLeaveEngineAndBackendInAgreement) {
  const uint64_t seed = std::random_device()();
  std::cout << "seed " << seed << std::endl;
  std::atomic<uint64_t> effects{0};
  backend_.SetHook([&](const std::string&) {
    if (++effects % 16 != 0) return absl::OkStatus();
    return absl::Status(Error(absl::StatusCode::kResourceExhausted, "TEST", "refused"));
  });
  std::atomic<bool> done{false};
  std::thread storage([&] {
    for (uint64_t turn = 0; !done; ++turn) {
      journal_.Hold();
      std::this_thread::yield();
      journal_.SetAnswer(turn % 16 == 0 ? absl::DataLossError("disk gone") : absl::OkStatus());
      journal_.Release();
    }
    journal_.SetAnswer(absl::OkStatus());
  });
  std::vector<std::thread> clients;
  for (int i = 0; i < kThreads; ++i) {
    clients.emplace_back([&, i] {
      Client client(engine_.get(), i % 2 == 0 ? alice_ : bob_, seed + i);
      // More where the storage was not let run for long while it refused everything.
      const auto enough = [&] { return client.successes() > uint64_t{kSteps / 10}; };
      for (int step = 0; step < kSteps || (!enough() && step < 50 * kSteps); ++step) client.Step();
      EXPECT_TRUE(enough()) << "too little came about: " << client.successes();
    });
  }
  for (std::thread& client : clients) client.join();
  done = true;
  storage.join();
  backend_.SetHook(nullptr);
  EXPECT_EQ(StateToldByListings(), backend_.State());
  ExpectReferencesMatchAreas();
  EXPECT_TRUE(backend_.breaches().empty());
  ExpectItCanBeTakenApart();
}

}  // namespace
}  // namespace viommu
