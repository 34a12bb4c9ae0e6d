// tests/differential/world.h -- An engine and the reference side by side, step by step.
//
// After every step its answer and all that it may have changed are compared, and whether anything
// changed at all. An etag and a revision are no contract but in that they change: another version
// in the reference must be another etag and a later revision, the same version the same ones.
#ifndef VIOMMU_TESTS_DIFFERENTIAL_WORLD_H_
#define VIOMMU_TESTS_DIFFERENTIAL_WORLD_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/base/env.h"
#include "engine/engine.h"
#include "engine/journal/memory_journal.h"
#include "tests/differential/requests.h"
#include "tests/differential/state.h"
#include "tests/differential/step.h"
#include "tests/differential/verb.h"

namespace viommu::differential {

// Time stands still; randomness counts up.
class StillEnv : public Env {
 public:
  absl::Time Now() override { return absl::UnixEpoch(); }
  uint64_t Random() override { return ++random_; }

 private:
  uint64_t random_ = 0;
};

struct Setting {
  BackendKind backend = BackendKind::kFake;
  uint64_t variant = 0;  // Of the limits.
  WrongRule wrong = WrongRule::kNone;
  bool in_words = false;  // Differences are told in words.
};

class World {
 public:
  explicit World(const Setting& setting);

  // A step that may follow.
  Step Invent(Dice& dice);
  // Takes it on both sides. What differs; empty: nothing.
  std::string Do(const Step& step);
  // All listings of all callers, and all objects. What differs; empty: nothing.
  std::string CompareAll();

  uint64_t done() const { return done_; }
  uint64_t refused() const { return refused_; }
  // How often each reason was given.
  const std::map<std::string, uint64_t>& reasons() const { return reasons_; }
  // How often each verb was done.
  const std::map<std::string, uint64_t>& verbs() const { return verbs_; }

 private:
  enum class Kind {
    kRegion,
    kSpace,
    kMappings,
    kDomain,
    kDevice,
    kQueue,
    kViommu,
    kVdevice,
    kEventQueue,
  };
  struct Version {
    uint64_t version = 0;
    std::string etag;
    uint64_t revision = 0;
  };

  Answer Expect(const Verb& verb, const Call& call);
  // Where the machine put a new region.
  void LearnPlaces();
  void Compare(const Touched& touched);
  void CompareRegion(const Name& name);
  void CompareSpace(const Name& name);
  void CompareDomain(const Name& name);
  void CompareDevice(size_t device);
  void CompareQueue(const Name& name);
  void CompareViommu(const Name& name);
  void CompareVdevice(const Name& name);
  void CompareEventQueue(const Name& name);
  // Where the device is attached and which PASIDs of its group are taken, as `viewer` sees it.
  void PutPlaces(size_t device, const CallContext& viewer, Sheet& engine, Sheet& reference);
  void CompareListings(const CallContext& viewer);
  // Fault queues and Viommus, with what belongs to these.
  void ListGuests(const CallContext& viewer, Sheet& engine, Sheet& reference);
  void CompareNumbers();
  void CompareSheets(const std::string& what, const Sheet& engine, const Sheet& reference);
  // Whether both have it or neither; false: there is nothing to compare.
  bool BothHave(const std::string& what, const absl::Status& engine, bool reference);
  void CompareVersion(Kind kind, const Name& name, const Version& now);
  void Differ(const std::string& what);
  CallContext ContextOf(Caller caller) const;

  const Setting setting_;
  Hardware hardware_;
  std::unique_ptr<Backend> backend_;
  MemoryJournal journal_;
  StillEnv env_;
  std::unique_ptr<Engine> engine_;
  State state_;
  Requests requests_;
  std::map<std::pair<Kind, Name>, Version> versions_;
  uint64_t revision_ = 0;
  std::string latest_;  // Made up by the engine.
  std::string trouble_;

  // Of Invent.
  uint32_t last_request_ = 0;
  std::vector<Step> asked_;  // Some steps that had a request_id.

  uint64_t done_ = 0;
  uint64_t refused_ = 0;
  std::map<std::string, uint64_t> reasons_;
  std::map<std::string, uint64_t> verbs_;
};

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_WORLD_H_
