#include "clients/client/retry.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <random>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "clients/client/call_error.h"
#include "google/protobuf/descriptor.h"

namespace viommu {
namespace {

// The types of requests are named after their methods.
constexpr absl::string_view kReads[] = {"Get", "List", "Read", "Translate", "Dump", "Explain"};

const google::protobuf::FieldDescriptor* RequestIdField(const google::protobuf::Message& request) {
  const auto* field = request.GetDescriptor()->FindFieldByName("request_id");
  const bool is_text = field != nullptr && !field->is_repeated() &&
                       field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_STRING;
  return is_text ? field : nullptr;
}

// A read after which the server has forgotten what it answered.
bool TakesAway(const google::protobuf::Message& request) {
  const auto* field = request.GetDescriptor()->FindFieldByName("no_clear");
  return field != nullptr && !request.GetReflection()->GetBool(request, field);
}

bool MayRepeatOn(const absl::Status& status, const CallError& error) {
  return absl::IsUnavailable(status) || absl::IsCancelled(status) || error.retry_delay.has_value();
}

// Before attempt `next`, the first of which is 2.
absl::Duration Backoff(const RetryOptions& options, int next, double random) {
  absl::Duration full = options.first_backoff;
  for (int i = 2; i < next && full < options.max_backoff; ++i) full *= 2;
  full = std::min(full, options.max_backoff);
  return full * (0.5 + random / 2);
}

// The error of the `last` of several attempts, which also says how many there were, and how the one
// before ended where that may have done what the last did not try.
absl::Status AfterAttempts(const Attempt& last, int attempts, const absl::Status& before) {
  if (attempts == 1) return last.status;
  std::string text = absl::StrCat(last.status.message(), " (after ", attempts, " attempts)");
  if (last.not_sent) {
    absl::StrAppend(&text, "; an earlier attempt was sent and ended with: ", before.message());
  }
  return WithMessage(last.status, text);
}

}  // namespace

Repeatable RepeatableOf(const google::protobuf::Message& request) {
  if (RequestIdField(request) != nullptr) return Repeatable::kWithRequestId;
  const std::string& name = request.GetDescriptor()->name();
  const bool is_read = std::any_of(std::begin(kReads), std::end(kReads),
                                   [&](absl::string_view p) { return absl::StartsWith(name, p); });
  return is_read && !TakesAway(request) ? Repeatable::kRead : Repeatable::kNever;
}

void GiveRequestId(google::protobuf::Message* request) {
  const auto* field = RequestIdField(*request);
  if (field == nullptr) return;
  const auto* reflection = request->GetReflection();
  if (reflection->GetString(*request, field).empty()) {
    reflection->SetString(request, field, NewRequestId());
  }
}

std::string NewRequestId() {
  std::random_device device;  // The system's, so that two processes never share a seed.
  std::array<uint32_t, 4> bits;
  for (uint32_t& word : bits) word = device();
  return absl::StrFormat("%08x-%04x-4%03x-%04x-%04x%08x", bits[0], bits[1] >> 16, bits[1] & 0xfff,
                         0x8000 | (bits[2] >> 18), bits[2] & 0xffff, bits[3]);
}

RetryClock RealRetryClock() {
  return {[] { return absl::Now(); }, [](absl::Duration time) { absl::SleepFor(time); },
          [] {
            std::random_device device;
            return std::generate_canonical<double, 32>(device);
          }};
}

absl::Status RunAttempts(const RetryOptions& options, Repeatable repeatable, absl::Time deadline,
                         const RetryClock& clock, absl::FunctionRef<Attempt()> attempt) {
  const int max_attempts = repeatable == Repeatable::kNever ? 1 : options.max_attempts;
  absl::Status before;
  for (int tried = 1;; ++tried) {
    const Attempt made = attempt();
    if (made.status.ok()) return made.status;
    const CallError error = ErrorOf(made.status);
    const bool ends = made.not_sent || tried >= max_attempts || !MayRepeatOn(made.status, error);
    if (ends) return AfterAttempts(made, tried, before);
    const absl::Duration wait = Backoff(options, tried + 1, clock.random()) +
                                error.retry_delay.value_or(absl::ZeroDuration());
    if (clock.now() + wait >= deadline) return AfterAttempts(made, tried, before);
    clock.sleep(wait);
    before = made.status;
  }
}

}  // namespace viommu
