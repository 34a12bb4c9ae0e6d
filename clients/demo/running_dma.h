// clients/demo/running_dma.h -- A device that reads one page all the time, and what it saw.
//
// While its domain is replaced, each read must find the bytes of one domain or of the other, whole;
// once the replacement is answered, only those of the new one.
#ifndef VIOMMU_CLIENTS_DEMO_RUNNING_DMA_H_
#define VIOMMU_CLIENTS_DEMO_RUNNING_DMA_H_

#include <cstdint>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "clients/client/client.h"
#include "viommu/v1/simulation.pb.h"

namespace viommu {

// What the reads found.
struct DmaCounts {
  uint64_t old_bytes = 0;  // All bytes of the domain that was.
  uint64_t new_bytes = 0;  // All bytes of the one that came.
  uint64_t blocked = 0;    // A fault.
  uint64_t during = 0;     // Of all these, how many ran while a replacement did.

  uint64_t total() const { return old_bytes + new_bytes + blocked; }
};

// Thread-safe.
class RunningDma {
 public:
  enum class Contents { kOld, kNew };

  // Reads `old_bytes.size()` bytes, of one page, at `iova` of `device`, which shows `old_bytes`
  // now. `client` outlives it.
  RunningDma(Client* client, const std::string& device, uint64_t iova, std::string old_bytes,
             std::string new_bytes);
  ~RunningDma();  // Stops.
  RunningDma(const RunningDma&) = delete;
  RunningDma& operator=(const RunningDma&) = delete;

  // From here until Replaced, reads may find either.
  void Replacing() ABSL_LOCKS_EXCLUDED(mutex_);
  // Reads that begin from here on must find `now`; those that still run may have been blocked on
  // the way unless the replacement was `hitless`.
  void Replaced(Contents now, bool hitless) ABSL_LOCKS_EXCLUDED(mutex_);

  // Waits for `reads` more reads.
  // kDeadlineExceeded: they did not come within some seconds. Else the first thing that was wrong.
  absl::Status WaitForReads(uint64_t reads) ABSL_LOCKS_EXCLUDED(mutex_);

  // Ends the reading. kInternal: a read found what it must not, or failed; the first one is told.
  absl::StatusOr<DmaCounts> Stop() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // What a read that runs now may find.
  struct Expectation {
    Contents settled = Contents::kOld;
    uint64_t changes = 0;  // Calls of Replacing and Replaced; odd: a replacement runs.
  };

  void Run();
  Expectation Expected() ABSL_LOCKS_EXCLUDED(mutex_);
  void Count(const absl::StatusOr<v1::DmaResponse>& response, Expectation at_start)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Empty, or what is wrong with what a read found.
  std::string CountFound(const v1::DmaResponse& response, bool during, Contents settled)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Of all reads so far; while no replacement runs.
  absl::Status Verdict() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Client* const client_;
  v1::DmaRequest request_;  // Not changed once the thread runs.
  const std::string old_bytes_;
  const std::string new_bytes_;

  mutable absl::Mutex mutex_;
  Expectation expectation_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool all_hitless_ ABSL_GUARDED_BY(mutex_) = true;
  DmaCounts counts_ ABSL_GUARDED_BY(mutex_);
  std::string first_wrong_ ABSL_GUARDED_BY(mutex_);

  std::thread thread_;  // Last: it uses all of the above.
};

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEMO_RUNNING_DMA_H_
