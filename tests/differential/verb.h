// tests/differential/verb.h -- A verb of the engine as both sides know it.
//
// Each kind of object has a file of its own with its verbs; verbs.h lists them. To add a verb:
// say its syntax, invent its arguments, and say what it does to the State and how to ask the engine
// for it. To add a kind: also show it (show.h), so that it is compared.
#ifndef VIOMMU_TESTS_DIFFERENTIAL_VERB_H_
#define VIOMMU_TESTS_DIFFERENTIAL_VERB_H_

#include <cstdint>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/types.h"
#include "tests/differential/answer.h"
#include "tests/differential/state.h"
#include "tests/differential/step.h"

// Passes a refusal up.
#define REFUSE_UNLESS(expression)                           \
  do {                                                      \
    ::viommu::differential::Answer refusal_ = (expression); \
    if (!refusal_.ok()) return refusal_;                    \
  } while (false)

namespace viommu::differential {

// Repeatable chance.
class Dice {
 public:
  explicit Dice(uint64_t seed) : random_(seed) {}
  uint64_t Below(uint64_t limit) { return random_() % limit; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  template <typename T>
  auto& Any(T& container) {
    return *std::next(std::begin(container), static_cast<ptrdiff_t>(Below(std::size(container))));
  }

 private:
  std::mt19937_64 random_;
};

// A step with what it stands in.
struct Call {
  const Step& step;
  CallContext context;
  std::string latest;   // Id that the engine made up last.
  std::string made_up;  // For the reference: the one that it made up for this call.
  bool in_words = false;

  uint64_t operator[](size_t i) const { return step.arguments[i]; }
  // The argument as a name, and as the name of a device.
  ObjectRef Ref(uint64_t argument, Sort sort) const;
  // Of what belongs to a Viommu: "vm0/vdevices/x1".
  ObjectRef ChildRef(uint64_t viommu, uint64_t argument, Sort sort) const;
  // The id of an object to be made, for the engine, and as it came out.
  std::string NewId(uint64_t argument, Sort sort) const { return Ref(argument, sort).id; }
  Name Made(uint64_t argument, Sort sort, const std::string& owner) const;
  // For Answer::made_up: `id`, if the engine made it up.
  std::string MadeUp(uint64_t argument, const std::string& id) const {
    return Naming::Of(argument).id == kMadeUpId ? id : "";
  }
  static std::string DeviceId(uint64_t argument);
};

struct Verb {
  Syntax syntax;
  unsigned weight;  // How often it is chosen.
  std::vector<uint64_t> (*invent)(Dice&, const State&, Caller);
  Answer (*refer)(const Call&, State&);  // Changes nothing when it refuses.
  Answer (*ask)(const Call&, Engine&);
  // What is refused before the request_id and the deadline are looked at; may be null.
  Answer (*at_the_door)(const Call&) = nullptr;
  // What devices do, not callers: there is no request_id, no deadline and no validate_only to it.
  bool bare = false;
};

// ---- What an etag argument says ----
inline constexpr uint64_t kNoEtag = 0;
inline constexpr uint64_t kCurrentEtag = 1;
inline constexpr uint64_t kOldEtag = 2;
uint64_t InventEtag(Dice& dice);
std::string EtagOf(uint64_t argument, const std::string& current);

// ---- Inventing names ----
// Mostly of an object that is there and the caller's own; sometimes another owner's, or none's.
uint64_t InventName(Dice& dice, const State& state, Caller caller, Sort sort);
// A fault queue for a domain over, or on, what is named: mostly of the same owner.
uint64_t InventQueueFor(Dice& dice, const State& state, Caller caller, uint64_t base);
// The id of what belongs to a Viommu: mostly of one that is there, or for a new one that is not.
uint64_t InventChild(Dice& dice, const State& state, Caller caller, uint64_t viommu, Sort sort);
// A domain of which `fits` holds, when there is one that the caller may name.
uint64_t InventDomain(Dice& dice, const State& state, Caller caller, bool (*fits)(const Domain&));
// One for a new object: nobody else's can be made.
uint64_t InventNewName(Dice& dice);
uint64_t InventDevice(Dice& dice, const State& state);
// One of the few that there are, sometimes none that there can be.
uint64_t InventPasid(Dice& dice);
// Mostly one that the caller has claimed.
uint64_t InventHeldDevice(Dice& dice, const State& state, Caller caller);
// Mostly one that can use what is named: its owner has claimed it, and a domain is compatible.
uint64_t InventUser(Dice& dice, const State& state, Caller caller, uint64_t ioas_or_domain);

// An IO virtual address for an Ioas: mostly of a few pages, often beside or in an area, sometimes
// at the ends of apertures, of the interrupt window, of everything.
uint64_t InventIova(Dice& dice, const Areas& areas);
// Mostly of a few pages, sometimes no whole ones, seldom senseless.
uint64_t InventLength(Dice& dice);
uint64_t InventOffset(Dice& dice);
uint64_t InventPermission(Dice& dice);
// The areas of the Ioas that a name means to the caller; none if there is none.
const Areas& AreasOf(const State& state, Caller caller, uint64_t ioas);

// ---- Looking up, in the reference ----
// kPermissionDenied NOT_OPERATOR: somebody else's is named by one who is no operator, whether it is
// there or not; kNotFound <prefix>_NOT_FOUND.
Answer MayName(const Call& call, const ObjectRef& ref, Name* named);
template <typename T>
Answer Find(const Call& call, const ObjectRef& ref, const char* prefix,
            const std::map<Name, T>& objects, Name* found) {
  REFUSE_UNLESS(MayName(call, ref, found));
  if (objects.count(*found) == 0) return Missing(std::string(prefix) + "_NOT_FOUND");
  return {};
}
template <typename T>
Answer Find(const Call& call, uint64_t argument, Sort sort, const char* prefix,
            const std::map<Name, T>& objects, Name* found) {
  return Find(call, call.Ref(argument, sort), prefix, objects, found);
}
Answer FindRegion(const Call& call, const State& state, uint64_t argument, Name* found);
Answer FindSpace(const Call& call, const State& state, uint64_t argument, Name* found);
Answer FindDomain(const Call& call, const State& state, uint64_t argument, Name* found);
Answer FindQueue(const Call& call, const State& state, uint64_t argument, Name* found);
Answer FindViommu(const Call& call, const State& state, uint64_t argument, Name* found);
Answer FindDevice(const State& state, uint64_t argument, size_t* found);
// kFailedPrecondition DEVICE_NOT_CLAIMED
Answer CheckClaimed(const State& state, size_t device, const std::string& principal);

// An area of a region appeared or went: it is shown with the number of them.
void TouchMapping(State& state, const Name& ioas, const Name& region);

// "ioas/as1" for its owner, "owners/alice/ioas/as1" for an operator.
std::string Shown(const char* collection, const Name& name, const std::string& viewer);

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_VERB_H_
