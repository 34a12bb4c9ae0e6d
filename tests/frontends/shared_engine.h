// tests/frontends/shared_engine.h -- Two frontends over one engine, each on a socket of its own.
#ifndef VIOMMU_TESTS_FRONTENDS_SHARED_ENGINE_H_
#define VIOMMU_TESTS_FRONTENDS_SHARED_ENGINE_H_

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "clients/client/client.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/engine.h"
#include "engine/journal/memory_journal.h"
#include "server/server.h"
#include "viommu/v1/domain.pb.h"
#include "viommu/v1/ioas.pb.h"
#include "viommu/v1/memory.pb.h"

namespace viommu {

inline constexpr int kDevices = 8;  // devices/dev0 ...
inline constexpr uint64_t kPage = 4096;

// The names of two frontends, and of what goes back and forth between them.
enum class Side { kLeft, kRight };

inline Side Other(Side side) { return side == Side::kLeft ? Side::kRight : Side::kLeft; }

// Owns the engine, over the real soft backend. Frontends may be stopped and started while others
// are being called; one frontend is used by one thread at a time.
class SharedEngine {
 public:
  SharedEngine();  // Both frontends serve.
  ~SharedEngine();

  // Where `side` serves, now or in the future.
  std::string Target(Side side) const;
  Server& server(Side side) { return *frontend(side); }
  Engine& engine() { return *engine_; }

  void Start(Side side);
  // Ends it, and with it the calls that still run.
  void Destroy(Side side) { frontend(side).reset(); }

 private:
  std::unique_ptr<Server>& frontend(Side side) { return side == Side::kLeft ? left_ : right_; }

  std::string folder_;  // Of the sockets.
  std::unique_ptr<SoftBackend> backend_;
  MemoryJournal journal_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Server> left_;
  std::unique_ptr<Server> right_;
};

// A client that takes the other frontend for every call, for as long as there are two. It repeats
// nothing by itself and waits for no frontend: what each of them answers is what its user sees.
class Wanderer {
 public:
  // Both frontends serve.
  Wanderer(const SharedEngine& engine, Side first)
      : left_(ConnectTo(engine.Target(Side::kLeft))),
        right_(ConnectTo(engine.Target(Side::kRight))),
        next_(first) {}

  // From now on every call goes to `side`.
  void StayAt(Side side) {
    next_ = side;
    stays_ = true;
  }

  Client& At(Side side) { return side == Side::kLeft ? *left_ : *right_; }
  Client& Next() {
    Client& client = At(next_);
    if (!stays_) next_ = Other(next_);
    return client;
  }

  // Calls `method` at the next frontend.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Do(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                           Response*),
                              const Request& request) {
    return Next().Call(method, request);
  }

 private:
  static std::unique_ptr<Client> ConnectTo(const std::string& target);

  std::unique_ptr<Client> left_;
  std::unique_ptr<Client> right_;
  Side next_;
  bool stays_ = false;
};

// ---- Requests that need more than one line ----

v1::CreateMemoryRegionRequest NewRegion(const std::string& id, uint64_t size_bytes);
v1::CreateIoasRequest NewIoas(const std::string& id);
v1::CreateDomainRequest NewDomain(const std::string& id, const std::string& ioas,
                                  const std::string& device);
v1::MapRequest OneMap(const std::string& ioas, const std::string& region, uint64_t iova,
                      uint64_t length);

// Any request that names one object.
template <typename Request>
Request Named(const std::string& name) {
  Request request;
  request.set_name(name);
  return request;
}

}  // namespace viommu

#endif  // VIOMMU_TESTS_FRONTENDS_SHARED_ENGINE_H_
