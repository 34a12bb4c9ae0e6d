// clients/client/object_watch.h -- One unbroken story of what is there, over as many calls of Watch
// as it takes.
//
//   ObjectWatch watch(client, {{v1::WATCH_KIND_DEVICE}});
//   while (true) {
//     auto message = watch.Next();
//     if (!message.ok()) return message.status();
//     if (message->has_snapshot()) ...            // Before the first sync: what there is.
//     else if (message->has_change()) ...         // ADDED, MODIFIED or DELETED.
//   }
//
// A call that breaks is resumed. Where it can not be, because changes were forgotten or the daemon
// was started anew, a fresh snapshot is compared with what is known, and the differences are told
// as changes: objects that are gone as DELETED, their owner and reason as last known or empty.
// Nothing is told twice: an object is added once, modified when its revision rose, deleted if it
// was known.
#ifndef VIOMMU_CLIENTS_CLIENT_OBJECT_WATCH_H_
#define VIOMMU_CLIENTS_CLIENT_OBJECT_WATCH_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "clients/client/client.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/sync_stream.h"
#include "viommu/v1/watch.grpc.pb.h"

namespace viommu {

struct ObjectWatchOptions {
  std::vector<v1::WatchKind> kinds;  // None: all.
  // How long it goes on trying after a call broke; 0: the first break ends it.
  absl::Duration patience = absl::InfiniteDuration();
};

// One thread at a time calls Next; Cancel may come from any.
class ObjectWatch {
 public:
  // `client` outlives it. Nothing is sent before Next.
  ObjectWatch(Client* client, ObjectWatchOptions options);
  ~ObjectWatch();
  ObjectWatch(const ObjectWatch&) = delete;
  ObjectWatch& operator=(const ObjectWatch&) = delete;

  // Waits for the next message. An error ends the watch:
  // kCancelled: Cancel was called.
  // kUnavailable: nothing could be resumed within `patience`.
  // The server's, where trying again would not help: kInvalidArgument, kResourceExhausted
  // STREAM_LIMIT and TOO_MANY_STREAMS, kPermissionDenied, ...
  absl::StatusOr<v1::WatchResponse> Next();

  void Cancel() ABSL_LOCKS_EXCLUDED(mutex_);

  // How often a call was resumed, and how often that took a fresh snapshot.
  uint64_t resumed() const { return resumed_; }
  uint64_t restarted() const { return restarted_; }

 private:
  // What is known of an object.
  struct Known {
    v1::DeletedObject obituary;  // As its deletion would be told.
    uint64_t revision = 0;
    uint64_t mapping_revision = 0;
  };
  using Reader = grpc::ClientReader<v1::WatchResponse>;

  absl::Status Begin() ABSL_LOCKS_EXCLUDED(mutex_);
  // The call is over: decides how to go on. The error to end with, if that is not at all.
  absl::Status Break() ABSL_LOCKS_EXCLUDED(mutex_);
  // Sleeps before the next attempt; woken by Cancel.
  void Pause() ABSL_LOCKS_EXCLUDED(mutex_);

  // Puts into ready_ what is new in a message.
  void Take(v1::WatchResponse message);
  void TakeSync(v1::WatchResponse message);
  void TakeChange(const v1::WatchResponse& message);
  void TakeMappings(v1::WatchResponse message);
  // The snapshot is complete: tells it, or how it differs from what is known.
  void Compare(const std::string& boot_id);
  void Tell(const v1::WatchedObject& object, uint64_t revision);
  void TellDeleted(const v1::DeletedObject& object, uint64_t revision);
  // Whether `object` is not known in this state; it is then.
  bool Learn(const v1::WatchedObject& object);

  Client& client_;
  const ObjectWatchOptions options_;
  std::unique_ptr<Reader> reader_;
  std::deque<v1::WatchResponse> ready_;
  std::map<std::string, Known> known_;       // By uid.
  std::vector<v1::WatchedObject> snapshot_;  // Until it is complete.
  std::string boot_id_;                      // Of the last sync; empty: there was none.
  uint64_t revision_ = 0;                    // Of the last message.
  bool fresh_ = true;                        // The next call, or this one, has a snapshot.
  absl::Time broken_since_ = absl::InfiniteFuture();
  absl::Duration pause_ = absl::ZeroDuration();  // Before the next attempt.
  uint64_t resumed_ = 0;
  uint64_t restarted_ = 0;

  absl::Mutex mutex_;
  std::unique_ptr<grpc::ClientContext> context_ ABSL_GUARDED_BY(mutex_);  // Of reader_.
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

// "ioas/vm0", the uid and the last revision of the object that a message holds.
struct WatchedIdentity {
  v1::WatchKind kind = v1::WATCH_KIND_UNSPECIFIED;
  std::string name;
  std::string uid;
  std::string owner;
  uint64_t revision = 0;
};
WatchedIdentity IdentityOf(const v1::WatchedObject& object);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_CLIENT_OBJECT_WATCH_H_
