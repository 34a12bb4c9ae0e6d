// The half of ViommuService that carries events: one stream, two threads.
#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/base/thread.h"
#include "engine/event_stream.h"
#include "server/call_context.h"
#include "server/describe_viommu.h"
#include "server/names.h"
#include "server/request_check.h"
#include "server/status.h"
#include "server/viommu_service.h"

namespace viommu {
namespace {

// How often a stream without events looks whether it is to end.
constexpr absl::Duration kLook = absl::Milliseconds(200);

absl::Status Refusal(absl::string_view reason, absl::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, reason, message).Errno("EINVAL");
}

// One open stream. Tell belongs to one thread, the rest to the other.
class Session {
 public:
  Session(std::unique_ptr<EventStream> events, Admission* admission)
      : events_(std::move(events)), admission_(*admission) {}

  // Sends events until the stream is to end. Errors: those that end it.
  absl::Status Tell(ClientWatchdog::Guard* guard, ViommuService::EventStream* stream) {
    std::vector<EventView> events;
    while (!ending_) {
      RETURN_IF_ERROR(admission_.CheckServing());
      // Who sends no more gets what is there.
      const bool last = closed_;
      ASSIGN_OR_RETURN(const bool some,
                       events_->Next(last ? absl::ZeroDuration() : kLook, &events));
      if (!some && last) break;
      if (some && !Send(events, guard, stream)) break;
    }
    return absl::OkStatus();
  }

  // Errors: those that end the stream.
  absl::Status Take(const v1::StreamEventsRequest& request) {
    RETURN_IF_ERROR(CheckKnown(request));
    if (request.has_open()) return Refusal("UNEXPECTED_OPEN", "open: the stream is open already");
    RETURN_IF_ERROR(Require(request.has_acknowledge(), "open or acknowledge"));
    return events_->Acknowledge(request.acknowledge().sequence());
  }

  // The client will send no more.
  void Close() { closed_ = true; }
  // Nothing is to be sent any more.
  void End() { ending_ = true; }

 private:
  static bool Send(const std::vector<EventView>& events, ClientWatchdog::Guard* guard,
                   ViommuService::EventStream* stream) {
    v1::StreamEventsResponse response;
    for (const EventView& event : events) *response.add_events() = Describe(event);
    guard->Begin(ClientWatchdog::Wait::kAnswerTaken);
    const bool taken = stream->Write(response);
    guard->End();
    return taken;
  }

  const std::unique_ptr<EventStream> events_;
  Admission& admission_;
  std::atomic<bool> closed_{false};
  std::atomic<bool> ending_{false};
};

absl::StatusOr<std::unique_ptr<EventStream>> Open(Engine& engine, const CallContext& call,
                                                  const v1::StreamEventsRequest& request) {
  RETURN_IF_ERROR(CheckKnown(request));
  if (!request.has_open()) return Refusal("OPEN_EXPECTED", "the first message is not `open`");
  ASSIGN_OR_RETURN(const ObjectRef queue,
                   ParseName(NameKind::kEventQueue, "open.name", request.open().name()));
  return engine.OpenEventStream(call, queue);
}

}  // namespace

absl::Status ViommuService::RunEvents(const CallContext& call, ClientWatchdog::Guard* guard,
                                      EventStream* stream) {
  v1::StreamEventsRequest request;
  guard->Begin(ClientWatchdog::Wait::kOpening);
  const bool opened = stream->Read(&request);
  guard->End();
  if (!opened) return absl::OkStatus();
  ASSIGN_OR_RETURN(std::unique_ptr<viommu::EventStream> events, Open(engine_, call, request));
  Session session(std::move(events), &admission_);
  absl::Status told;
  ASSIGN_OR_RETURN(std::thread teller, StartThread([&] {
                     told = session.Tell(guard, stream);
                     // The handler waits for a message that its client may never send.
                     if (!told.ok()) guard->Cut(told);
                   }));
  absl::Status taken;
  while (taken.ok() && stream->Read(&request)) taken = session.Take(request);
  session.Close();
  if (!taken.ok()) session.End();
  teller.join();
  return taken.ok() ? told : taken;
}

absl::Status ViommuService::ServeEvents(grpc::ServerContext* context, EventStream* stream) {
  ASSIGN_OR_RETURN(const Admission::Ticket ticket,
                   admission_.Admit(CallKind::kStream, TransportOf(*context)));
  ClientWatchdog::Guard guard(&watchdog_, context);
  absl::Status status = RunEvents(MakeCallContext(*context, admission_.caller()), &guard, stream);
  RETURN_IF_ERROR(guard.status());
  return status;
}

grpc::Status ViommuService::StreamEvents(grpc::ServerContext* context, EventStream* stream) {
  return ToGrpcStatus(ServeEvents(context, stream));
}

}  // namespace viommu
