#include "clients/demo/running_dma.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/client/call_error.h"
#include "viommu/v1/simulation.grpc.pb.h"

namespace viommu {
namespace {

constexpr absl::Duration kProgressTimeout = absl::Seconds(20);

const char* NameOf(RunningDma::Contents contents) {
  return contents == RunningDma::Contents::kOld ? "the old bytes" : "the new bytes";
}

}  // namespace

RunningDma::RunningDma(Client* client, const std::string& device, uint64_t iova,
                       std::string old_bytes, std::string new_bytes)
    : client_(client), old_bytes_(std::move(old_bytes)), new_bytes_(std::move(new_bytes)) {
  request_.set_name(device);
  request_.set_iova(iova);
  request_.set_read_length(old_bytes_.size());
  thread_ = std::thread([this] { Run(); });
}

RunningDma::~RunningDma() { Stop().IgnoreError(); }

void RunningDma::Replacing() {
  const absl::MutexLock lock(&mutex_);
  ++expectation_.changes;
}

void RunningDma::Replaced(Contents now, bool hitless) {
  const absl::MutexLock lock(&mutex_);
  ++expectation_.changes;
  expectation_.settled = now;
  all_hitless_ = all_hitless_ && hitless;
}

absl::Status RunningDma::WaitForReads(uint64_t reads) {
  const absl::MutexLock lock(&mutex_);
  const uint64_t goal = counts_.total() + reads;
  const auto reached = [this, goal]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return counts_.total() >= goal || !first_wrong_.empty();
  };
  if (!mutex_.AwaitWithTimeout(absl::Condition(&reached), kProgressTimeout)) {
    return absl::DeadlineExceededError("the device's reads do not come on");
  }
  return Verdict();
}

absl::StatusOr<DmaCounts> RunningDma::Stop() {
  {
    const absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
  const absl::MutexLock lock(&mutex_);
  const absl::Status verdict = Verdict();
  if (!verdict.ok()) return verdict;
  return counts_;
}

absl::Status RunningDma::Verdict() const {
  if (!first_wrong_.empty()) return absl::InternalError(first_wrong_);
  if (all_hitless_ && counts_.blocked > 0) {
    return absl::InternalError(
        absl::StrCat(counts_.blocked, " reads were blocked by a replacement reported as hitless"));
  }
  return absl::OkStatus();
}

void RunningDma::Run() {
  while (true) {
    const Expectation at_start = Expected();
    Count(client_->Call(&v1::SimulationService::Stub::Dma, request_), at_start);
    const absl::MutexLock lock(&mutex_);
    if (stopping_ || !first_wrong_.empty()) return;
  }
}

RunningDma::Expectation RunningDma::Expected() {
  const absl::MutexLock lock(&mutex_);
  return expectation_;
}

void RunningDma::Count(const absl::StatusOr<v1::DmaResponse>& response, Expectation at_start) {
  const absl::MutexLock lock(&mutex_);
  const bool during = at_start.changes % 2 == 1 || at_start.changes != expectation_.changes;
  first_wrong_ = response.ok() ? CountFound(*response, during, at_start.settled)
                               : absl::StrCat("a read failed: ", Explain(response.status()));
}

std::string RunningDma::CountFound(const v1::DmaResponse& response, bool during, Contents settled) {
  counts_.during += during ? 1 : 0;
  if (response.has_fault()) {
    ++counts_.blocked;
    return during ? ""
                  : absl::StrCat("a read was blocked while no replacement ran: ",
                                 response.fault().reason(), " at ", response.fault().iova_text());
  }
  const bool is_old = response.data() == old_bytes_;
  if (!is_old && response.data() != new_bytes_) return "a read found neither old nor new bytes";
  ++(is_old ? counts_.old_bytes : counts_.new_bytes);
  const Contents found = is_old ? Contents::kOld : Contents::kNew;
  if (during || found == settled) return "";
  return absl::StrCat("a read found ", NameOf(found), " when only ", NameOf(settled),
                      " could be reached");
}

}  // namespace viommu
