// tests/faults/fault_world.h -- A small host in which every step is made to fail first.
//
// Engine over the soft backend. A step draws one random verb and repeats it with the first, the
// second, the third ... thing beneath it failing, until it comes about (or is refused for a reason
// of its own). After every failure all that a client can see, and all that the hardware does for
// every device, from memory and through its caches, must be as before (R2, R5). What may be left
// nevertheless is in AllowanceFor: exactly that, and nothing else.
#ifndef VIOMMU_TESTS_FAULTS_FAULT_WORLD_H_
#define VIOMMU_TESTS_FAULTS_FAULT_WORLD_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/engine.h"
#include "engine/engine_fixture.h"
#include "engine/pagetable/table_arena.h"
#include "tests/faults/command_queue_faults.h"
#include "tests/faults/fault_points.h"
#include "tests/faults/sight.h"

namespace viommu::faults {

// What happened in a run.
struct Tally {
  uint64_t steps = 0;
  uint64_t done = 0;     // Verbs that came about.
  uint64_t refused = 0;  // For a reason of their own.
  uint64_t backend_points = 0;
  uint64_t journal_points = 0;
  uint64_t memory_points = 0;   // Table pages that ran out.
  uint64_t pairs = 0;           // Two points failed in one call, or in one and its repetition.
  uint64_t queue_points = 0;    // Calls beneath which a command queue went wrong.
  uint64_t quarantines = 0;     // Devices that went out, and came back or were taken away.
  uint64_t left = 0;            // Failures that had to leave something, and left just that.
  uint64_t pasids_through = 0;  // Looks that saw the hardware translate requests with PASID.
  std::map<std::string, uint64_t> done_by_kind;  // Every kind that was drawn.

  uint64_t points() const { return backend_points + journal_points + memory_points + pairs; }
};

class FaultWorld {
 public:
  FaultWorld(const Topology& host, uint64_t seed);
  ~FaultWorld();

  // One step; false when something was wrong: see trouble().
  bool Step();

  const Tally& tally() const { return tally_; }
  const std::string& trouble() const { return trouble_; }

 private:
  struct Verb {
    std::string kind;
    std::string text;
    std::function<absl::Status()> call;           // May be repeated.
    std::optional<size_t> device = std::nullopt;  // That it resets or takes out.
  };

  absl::Status SetUp(const Topology& host);
  bool IsArm() const { return architecture_ == IommuArchitecture::kSmmuV3; }
  uint64_t Random(uint64_t below) { return random_() % below; }
  Iova RandomPlace();
  void Trouble(const std::string& what);

  // One random verb of a kind; most are possible most of the time.
  Verb RandomVerb();
  // fault_object_verbs.cc
  Verb ObjectVerb();
  Verb DomainVerb();
  Verb MapVerb();
  Verb MapGuestTableVerb();
  Verb UnmapVerb();
  Verb StreamVerb();
  Verb SpaceVerb();
  Verb RegionLossVerb();
  // fault_device_verbs.cc
  AttachTarget RandomTarget();
  Verb AttachVerb();
  Verb PasidVerb();
  Verb ComingAndGoingVerb();
  Verb InvalidateVerb();
  // Of SMMUv3s (fault_viommu_verbs.cc).
  Verb ViommuVerb();
  Verb InvalidateViommuVerb();
  Verb HostVerb();
  Verb HostMappingVerb();

  void FailPoints(const Verb& verb, FaultPoints::Kind kind, uint64_t* tally);
  void FailPairs(const Verb& verb);
  void StarveTables(const Verb& verb);
  // Beneath a verb that needs them the command queues go wrong, and then answer again
  // (fault_queue_points.cc).
  bool NeedsCommandQueue(const Verb& verb) const;
  void FailQueue(const Verb& verb);
  bool FailsInQueue(const Verb& verb, const std::string& failing);
  Allowance AllowanceOfQueue(const Verb& verb, const Sight& before, const Sight& after) const;
  // Calls the verb while a device does not answer invalidations (fault_silence.cc).
  void SilenceADevice(const Verb& verb);
  void SetAnswers(DeviceIndex device, bool answers);
  void CheckQuarantine(DeviceIndex silent, const absl::Status& status, bool is_out);
  // Calls the verb; true when it failed because of what was made to fail. Then, and also when it
  // was refused for a reason of its own, everything must be as before, but for what is allowed.
  bool FailsCleanly(const Verb& verb, const std::string& failing);
  // `fired`: what was made to fail in the call.
  static Allowance AllowanceFor(const Verb& verb, const absl::Status& status,
                                const std::vector<std::string>& fired);

  // Leaves so many table pages to be had.
  void LeaveTablePages(uint64_t count);
  Sight Look();

  const IommuArchitecture architecture_;
  std::mt19937_64 random_;
  std::unique_ptr<SoftBackend> soft_;
  std::unique_ptr<CommandQueueFaults> queue_faults_;  // Of SMMUv3s; else null.
  FaultPoints points_;
  std::unique_ptr<Backend> backend_;
  FaultyJournal journal_{&points_};
  FakeEnv env_;  // Its time stands still: no timer flushes anything.
  std::unique_ptr<Engine> engine_;
  CallContext me_;
  using HostMapping = std::pair<std::string, Iova>;  // A page, for a device.
  std::vector<HostMapping> host_mappings_;
  PageList kept_pages_;  // Taken away from the tables.
  Sight seen_;           // As it was when it was looked at last.
  std::string doing_;
  Tally tally_;
  std::string trouble_;
};

}  // namespace viommu::faults

#endif  // VIOMMU_TESTS_FAULTS_FAULT_WORLD_H_
