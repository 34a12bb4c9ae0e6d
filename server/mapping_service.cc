#include "server/mapping_service.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/base/thread.h"
#include "google/protobuf/arena.h"
#include "google/protobuf/message.h"
#include "google/protobuf/unknown_field_set.h"
#include "server/batches.h"
#include "server/call_context.h"
#include "server/names.h"
#include "server/request_check.h"
#include "server/status.h"

namespace viommu {
namespace {

// Holds a batch of some thousand entries without a further allocation.
constexpr size_t kArenaBlockBytes = size_t{256} << 10;

absl::Status Refusal(absl::string_view reason, absl::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, reason, message).Errno("EINVAL");
}

// Reads messages one at a time into the same memory.
class RequestReader {
 public:
  explicit RequestReader(MappingService::Stream* stream)
      : stream_(*stream), block_(new char[kArenaBlockBytes]), arena_(OptionsFor(block_.get())) {}

  // The next message, valid until the next call; null when the client has sent its last.
  const v1::StreamMappingsRequest* Next() {
    arena_.Reset();
    auto* request = google::protobuf::Arena::CreateMessage<v1::StreamMappingsRequest>(&arena_);
    return stream_.Read(request) ? request : nullptr;
  }

 private:
  static google::protobuf::ArenaOptions OptionsFor(char* block) {
    google::protobuf::ArenaOptions options;
    options.initial_block = block;
    options.initial_block_size = kArenaBlockBytes;
    return options;
  }

  MappingService::Stream& stream_;
  const std::unique_ptr<char[]> block_;
  google::protobuf::Arena arena_;
};

absl::StatusOr<OnError> ParseOnError(v1::OnError value) {
  switch (value) {
    case v1::ON_ERROR_UNSPECIFIED:
    case v1::ON_ERROR_STOP:
      return OnError::kStop;
    case v1::ON_ERROR_CONTINUE:
      return OnError::kContinue;
    default:
      return Error(absl::StatusCode::kInvalidArgument, "UNKNOWN_ENUM_VALUE",
                   absl::StrCat("open.on_error: ", static_cast<int>(value), " is not known"))
          .Errno("EINVAL")
          .Field("open.on_error")
          .ToStatus();
  }
}

absl::StatusOr<StreamOptions> ParseOptions(const v1::OpenStream& open) {
  StreamOptions options;
  ASSIGN_OR_RETURN(options.ioas, ParseName(NameKind::kIoas, "open.name", open.name()));
  ASSIGN_OR_RETURN(options.on_error, ParseOnError(open.on_error()));
  return options;
}

// Walking every element with CheckKnown would cost more than the batch: batches hold numbers only.
absl::Status CheckFlat(const google::protobuf::Message& message) {
  const bool known = message.GetReflection()->GetUnknownFields(message).empty();
  return known ? absl::OkStatus() : CheckKnown(message);
}

// One open stream. AwaitRoom, Submit and Close belong to the reading thread, Answer to the writing
// one.
class Session {
 public:
  Session(std::unique_ptr<MappingStream> mappings, StreamDefaults defaults,
          size_t max_bytes_in_flight, MappingMetrics* metrics)
      : mappings_(std::move(mappings)),
        defaults_(std::move(defaults)),
        max_bytes_in_flight_(max_bytes_in_flight),
        metrics_(metrics) {}

  // Waits until the unanswered batches leave room for another. All are answered in the end, if only
  // because the client is gone.
  void AwaitRoom() {
    absl::MutexLock lock(&mutex_);
    while (bytes_in_flight_ > max_bytes_in_flight_) answered_.Wait(&mutex_);
  }

  // kInvalidArgument: `request` is no batch in its place; the stream must end. What is wrong with a
  // batch is in its answer.
  absl::Status Submit(const v1::StreamMappingsRequest& request) {
    RETURN_IF_ERROR(CheckFlat(request));
    switch (request.request_case()) {
      case v1::StreamMappingsRequest::kMap:
        return SubmitMap(request.map());
      case v1::StreamMappingsRequest::kUnmap:
        return SubmitUnmap(request.unmap());
      case v1::StreamMappingsRequest::kAcknowledge:
        RETURN_IF_ERROR(CheckFlat(request.acknowledge()));
        mappings_->Acknowledge();
        return absl::OkStatus();
      case v1::StreamMappingsRequest::kOpen:
        return Refusal("UNEXPECTED_OPEN", "open: the stream is open already");
      case v1::StreamMappingsRequest::REQUEST_NOT_SET:
        break;
    }
    return Require(false, "open, map, unmap or acknowledge");
  }

  void Close() { mappings_->CloseSubmissions(); }

  // Writes until every batch is answered. When the client is gone the answers are dropped, but all
  // are taken, so that the engine is never kept waiting.
  void Answer(ClientWatchdog::Guard* guard, MappingService::Stream* stream) {
    StreamReply reply;
    bool listening = true;
    while (mappings_->NextReply(&reply)) {
      const Pending pending = TakePending();
      Observe(pending);
      const v1::StreamMappingsResponse response = Describe(reply, pending);
      if (listening) {
        guard->Begin(ClientWatchdog::Wait::kAnswerTaken);
        listening = stream->Write(response);
        guard->End();
      }
      Release(pending.bytes);
    }
  }

 private:
  // What the answer to a batch in flight needs to know of it.
  struct Pending {
    absl::Status malformed;  // Why the engine could not be given the batch.
    ArrayNames names;
    bool show_iovas = false;  // The client left the addresses to us.
    bool is_map = false;
    size_t bytes = 0;  // The message, or its entries for the engine, whichever are more.
    size_t entries = 0;
    absl::Time start = absl::Now();  // When it came in.
  };

  absl::Status SubmitMap(const v1::MapBatch& batch) {
    RETURN_IF_ERROR(CheckFlat(batch));
    StreamBatch out;
    out.sequence = batch.sequence();
    absl::StatusOr<MapBatch> map = ParseArrays(batch, defaults_);
    Pending pending{map.status(), ArrayNames(batch), batch.iova().empty(), /*is_map=*/true,
                    batch.ByteSizeLong()};
    if (map.ok()) {
      pending.entries = map->entries.size();
      pending.bytes = std::max(pending.bytes, pending.entries * sizeof(MapEntry));
      out.map = *std::move(map);
    }
    Submit(std::move(out), std::move(pending));
    return absl::OkStatus();
  }

  absl::Status SubmitUnmap(const v1::UnmapBatch& batch) {
    RETURN_IF_ERROR(CheckFlat(batch));
    StreamBatch out;
    out.sequence = batch.sequence();
    absl::StatusOr<UnmapBatch> unmap = ParseArrays(batch);
    Pending pending{unmap.status(), ArrayNames(batch), false, /*is_map=*/false,
                    batch.ByteSizeLong()};
    if (unmap.ok()) {
      pending.entries = unmap->entries.size();
      pending.bytes = std::max(pending.bytes, pending.entries * sizeof(UnmapEntry));
      out.unmap = *std::move(unmap);
    }
    Submit(std::move(out), std::move(pending));
    return absl::OkStatus();
  }

  // A malformed batch goes to the engine too, with neither half: it fails there in its turn, so
  // that `on_error` holds for it as for any other.
  void Submit(StreamBatch batch, Pending pending) {
    {
      // Before the engine has it: its reply may come at once.
      absl::MutexLock lock(&mutex_);
      bytes_in_flight_ += pending.bytes;
      pending_.push_back(std::move(pending));
    }
    mappings_->Submit(std::move(batch));
  }

  Pending TakePending() {
    absl::MutexLock lock(&mutex_);
    Pending pending = std::move(pending_.front());
    pending_.pop_front();
    return pending;
  }

  void Release(size_t bytes) {
    absl::MutexLock lock(&mutex_);
    bytes_in_flight_ -= bytes;
    answered_.Signal();
  }

  void Observe(const Pending& pending) {
    if (metrics_ == nullptr || !pending.malformed.ok()) return;
    const absl::Duration took = absl::Now() - pending.start;
    constexpr MappingMetrics::Path kPath = MappingMetrics::Path::kStream;
    if (pending.is_map) {
      metrics_->ObserveMap(kPath, pending.entries, took);
    } else {
      metrics_->ObserveUnmap(kPath, pending.entries, took);
    }
  }

  static v1::StreamMappingsResponse Describe(const StreamReply& reply, const Pending& pending) {
    v1::StreamMappingsResponse out;
    out.set_sequence(reply.sequence);
    if (!reply.status.ok()) {
      *out.mutable_status() = ToRpcStatus(
          pending.malformed.ok() ? pending.names.Rename(reply.status) : pending.malformed);
      return out;
    }
    // The one that the batch was not has revision 0.
    out.set_mapping_revision(std::max(reply.map.mapping_revision, reply.unmap.mapping_revision));
    if (pending.show_iovas)
      out.mutable_iovas()->Add(reply.map.iovas.begin(), reply.map.iovas.end());
    out.set_unmapped_bytes(reply.unmap.unmapped_bytes);
    out.set_unmapped_count(reply.unmap.unmapped_areas);
    return out;
  }

  const std::unique_ptr<MappingStream> mappings_;
  const StreamDefaults defaults_;
  const size_t max_bytes_in_flight_;
  MappingMetrics* const metrics_;
  absl::Mutex mutex_;
  absl::CondVar answered_;
  size_t bytes_in_flight_ ABSL_GUARDED_BY(mutex_) = 0;  // Of batches whose answers are not written.
  std::deque<Pending> pending_ ABSL_GUARDED_BY(mutex_);  // In the order of submission.
};

// What the first message asks for.
struct Opening {
  std::unique_ptr<MappingStream> mappings;
  StreamDefaults defaults;
};

absl::StatusOr<Opening> Open(Engine& engine, const CallContext& call,
                             const v1::StreamMappingsRequest& request) {
  RETURN_IF_ERROR(CheckKnown(request));
  if (!request.has_open()) return Refusal("OPEN_EXPECTED", "the first message is not `open`");
  ASSIGN_OR_RETURN(const StreamOptions options, ParseOptions(request.open()));
  Opening opening;
  ASSIGN_OR_RETURN(opening.defaults, ParseDefaults(request.open()));
  ASSIGN_OR_RETURN(opening.mappings, engine.OpenMappingStream(call, options));
  return opening;
}

}  // namespace

absl::Status MappingService::Run(const CallContext& call, ClientWatchdog::Guard* guard,
                                 Stream* stream) {
  RequestReader reader(stream);
  guard->Begin(ClientWatchdog::Wait::kOpening);
  const v1::StreamMappingsRequest* request = reader.Next();
  guard->End();
  if (request == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(Opening opening, Open(engine_, call, *request));
  Session session(std::move(opening.mappings), std::move(opening.defaults), max_bytes_in_flight_,
                  metrics_);
  ASSIGN_OR_RETURN(std::thread writer, StartThread([&] { session.Answer(guard, stream); }));
  absl::Status status;
  while (status.ok()) {
    session.AwaitRoom();
    request = reader.Next();
    if (request == nullptr) break;
    status = session.Submit(*request);
  }
  session.Close();
  writer.join();
  return status;
}

absl::Status MappingService::Serve(grpc::ServerContext* context, Stream* stream) {
  ASSIGN_OR_RETURN(const Admission::Ticket ticket,
                   admission_.Admit(CallKind::kStream, TransportOf(*context)));
  ClientWatchdog::Guard guard(&watchdog_, context);
  absl::Status status = Run(MakeCallContext(*context, admission_.caller()), &guard, stream);
  RETURN_IF_ERROR(guard.status());
  return status;
}

grpc::Status MappingService::StreamMappings(grpc::ServerContext* context, Stream* stream) {
  return ToGrpcStatus(Serve(context, stream));
}

}  // namespace viommu
