// tests/conformance/world.h -- The target as a case sees it: calls, names, what they left to undo.
//
// A case may run against a daemon that others use: every name that it makes has a prefix, and what
// it did is undone, last first, when it is over.
#ifndef VIOMMU_TESTS_CONFORMANCE_WORLD_H_
#define VIOMMU_TESTS_CONFORMANCE_WORLD_H_

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clients/client/client.h"
#include "google/protobuf/message.h"
#include "viommu/v1/viommu.pb.h"

namespace viommu::conformance {

// Of the units behind which the devices of the target are.
enum class Architecture { kVtd, kSmmuV3 };

// What all cases share.
struct Target {
  Client* client = nullptr;
  // Parts of the suite's topology -> ids of the target's devices. A part that is not named is
  // played by the device of its name.
  std::map<std::string, std::string> devices;
  Architecture architecture = Architecture::kVtd;
  bool simulated = false;         // It has SimulationService.
  std::set<std::string> present;  // Ids of its devices.
};

class World {
 public:
  explicit World(const Target* target) : target_(target) {}

  // ---- Names ----
  static std::string Id(const std::string& id) { return "conf-" + id; }
  static std::string Ioas(const std::string& id) { return "ioas/" + Id(id); }
  static std::string Region(const std::string& id) { return "memoryRegions/" + Id(id); }
  // The static domains have no prefix.
  static std::string Domain(const std::string& id);
  // Of the device that plays a part. One that the target lacks is noted.
  std::string Device(const std::string& part);
  // What a part is called on this target; any other word as it is.
  std::string Played(const std::string& word) const;
  // Parts that nobody plays; a case that needs one can not be run.
  const std::set<std::string>& missing() const { return missing_; }

  bool simulated() const { return target_->simulated; }
  Architecture architecture() const { return target_->architecture; }

  // ---- Calls ----
  // Whether mutations only check, from now on.
  void set_validate_only(bool value) { validate_only_ = value; }
  bool validate_only() const { return validate_only_; }
  // For streams, which Call can not do.
  Client& client() const { return *target_->client; }

  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                                Request request) {
    Prepare(&request);
    absl::StatusOr<Response> response =
        target_->client->Call(method, std::move(request), CallOptions{{}, 1});
    if (response.ok()) answer_ = response->ShortDebugString();
    return response;
  }

  // The last answer, in text.
  const std::string& answer() const { return answer_; }

  // The addresses that the last Map, CopyMappings or HostMap answered.
  std::vector<uint64_t> iovas;
  // Names of the domains that attaching to an address space answered, in order.
  std::vector<std::string> picked;
  // What the last Invalidate answered.
  v1::InvalidateResponse invalidated;
  // The snapshot that a case keeps for later.
  std::vector<std::string> seen;

  // ---- Undoing ----
  // Notes how to take back what was done, unless nothing was because of validate_only.
  void OnUndo(std::function<absl::Status()> undo);
  // Last first, and again what could not be undone before something else was.
  void UndoAll();

 private:
  void Prepare(google::protobuf::Message* request) const;

  const Target* const target_;
  bool validate_only_ = false;
  std::string answer_;
  std::set<std::string> missing_;
  std::vector<std::function<absl::Status()>> undo_;
};

}  // namespace viommu::conformance

#endif  // VIOMMU_TESTS_CONFORMANCE_WORLD_H_
